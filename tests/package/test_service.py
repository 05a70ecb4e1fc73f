"""The service as systemd runs it: what it may do, and that it needs no attention."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.endpoint import Endpoint
from tests.package.system import CONF, EXPORTER, System

ENDPOINT_ADDRESS = ("169.254.169.254", 80)
DROP_IN = f"/etc/systemd/system/{EXPORTER}.d/test.conf"
# What tells our bindings from NVIDIA's, and keeps invented values on the machine.
MARKER = "usr/share/datacenter-gpu-manager-4/simulated/dcgm_simulator/bindings/SIMULATED"
OTHER_ADDRESS = "192.0.2.1"  # one of the machine's own, RFC 5737


@contextmanager
def endpoint_of(system: System) -> Iterator[Endpoint]:
    """Serve DigitalOcean's endpoint in the machine, and let the engine pass for a real one."""
    (system.root / MARKER).unlink()
    with Endpoint(system.machine.network.listen(*ENDPOINT_ADDRESS)) as endpoint:
        yield endpoint


def make_it_a_droplet(system: System) -> None:
    """Give the machine the vendor that a droplet has."""
    system.run("mount", "-t", "tmpfs", "none", "/sys/class")
    system.run("sh", "-c", "mkdir -p /sys/class/dmi/id; echo DigitalOcean >$0",
               "/sys/class/dmi/id/sys_vendor")  # fmt: skip


def add_to_unit(system: System, *lines: str) -> None:
    """Add lines to the service by a drop-in, as an admin does, and restart it."""
    system.write(DROP_IN, "\n".join(["[Service]", *lines, ""]))
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", EXPORTER)


def set_keys(system: System, *lines: str) -> None:
    system.write(CONF, "\n".join([system.configuration, *lines, ""]))


def process(system: System) -> str:
    """The process id of the service, as seen in the machine."""
    return system.property(EXPORTER, "MainPID")


def test_on_a_droplet_metrics_are_forwarded_and_elsewhere_not(installed: System) -> None:
    set_keys(installed, "collect-interval = 1000", "forward-interval = 1000")
    with endpoint_of(installed) as endpoint:
        installed.run("systemctl", "restart", EXPORTER)
        assert installed.has_full_metrics()
        time.sleep(3.0)  # in which three posts would have come
        assert endpoint.posts == []

        make_it_a_droplet(installed)
        installed.run("systemctl", "restart", EXPORTER)
        assert installed.has_full_metrics()
        (post,) = endpoint.wait_for_posts(1)[:1]
        assert post.request_line == "POST /v1/gpu_metrics HTTP/1.1"
        assert b"DCGM_FI_DEV_GPU_TEMP{" in post.body


def test_collecting_and_forwarding_need_nothing_but_engine_and_endpoint(
    installed: System,
) -> None:
    installed.run("ip", "address", "add", f"{OTHER_ADDRESS}/32", "dev", "lo")
    make_it_a_droplet(installed)
    set_keys(installed, "forward-interval = 1000")
    scrape = ("curl", "--silent", "--show-error", "--fail", "--max-time", "3",
              "--interface", OTHER_ADDRESS, "http://127.0.0.1:9401/metrics")  # fmt: skip
    with endpoint_of(installed) as endpoint:
        installed.run("systemctl", "restart", EXPORTER)
        assert installed.has_full_metrics()
        installed.run(*scrape)

        add_to_unit(installed, "IPAddressDeny=any", "IPAddressAllow=127.0.0.0/8 169.254.169.254")
        assert installed.has_full_metrics()
        assert endpoint.wait_for_posts(2)
        # And it is in force: whoever is not named is kept out, scrapers as well.
        assert installed.run(*scrape, check=False).returncode != 0


def test_python_warns_of_nothing_of_ours(installed: System) -> None:
    command = "/usr/bin/python3 -I -B -W always /usr/bin/do-dcgm-exporter"
    add_to_unit(installed, "ExecStart=", f"ExecStart={command}")
    assert installed.has_full_metrics()
    installed.run("systemctl", "reload", EXPORTER)
    installed.run("systemctl", "stop", EXPORTER)

    warnings = re.findall(r"\S+: \w*Warning: .*", installed.journal(EXPORTER))
    assert [line for line in warnings if "do_dcgm_exporter" in line] == []


