"""Who uses the GPUs: turned on and off, and found out by the unit as it is confined."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.package.exporters import LIBRARIES
from tests.package.system import EXPORTER, System

SOURCE = Path(__file__).with_name("stand_in_nvml.c")
SERVICE, TIMER = "do-dcgm-exporter-usage.service", "do-dcgm-exporter-usage.timer"
REPORT = "/run/do-dcgm-exporter-usage/gpu-usage.json"
STATE = "/etc/stand-in-nvml"
DRIVER = "/var/lib/stand-in-driver"
MEMORY = 7 << 30
NVML = "libnvidia-ml.so.1"


def put_driver(system: System, uuid: str) -> None:
    """Show the unit one GPU in /proc, and put its device file.

    A mount over the machine's /proc would not do: systemd 252 mounts another one for the unit.
    """
    drop_in = f"[Service]\nBindReadOnlyPaths={DRIVER}:/proc/driver\n"
    system.write(f"/etc/systemd/system/{SERVICE}.d/stand-in.conf", drop_in)
    information = f"GPU UUID: \t {uuid}\nDevice Minor: \t 0\n"
    system.write(f"{DRIVER}/nvidia/gpus/0000:1b:00.0/information", information)
    system.run("systemctl", "daemon-reload")
    system.run("touch", "/dev/nvidia0")


def put_library(system: System, directory: Path) -> None:
    """Put what is asked of NVIDIA's library."""
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, f'-DSTATE="{STATE}"', "-o", directory / NVML, SOURCE], check=True)
    place = system.root / str(LIBRARIES).lstrip("/") / NVML
    place.write_bytes((directory / NVML).read_bytes())


def start_user(system: System) -> str:
    """Start a unit that has the GPU open, and return its main process."""
    has_it_open = "exec sleep infinity 3</dev/nvidia0"
    system.run("systemd-run", "--unit=trainer", "--uid=games", "sh", "-c", has_it_open)
    process = system.property("trainer.service", "MainPID")
    assert system.becomes(lambda: "sleep" in system.run("cat", f"/proc/{process}/comm").stdout)
    return process


def look(system: System) -> dict[str, object]:
    """Have the unit look, and return what it found."""
    system.run("systemctl", "start", SERVICE)
    found: dict[str, object] = json.loads(system.run("cat", REPORT).stdout)
    return found


def test_the_users_of_a_gpu_are_shown_once_it_is_turned_on(
    installed: System, tmp_path: Path
) -> None:
    system = installed
    assert not system.is_active(TIMER)
    assert system.has_full_metrics()
    page = system.page()
    assert "do_dcgm_exporter_gpu_up" in page
    assert "do_dcgm_exporter_gpu_processes" not in page
    # As the first boot of an image does, where nothing else says what to enable.
    system.run("systemctl", "preset-all", "--preset-mode=enable-only")
    assert system.systemctl("is-enabled", TIMER) == "disabled"

    (uuid,) = re.findall(r'DCGM_FI_DEV_GPU_TEMP\{gpu="0",UUID="([^"]+)"', page)

    # The timer looks at once. Nobody has the GPU open, so the library is not missed.
    put_driver(system, uuid)
    system.preseed(gpu_users="true")
    system.reconfigure()
    assert system.is_active(TIMER)
    assert system.becomes(lambda: system.property(SERVICE, "ExecMainExitTimestamp") != "")
    system.run("systemctl", "stop", TIMER)  # from here on it looks when it is told to
    found = look(system)
    assert (found["uses"], found["looked_at"], found["complaint"]) == ([], [], "")

    process = start_user(system)
    assert [] == look(system)["looked_at"] == look(system)["looked_at"]
    assert system.becomes(lambda: system.journal(SERVICE).count(f"{NVML}: cannot open") == 1)

    put_library(system, tmp_path)
    system.write(STATE, f"{process} {MEMORY}\n")
    assert look(system)["complaint"] == ""
    system.run("systemctl", "restart", EXPORTER)
    labels = 'gpu="0",unit="trainer.service",user="games"'
    assert system.becomes(lambda: f"gpu_processes{{{labels}}} 1\n" in system.page())
    assert f"gpu_process_memory_bytes{{{labels}}} {MEMORY}\n" in system.page()

    # Turned off by the command, it stays off.
    system.run("systemctl", "disable", "--now", TIMER)
    system.reconfigure()
    assert not system.is_active(TIMER)
    assert system.systemctl("is-enabled", TIMER) == "disabled"
