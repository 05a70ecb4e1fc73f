"""Every kind of exporter at once: connected by the installation, put back by the removal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.package import exporters
from tests.package.conftest import system_over
from tests.package.exporter_kinds import KINDS, Fate, Kind, Left
from tests.package.exporters import engine_of
from tests.package.system import NAME, System
from tests.package.test_removal import listing

ENGINE = "localhost:5555"
STATES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "FragmentPath",
          "DropInPaths", "Environment", "EnvironmentFiles")  # fmt: skip
# Ours alone, and links that deb-systemd-helper makes and removes with the package.
OURS = ("etc/do-dcgm-exporter", "var/lib/do-dcgm-exporter")
LINKS = ("etc/systemd/system/multi-user.target.wants/do-dcgm-exporter.service",
         "etc/systemd/system/timers.target.wants")  # fmt: skip

by_name = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@dataclass(frozen=True, repr=False)
class Look:
    """What is to be seen on a machine at a time."""

    files: Mapping[str, str]
    states: Mapping[str, str]
    pids: Mapping[str, str]
    engines: Mapping[str, str]
    drop_ins: Mapping[str, bool]
    unit_files: str


@dataclass(frozen=True)
class Life:
    """A machine with exporters, before our package, with it, and after it."""

    before: Look
    installed: Look
    removed: Look
    purged: Look
    said: str
    dormant_engine: str
    dormant_engine_afterwards: str


def look(system: System) -> Look:
    units = [kind.unit for kind in KINDS]
    shown = {unit: system.systemctl("show", f"--property={','.join(STATES)}", unit)
             for unit in (*units, NAME)}  # fmt: skip
    return Look(
        files=listing(system.root),
        states=shown,
        pids={unit: system.property(unit, "MainPID") for unit in units},
        engines={kind.name: engine_of(system, kind.port) for kind in KINDS},
        drop_ins={kind.name: any(map(system.exists, kind.drop_ins)) for kind in KINDS},
        unit_files=system.systemctl("list-unit-files", "--no-legend"),
    )


def try_dormant(system: System) -> str:
    """Start the exporter that does not run, see what it reads, and stop it again."""
    kind = next(kind for kind in KINDS if kind.left is Left.OFF)
    system.run("systemctl", "start", kind.unit)
    system.becomes(lambda: bool(engine_of(system, kind.port)), 15.0)
    engine = engine_of(system, kind.port)
    system.run("systemctl", "stop", kind.unit)
    return engine


@pytest.fixture(scope="module")
def life(with_dcgm: list[Path], exporter: Path, workshop: Path) -> Life:
    """Live through it."""
    with system_over(with_dcgm) as system:
        exporters.put_all_kinds(system, exporters.vendor_package(workshop))
        before = look(system)
        said = system.install(exporter).stderr
        installed = look(system)
        dormant = try_dormant(system)
        system.run("dpkg", "--remove", "do-dcgm-exporter")
        removed = look(system)
        afterwards = try_dormant(system)
        system.run("dpkg", "--purge", "do-dcgm-exporter")
        return Life(before, installed, removed, look(system), said, dormant, afterwards)


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}


@by_name
def test_after_the_installation_it_is_a_client_or_as_it_was(life: Life, kind: Kind) -> None:
    runs = kind.left in (Left.RUNNING, Left.STARTED)
    if kind.fate is Fate.CONNECTED:
        assert life.installed.drop_ins[kind.name]
        assert life.installed.engines[kind.name] == (ENGINE if runs else "")
    else:
        assert not life.installed.drop_ins[kind.name]
        assert life.installed.engines[kind.name] == (kind.engine if runs else "")
        assert life.installed.states[kind.unit] == life.before.states[kind.unit]
        if kind.unit != "refuser.service":  # which was tried
            assert life.installed.pids[kind.unit] == life.before.pids[kind.unit]


@by_name
def test_after_the_removal_it_is_as_it_was(life: Life, kind: Kind) -> None:
    assert life.removed.states[kind.unit] == life.before.states[kind.unit]
    assert life.removed.engines[kind.name] == life.before.engines[kind.name]
    if kind.fate is Fate.UNTOUCHED:
        assert life.removed.pids[kind.unit] == life.installed.pids[kind.unit]


def test_one_that_does_not_run_is_a_client_once_it_is_started(life: Life) -> None:
    assert life.dormant_engine == ENGINE
    assert life.dormant_engine_afterwards == "embedded"


def test_a_removal_leaves_no_file_behind_but_ours(life: Life) -> None:
    changed = differences(life.before.files, life.removed.files)
    assert {path for path in changed if not path.startswith((*OURS, *LINKS))} == set()


def test_a_purge_leaves_nothing_behind(life: Life) -> None:
    assert differences(life.before.files, life.purged.files) == set()
    assert life.purged.states == life.before.states
    assert life.purged.unit_files == life.before.unit_files


@pytest.mark.parametrize(
    "unit", ["old-library.service", "refuser.service", "in-its-network.service"]
)
def test_the_installation_names_what_it_left(life: Life, unit: str) -> None:
    assert unit.partition(".")[0] in life.said
