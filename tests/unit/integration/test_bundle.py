"""``check --bundle FILE`` on a machine in a directory."""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.integration.conftest import Machine, Page

from do_dcgm_exporter.integration.cli import main

CONF = "etc/do-dcgm-exporter/do-dcgm-exporter.conf"
# Stands for journalctl: each unit has said something of its own.
JOURNAL = """\
#!/bin/sh
for last; do :; done
echo "said by $last, password=hunter2"
echo "NVRM: Xid (PCI:0000:09:00): 79"
"""
# Stands for systemctl: it can print a unit file as well.
UNIT_FILE = """\
#!/bin/sh
[ "$1" = cat ] || exec manager "$@"
echo Environment=GREETING=hunter2 CUDA_HOME=/cuda
"""


@pytest.fixture
def told(machine: Machine) -> Machine:
    """A machine without an engine whose service has been configured by an admin."""
    machine.write(
        CONF,
        f"address = 127.0.0.1:{machine.ports[0]}\nweb-config-file = /etc/web.yml\n# hunter2\n",
    )
    machine.write("etc/web.yml", "basic_auth_users:\n  alice: hunter2\nrate_limit:\n  burst: 7\n")
    machine.write(
        "etc/do-dcgm-exporter/mine.csv", "DCGM_FI_DEV_FAN_SPEED, gauge, Fan.\n# hunter2\n"
    )
    machine.program("journalctl", JOURNAL)
    machine.program("dpkg-query", "#!/bin/sh\nprintf 'python3\\t3.14.4-1\\tii \\n'\n")
    return machine


def bundle(machine: Machine, path: Path) -> tuple[int, str]:
    status = main(["check", "--bundle", str(path)], machine.host)
    return status, path.read_text() if path.is_file() else ""


def test_it_has_what_support_asks_for_and_no_secret(
    told: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = bundle(told, tmp_path / "bundle.txt")

    assert status == 0
    assert stat.S_IMODE((tmp_path / "bundle.txt").stat().st_mode) == 0o600
    assert "read it before you send it" in capsys.readouterr().out
    for expected in (
        "nothing listens",  # where the engine should be
        "python3\t3.14.4-1",
        "said by --unit=do-dcgm-exporter.service, password=[removed]",
        "said by --unit=nvidia-dcgm.service",
        "NVRM: Xid (PCI:0000:09:00): 79",
        "web-config-file = /etc/web.yml",
        "  burst: 7",
        "DCGM_FI_DEV_FAN_SPEED, gauge, Fan.",
        "===== /metrics\n\n200\n# HELP x\nDCGM_FI_DEV_GPU_TEMP 42\n",
    ):
        assert expected in text, expected
    assert "hunter2" not in text


def test_variables_of_units_and_what_is_served_may_hold_secrets(
    told: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.program("manager", told.read("programs/systemctl"))
    told.program("systemctl", UNIT_FILE)
    monkeypatch.setattr(Page, "text", b"cannot post to http://u:hunter2@example.com/\n")
    _, text = bundle(told, tmp_path / "bundle.txt")

    assert "Environment=GREETING=[removed] CUDA_HOME=/cuda" in text
    for path in ("/health", "/metrics"):
        assert f"===== {path}\n\n200\ncannot post to http://example.com/\n" in text
    assert "hunter2" not in text


def test_what_cannot_be_asked_says_why(told: Machine, tmp_path: Path) -> None:
    told.program("journalctl", "#!/bin/sh\necho 'No journal files were found.' >&2; exit 1\n")
    status, text = bundle(told, tmp_path / "bundle.txt")

    assert status == 0
    assert "No journal files were found." in text


def test_a_file_that_exists_stays(
    told: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle.txt").write_text("mine")
    assert (2, "mine") == bundle(told, tmp_path / "bundle.txt")
    assert (
        "bundle.txt exists and is not overwritten: name another file\n" in capsys.readouterr().err
    )
    # So does what a link leads to, and what it does not lead to is not made.
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert 2 == bundle(told, tmp_path / "link")[0]
    assert not (tmp_path / "nowhere").exists()


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_written_is_one_sentence_and_leaves_nothing(
    told: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bundle.txt"
    with no_file_longer_than(1000):
        assert 2 == main(["check", "--bundle", str(path)], told.host)
    error = capsys.readouterr().err
    assert error == f"do-dcgm-exporter-integrate: {path} cannot be written: File too large\n"
    assert not path.exists()


def test_a_bundle_for_programs_is_none(told: Machine, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["check", "--json", "--bundle", str(tmp_path / "bundle.txt")], told.host)
    assert stopped.value.code == 2
