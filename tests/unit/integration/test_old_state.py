"""What version 0.1.0 has left is carried over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.unit.integration.conftest import ETC, LIB, UNIT, Machine
from tests.unit.integration.runs import (
    CLIENT,
    DROP_IN,
    STATE,
    TOLD,
    apply,
    record,
    restarts,
    told,
    undo,
)

from do_dcgm_exporter.integration.deciding.records import sha256
from do_dcgm_exporter.integration.looking.configuration import Choice


def leave_old_state(machine: Machine, **more: object) -> None:
    """Leave a drop-in and a state as version 0.1.0 did."""
    settings = f"[Unit]\n[Service]\nEnvironment={TOLD}\n"
    header = f"# Made by it.\n# ln -sf /dev/null /{DROP_IN}\n"
    seal = f"# sha256 of all other lines: {sha256(header + settings)}\n"
    machine.write(DROP_IN, header + seal + settings)
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", UNIT)
    unit = {
        "unit": UNIT, "change": "rewritten", "was_active": True, "file_state": "enabled",
        "drop_in": {"path": f"/{DROP_IN}", "sha256": "x", "made_directory": True}, "links": [],
        "source": "s", "engine": CLIENT, "reason": "", "settled": True,
    }  # fmt: skip
    state = {"format": 1, "units": [unit], "containers": [], "snap": None, "colour": "red", **more}
    machine.write(f"{STATE}/integration.json", json.dumps(state))


@pytest.mark.parametrize("first", ["apply", "restore"])
def test_the_state_of_version_0_1_0_is_carried_over(exporter: Machine, first: str) -> None:
    before = exporter.files(), exporter.states()
    leave_old_state(exporter)
    if first == "apply":
        exporter.forget_asked()
        assert apply(exporter)
        assert 0 == restarts(exporter)
        assert (CLIENT, True) == (record(exporter).engine, record(exporter).made_folder)
        assert not exporter.exists(f"{STATE}/integration.json")
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())


def test_what_only_a_person_can_undo_of_version_0_1_0_is_told(exporter: Machine) -> None:
    container = {"engine": "docker", "name": "gpu", "old_id": "a1", "kept_as": "gpu.old",
                 "restart_policy": "always", "was_running": True}  # fmt: skip
    snap = {"port": "5577", "enabled": ["dcgm.nv-hostengine"], "active": []}
    leave_old_state(exporter, containers=[container], snap=snap)
    apply(exporter)
    kept = "/var/lib/do-dcgm-exporter/integration.0.1.0"
    stopped = "version 0.1.0 stopped gpu.old, the engine of the snap dcgm, and they stay"
    assert f"{stopped}: how they were stands in {kept}" in told(exporter)
    assert exporter.exists(kept)


def leave_old_state_of_a_stopped_unit(machine: Machine) -> None:
    """Leave a unit stopped and disabled, and a state, as version 0.1.0 did."""
    link = f"/{ETC}/multi-user.target.wants/{UNIT}"
    leave_old_state(machine)
    state = json.loads(machine.read(f"{STATE}/integration.json"))
    state["units"][0] |= {"change": "stopped", "links": [[link, f"/{LIB}/{UNIT}"]]}
    machine.write(f"{STATE}/integration.json", json.dumps(state))
    machine.remove(DROP_IN)
    machine.remove(link)
    (machine.root / ETC / f"{UNIT}.d").rmdir()
    machine.systemctl("daemon-reload")
    machine.systemctl("stop", UNIT)


def test_units_that_version_0_1_0_has_stopped_come_back(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    leave_old_state_of_a_stopped_unit(exporter)
    assert apply(exporter, Choice.STOP)
    assert exporter.exists(f"{STATE}/stopped/{UNIT}")
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())


@pytest.mark.parametrize("first", ["apply", "restore"])
def test_the_state_of_version_0_1_0_outlives_a_disk_that_takes_nothing(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    before = exporter.files(), exporter.states()
    leave_old_state_of_a_stopped_unit(exporter)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        patched.setattr(Path, "symlink_to", full)
        if first == "restore":
            assert not undo(exporter)
        else:
            with pytest.raises(OSError, match="No space left"):
                apply(exporter, Choice.STOP)
    assert exporter.exists(f"{STATE}/integration.json")
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())
