"""Which exporters the package's config script asks about, told from unit files alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.builders import REPOSITORY

SCRIPT = (REPOSITORY / "debian" / "do-dcgm-exporter.config").read_text()
DETECTION = SCRIPT[SCRIPT.index("# --- NVIDIA exporters") : SCRIPT.index("# --- The questions")]
ETC = "etc/systemd/system"
RUN = "run/systemd/system"
LIB = "usr/lib/systemd/system"
NVIDIAS = "/usr/bin/dcgm-exporter -f /etc/dcgm-exporter/default-counters.csv"
REMOTE = "DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555"


def unit(command: str, *more: str) -> str:
    return "\n".join(["[Service]", f"ExecStart={command}", *more, ""])


def asked_about(root: Path, **files: str) -> list[str]:
    """Return the units that are asked about, on a machine with these files below ``root``.

    What is no path is the name of a unit in /etc.
    """
    for name, text in files.items():
        path = root / (name if "/" in name else f"{ETC}/{name}.service")
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)
    script = DETECTION
    for place in ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"):
        script = script.replace(place, f"{root}{place}")
    script = script.replace("\n/lib/", f"\n{root}/lib/").replace(" /lib/", f" {root}/lib/")
    run = ["sh", "-ec", f"{script}\nembedded_units"]
    found = subprocess.run(run, capture_output=True, text=True, check=True)
    assert found.stderr == ""
    return found.stdout.split()


@pytest.mark.parametrize(
    "command",
    [
        NVIDIAS,
        "-/opt/gpu/dcgm-exporter",
        "@/usr/local/bin/nvidia_dcgm_exporter exporter -c 5000",
        "!!dcgm-exporter",
        "/usr/bin/dcgm-exporter \\\n  -a :9400 \\\n  -c 5000",
        "/usr/bin/dcgm-exporter -a :%i $ARGS",
        f"{NVIDIAS} --replace-blanks-in-model-name",
    ],
)
def test_a_command_that_is_an_exporter_is_asked_about(tmp_path: Path, command: str) -> None:
    assert asked_about(tmp_path, odd=unit(command)) == ["odd.service"]


@pytest.mark.parametrize(
    "command",
    [
        f"{NVIDIAS} -r localhost:5555",
        f"{NVIDIAS} -r=localhost:5555",
        f"{NVIDIAS} --remote-hostengine-info=gpu7:5555",
        "/usr/bin/dcgm-exporter \\\n  -r gpu7:5555",
        "/usr/bin/dcgm-exporter-tool",
        "/usr/bin/do-dcgm-exporter",
        "/usr/bin/cat /opt/dcgm-exporter",
        "/usr/bin/systemctl restart dcgm-exporter",
        "/usr/bin/journalctl -f -u dcgm-exporter",
        "/bin/sh -c 'systemctl is-active -q dcgm-exporter || exit 1'",
        "/usr/bin/docker run nvcr.io/nvidia/k8s/dcgm-exporter",
        "/usr/bin/python3 /opt/dcgm-exporter/monitor.py",
        f"/bin/true\n#ExecStart={NVIDIAS}",
        "${EXPORTER_OF}dcgm-exporter",
    ],
)
def test_any_other_command_and_a_client_are_not(tmp_path: Path, command: str) -> None:
    assert asked_about(tmp_path, odd=unit(command)) == []


@pytest.mark.parametrize(
    "more",
    [
        ("Type=oneshot",),
        (f"Environment={REMOTE}",),
        (f'Environment="A=1" "{REMOTE}"',),
    ],
)
def test_a_oneshot_and_one_that_is_told_of_an_engine_are_not(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    assert asked_about(tmp_path, odd=unit(NVIDIAS, *more)) == []


def test_a_file_of_variables_is_read(tmp_path: Path) -> None:
    for name, text in (("told", f"A=1\n{REMOTE}\n"), ("not", f"#{REMOTE}\n")):
        (tmp_path / name).write_text(text)
    found = asked_about(
        tmp_path,
        told=unit(NVIDIAS, f"EnvironmentFile={tmp_path}/told"),
        untold=unit(NVIDIAS, f"EnvironmentFile=-{tmp_path}/not"),
        missing=unit(NVIDIAS, f"EnvironmentFile=-{tmp_path}/missing"),
    )
    assert found == ["missing.service", "untold.service"]


def test_the_admins_files_have_the_last_word(tmp_path: Path) -> None:
    files = {
        f"{LIB}/replaced.service": unit(f"{NVIDIAS} -r localhost:5555"),
        f"{ETC}/replaced.service.d/mine.conf": unit(f"\nExecStart={NVIDIAS} -c 5000"),
        f"{LIB}/overridden.service": unit(f"{NVIDIAS} -r gpu7:5555"),
        f"{ETC}/overridden.service": unit(NVIDIAS),
        f"{LIB}/told.service": unit(NVIDIAS),
        f"{ETC}/told.service.d/mine.conf": f"[Service]\nEnvironment={REMOTE}\n",
        f"{LIB}/masked.service": unit(NVIDIAS),
        f"{ETC}/masked.service": "-> /dev/null",
        f"{ETC}/original.service": unit(NVIDIAS),
        f"{ETC}/alias.service": f"-> {tmp_path}/{ETC}/original.service",
        f"{RUN}/generated.service": unit(NVIDIAS),
    }
    assert asked_about(tmp_path, **files) == [
        "generated.service", "original.service", "overridden.service", "replaced.service",
    ]  # fmt: skip


def test_what_we_have_written_is_no_decision_of_somebodys(tmp_path: Path) -> None:
    ours = f"{ETC}/odd.service.d/zz-do-dcgm-exporter.conf"
    files = {ours: f"[Service]\nEnvironment={REMOTE}\n", "odd": unit(NVIDIAS)}
    assert asked_about(tmp_path, **files) == ["odd.service"]


def test_names_that_systemd_does_not_take_disturb_nothing(tmp_path: Path) -> None:
    files = {
        f"{ETC}/Copy of exporter-9400.service": unit(NVIDIAS),
        f"{ETC}/exporter-ä.service": unit(NVIDIAS),
        f"{ETC}/gpu-exporter@.service": unit(f"{NVIDIAS} -a :%i"),
    }
    assert asked_about(tmp_path, **files) == ["gpu-exporter@.service"]


def test_a_machine_without_any_unit_has_no_exporter(tmp_path: Path) -> None:
    assert asked_about(tmp_path) == []