def test_a_stuck_process_is_replaced(installed: System) -> None:
    add_to_unit(installed, "WatchdogSec=4")
    assert installed.has_full_metrics()
    stuck = process(installed)
    installed.run("systemctl", "kill", "--signal=STOP", "--kill-who=main", EXPORTER)

    assert installed.becomes(lambda: installed.property(EXPORTER, "NRestarts") == "1")
    assert installed.has_full_metrics()
    assert process(installed) != stuck


def test_a_reload_keeps_the_process_and_a_wrong_one_the_configuration(installed: System) -> None:
    assert installed.has_full_metrics()
    before = process(installed)
    good = installed.configuration
    set_keys(installed, "counter-groups = power")
    installed.run("systemctl", "reload", EXPORTER)
    assert installed.becomes(lambda: "DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX{" in installed.page())

    installed.write(CONF, f"{good}collect-interval = often\n")
    installed.run("systemctl", "reload", EXPORTER)
    line = "do_dcgm_exporter_config_last_reload_successful 0\n"
    assert installed.becomes(lambda: line in installed.page())
    assert f"{CONF}:" in installed.journal(EXPORTER)
    assert "DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX{" in installed.page()
    assert process(installed) == before


def test_neither_ipv6_nor_a_writable_usr_is_needed(installed: System) -> None:
    installed.run("mount", "--bind", "/usr", "/usr")
    installed.run("mount", "-o", "remount,bind,ro", "/usr")
    assert installed.run("touch", "/usr/share/written", check=False).returncode != 0
    # To the process it is as with ipv6.disable=1 of the kernel: no socket of that family.
    add_to_unit(installed, "RestrictAddressFamilies=", "RestrictAddressFamilies=AF_INET AF_UNIX")

    assert installed.has_full_metrics()
    listening = installed.run("ss", "--tcp", "--listening", "--numeric", "sport = :9401").stdout
    assert " 0.0.0.0:9401 " in listening
    installed.run("systemctl", "reload", EXPORTER)
    installed.reconfigure()
    assert installed.has_full_metrics()
    installed.run("do-dcgm-exporter-integrate", "apply")
    installed.run("do-dcgm-exporter-integrate", "check", "--bundle", "/root/bundle.txt")


def test_a_wrong_configuration_is_said_once_and_not_tried_for_ever(installed: System) -> None:
    set_keys(installed, "collect-interval = often")
    installed.run("systemctl", "restart", EXPORTER, check=False)

    assert installed.becomes(lambda: not installed.is_active(EXPORTER))
    assert installed.property(EXPORTER, "Result") == "exit-code"
    assert installed.property(EXPORTER, "NRestarts") == "0"
    assert "collect-interval" in installed.journal(EXPORTER)


def test_a_second_engine_or_none_is_no_reason_to_stop(installed: System) -> None:
    before = process(installed)
    installed.run("systemctl", "stop", "nvidia-dcgm")
    assert installed.serves(hostengine_up=False)
    installed.run("systemctl", "start", "nvidia-dcgm")
    assert installed.has_full_metrics()
    assert process(installed) == before


# --- what it may do ------------------------------------------------------------------


def status_of(system: System) -> dict[str, str]:
    text = system.run("cat", f"/proc/{process(system)}/status").stdout
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def in_its_place(system: System, script: str) -> list[str]:
    """Run a shell script with the service's user and view of files; return its lines."""
    pid = process(system)
    user = status_of(system)["Uid"].split()[0]
    command = ("nsenter", "--target", pid, "--mount", "--net", f"--setuid={user}",
               f"--setgid={user}", "--", "sh", "-c", script)  # fmt: skip
    return system.run(*command, check=False).stdout.split()


def test_systemd_finds_it_as_confined_as_promised(installed: System) -> None:
    unit = installed.property(EXPORTER, "FragmentPath")
    # In tenths: at most 1.3.
    installed.run("systemd-analyze", "security", "--offline=true", "--threshold=13", unit)


def test_it_has_no_privileges(installed: System) -> None:
    status = status_of(installed)
    assert status["Uid"].split()[0] != "0"
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


def test_it_sees_no_device_of_a_gpu(installed: System) -> None:
    installed.run("touch", "/dev/nvidia0", "/dev/nvidiactl")
    installed.run("systemctl", "restart", EXPORTER)
    assert installed.has_full_metrics()
    devices = in_its_place(installed, "ls /dev")
    assert "null" in devices
    assert not any(device.startswith("nvidia") for device in devices)


def test_it_writes_nowhere_but_in_a_tmp_of_its_own(installed: System) -> None:
    places = ("/etc", "/etc/do-dcgm-exporter", "/usr/share/do-dcgm-exporter", "/var/lib",
              "/var/log", "/var/log/nvidia-dcgm", "/run", "/run/systemd", "/root", "/home", "/opt",
              "/", "/dev", "/proc", "/sys", "/tmp")  # fmt: skip
    script = (
        f"for place in {' '.join(places)}; do (: >$place/written) 2>/dev/null && echo $place; done"
    )
    assert in_its_place(installed, script) == ["/tmp"]
    assert not installed.exists("/tmp/written")
    opened = installed.run(
        "find", f"/proc/{process(installed)}/fd", "-perm", "-u=w", "-printf", "%l\n"
    ).stdout.split()
    assert opened
    assert [path for path in opened if path.startswith("/") and path != "/dev/null"] == []


CALLBACK = """\
import ctypes, mmap
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 3)(3, 1, 2)
ctypes.CDLL(None).qsort(numbers, 3, 4, compare(lambda a, b: a[0] - b[0]))
try:
    mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)
except PermissionError:
    print("called back", list(numbers), "and nothing writable is executable")
"""


def test_callbacks_of_the_bindings_work_though_no_memory_is_writable_and_executable(
    installed: System,
) -> None:
    installed.write("/opt/callback.py", CALLBACK)
    add_to_unit(
        installed, "Type=oneshot", "Restart=no", "WatchdogSec=0", "ExecStart=",
        "ExecStart=/usr/bin/python3 -I /opt/callback.py",
    )  # fmt: skip
    said = "called back [1, 2, 3] and nothing writable is executable"
    assert said in installed.journal(EXPORTER)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_no_proxy_of_the_environment_gets_the_metrics(installed: System, variable: str) -> None:
    make_it_a_droplet(installed)
    set_keys(installed, "forward-interval = 1000")
    with (
        endpoint_of(installed) as endpoint,
        Endpoint(installed.machine.network.listen("127.0.0.1", 3128)) as proxy,
    ):
        add_to_unit(installed, f"Environment={variable}=http://127.0.0.1:3128")
        assert endpoint.wait_for_posts(1)
        assert proxy.posts == []


@pytest.mark.parametrize("name", ["do-dcgm-exporter.conf", "default-counters.csv"])
def test_a_configuration_that_only_root_can_read_is_named_with_what_opens_it(
    installed: System, exporter: Path, name: str
) -> None:
    file = f"/etc/do-dcgm-exporter/{name}"
    installed.run("chmod", "600", file)
    installed.run("systemctl", "restart", EXPORTER, check=False)
    assert f"{file}: the user do-dcgm-exporter may not; to allow it, run chmod 644 {file}" in (
        installed.journal(EXPORTER)
    )
    assert installed.property(EXPORTER, "ExecMainStatus") == "2"

    said = installed.reconfigure().stderr
    assert (
        f"cannot read the {'configuration' if 'conf' in name else 'counters'} file {file}" in said
    )
    installed.run("sh", "-c", re.findall(f"chmod 644 {file} && .*", said)[0])
    assert installed.has_full_metrics()
    assert "chmod" not in installed.install(exporter).stderr
