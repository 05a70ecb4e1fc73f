"""Exporters of every kind among strangers of every kind: the former alone are ever touched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.package import exporters, packages, strangers
from tests.package.conftest import system_over
from tests.package.exporter_kinds import KINDS, Fate, Kind, Left
from tests.package.exporters import checked, engine_of, finished, integrate
from tests.package.layers import DEPENDENCIES, system_with
from tests.package.stranger import RAN, Stranger
from tests.package.strangers import STRANGERS
from tests.package.system import NAME, System
from tests.package.test_removal import listing

ENGINE = "localhost:5555"
STATES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "Result", "FragmentPath",
          "DropInPaths", "Environment", "EnvironmentFiles")  # fmt: skip
# By these it shows that something was started again, whatever came of it.
RUNS = (*STATES, "MainPID", "InvocationID", "NRestarts", "ActiveEnterTimestampMonotonic",
        "InactiveEnterTimestampMonotonic", "ExecMainStartTimestampMonotonic",
        "Restart")  # fmt: skip
KIND_UNITS = frozenset(kind.unit for kind in KINDS)
# What comes and goes by itself, and what our package is there to run.
OTHERS_WORK = re.compile(
    r"(?x) do-(dcgm-exporter|nv-hostengine).* | (nvidia-)?dcgm\.service | other-engine\.service"
    r" | (systemd-|apt-|dpkg-|e2scrub|fstrim|logrotate|man-db|docker-[0-9a-f]+\.scope|run-|init).*"
    r" | .*\.(slice|target|mount|automount|swap|device|path|socket)"
)
# Ours alone, and links that deb-systemd-helper makes and removes with the package.
OURS = ("etc/do-dcgm-exporter", "var/lib/do-dcgm-exporter")
LINKS = ("etc/systemd/system/multi-user.target.wants/do-dcgm-exporter.service",
         "etc/systemd/system/paths.target.wants",
         "etc/systemd/system/timers.target.wants")  # fmt: skip
# In the order in which they are done; "stop" and what is after it are decisions of the admin.
STEPS = ("install", "apply", "stop", "reconfigure", "upgrade", "remove", "purge")
WITH_OURS = ("install", "apply", "reconfigure", "upgrade")
DESTRUCTIVE = re.compile(r"systemctl\s[a-z -]*\b(stop|disable|restart|mask|kill|reload)\b")

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
each_stranger = pytest.mark.parametrize("stranger", STRANGERS, ids=lambda stranger: stranger.name)
each_step = pytest.mark.parametrize("step", STEPS)


@dataclass(frozen=True, repr=False)
class Look:
    """What is to be seen on a machine at a time."""

    files: Mapping[str, str]
    kinds: Mapping[str, str]
    pids: Mapping[str, str]
    engines: Mapping[str, str]
    drop_ins: Mapping[str, bool]
    unit_files: str
    others: Mapping[str, str]
    processes: frozenset[tuple[str, str, str]]
    noted: Mapping[str, str]


@dataclass(frozen=True)
class Life:
    """A machine before our package, and after each step of a life with it."""

    before: Look
    after: Mapping[str, Look]
    said: Mapping[str, str]
    problems: list[dict[str, Any]]
    report: str
    dormant_engine: str
    dormant_engine_afterwards: str


def others(system: System) -> list[str]:
    """Return the units that are none of our business."""
    listed = system.run("systemctl", "list-units", "--all", "--plain", "--no-legend").stdout
    names = {line.split()[0] for line in listed.splitlines() if line.split()}
    names |= strangers.UNIT_NAMES
    return sorted(
        name for name in names - KIND_UNITS if not OTHERS_WORK.fullmatch(name) or name in STRANGE
    )


STRANGE = strangers.UNIT_NAMES


def shown(system: System, units: list[str], properties: tuple[str, ...]) -> dict[str, str]:
    """Return the properties of each unit, as text."""
    told = system.systemctl("show", f"--property=Id,{','.join(properties)}", "--", *units)
    return dict(zip(units, told.split("\n\n"), strict=True))


def lasting_processes(system: System) -> frozenset[tuple[str, str, str]]:
    """Return pid, time of start and command of every process that is nobody's of ours."""
    command = "ps -eo pid=,lstart=,cgroup:999=,args= --cols 4000"
    found = set()
    for line in system.run("sh", "-c", command).stdout.splitlines():
        pid, *rest = line.split()
        start, group, arguments = " ".join(rest[:5]), rest[5], " ".join(rest[6:])
        unit = group.rpartition("/")[2]
        mine = unit in KIND_UNITS and "payload" not in group and "lxc" not in group
        passing = arguments.startswith(("sleep ", "ps ", "sh -c ps", "[", "(sd-"))
        if not mine and not passing and (unit in STRANGE or not OTHERS_WORK.fullmatch(unit)):
            found.add((pid, start, arguments))
    return frozenset(found)


def look(system: System, units: list[str]) -> Look:
    return Look(
        files=listing(system.root),
        kinds=shown(system, [*sorted(KIND_UNITS), NAME], STATES),
        pids={unit: system.property(unit, "MainPID") for unit in KIND_UNITS},
        engines={one.name: engine_of(system, one.port) for one in (*KINDS, *STRANGERS) if one.port},
        drop_ins={kind.name: any(map(system.exists, kind.drop_ins)) for kind in KINDS},
        unit_files=system.systemctl("list-unit-files", "--no-legend", "--type=service,timer"),
        others=shown(system, units, RUNS),
        processes=lasting_processes(system),
        noted={path.name: path.read_text() for path in (system.root / RAN.lstrip("/")).iterdir()},
    )


def try_dormant(system: System) -> str:
    """Start the exporter that does not run, see what it reads, and stop it again."""
    kind = next(kind for kind in KINDS if kind.left is Left.OFF)
    system.run("systemctl", "start", kind.unit)
    system.becomes(lambda: bool(engine_of(system, kind.port)))
    engine = engine_of(system, kind.port)
    system.run("systemctl", "stop", kind.unit)
    return engine


@pytest.fixture(scope="module")
def life(
    tools: None, distribution: str, dcgm4: Path, exporter: Path, workshop: Path
) -> Iterator[Life]:
    """Live through it."""
    layers = system_with(distribution, *DEPENDENCIES, *strangers.PACKAGES)
    with system_over(layers) as system:
        system.install(dcgm4)
        strangers.put(system)
        exporters.put_all_kinds(system, exporters.vendor_package(workshop))
        for stranger in STRANGERS:
            if stranger.port:
                assert system.becomes(
                    lambda port=stranger.port: engine_of(system, port) == "embedded",
                ), stranger.name
        units = others(system)
        before = look(system, units)
        after: dict[str, Look] = {}
        said: dict[str, str] = {}

        def step(name: str, text: str) -> None:
            assert finished(system)
            said[name] = text
            after[name] = look(system, units)

        step("install", system.install(exporter).stderr)
        journal = system.journal(exporters.SERVICE)
        dormant = try_dormant(system)
        report = checked(system).stdout
        problems = json.loads(checked(system, "--json").stdout)["problems"]
        step("apply", "".join(outcome(system, "apply")))
        step("stop", "".join(outcome(system, "apply", "--choice", "stop")))
        step("reconfigure", system.reconfigure().stderr)
        newer = packages.as_version(exporter, "9.9", workshop)
        step("upgrade", system.install(newer).stderr)
        step("remove", system.run("dpkg", "--remove", "do-dcgm-exporter").stderr)
        afterwards = try_dormant(system)
        step("purge", system.run("dpkg", "--purge", "do-dcgm-exporter").stderr)
        said["install"] += journal
        yield Life(before, after, said, problems, report, dormant, afterwards)


def outcome(system: System, *arguments: str) -> tuple[str, str]:
    result = integrate(system, *arguments)
    return result.stdout, result.stderr


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> set[str]:
    return {path for path in one.keys() | other.keys() if one.get(path) != other.get(path)}


# --- strangers ---------------------------------------------------------------------------


@each_step
def test_nothing_that_is_no_exporter_is_started_again_or_changed(life: Life, step: str) -> None:
    before, after = life.before, life.after[step]
    assert {unit: after.others[unit] for unit in differences(before.others, after.others)} == {}
    assert before.processes - after.processes == set()
    assert after.noted == before.noted


@each_step
def test_no_file_of_anybody_is_changed_removed_or_added(life: Life, step: str) -> None:
    before, after = life.before.files, life.after[step].files
    changed = {path for path in before if after.get(path) != before[path]}
    if step == "stop":  # which disables exporters
        changed -= {path for path in changed if path.rpartition("/")[2] in KIND_UNITS}
    assert changed == set()
    expected = (*OURS, *LINKS, *(f"{path.rpartition('/')[0].lstrip('/')}"
                                 for kind in KINDS for path in kind.drop_ins))  # fmt: skip
    added = {path for path in after.keys() - before.keys() if path.startswith("etc/")}
    assert {path for path in added if not path.startswith(expected)} == set()


@each_stranger
def test_an_exporter_in_something_else_goes_on_as_it_is(life: Life, stranger: Stranger) -> None:
    """For those without one the machine as a whole is compared, see above."""
    if stranger.port:
        for step in STEPS:
            assert life.after[step].engines[stranger.name] == "embedded", step
    if stranger.unit:
        assert stranger.unit in life.before.others


@pytest.mark.parametrize(
    "stranger",
    [one for one in STRANGERS if one.port or one.container],
    ids=lambda stranger: stranger.name,
)
def test_it_is_named_with_the_place_where_a_person_sets_it(life: Life, stranger: Stranger) -> None:
    told = " ".join(life.report.split())
    pids = [pid for pid, _, command in life.before.processes if f":{stranger.port}" in command]
    names = {stranger.container, stranger.unit.partition(".")[0], *pids} - {""}
    assert any(re.search(rf"\b{re.escape(name)}\b", told) for name in names), names
    assert "DCGM_REMOTE_HOSTENGINE_INFO" in told


def test_nobody_is_advised_to_stop_or_restart_something_else(life: Life) -> None:
    advice = [line for problem in life.problems for line in problem["remedy"]]
    advice += [line for text in (life.report, *life.said.values()) for line in text.splitlines()]
    assert [
        line
        for line in advice
        for unit in strangers.UNIT_NAMES
        if DESTRUCTIVE.search(line) and re.search(rf"(?<![\w.@-]){re.escape(unit)}", line)
    ] == []
    assert [line for line in advice if re.search(r"\bkill \d+", line)] == []


# --- exporters ---------------------------------------------------------------------------


@each_kind
def test_with_our_package_it_is_a_client_or_as_it_was(life: Life, kind: Kind) -> None:
    runs = kind.left in (Left.RUNNING, Left.STARTED)
    for step in WITH_OURS:
        after = life.after[step]
        if kind.fate is Fate.CONNECTED:
            assert after.drop_ins[kind.name], step
            assert after.engines[kind.name] == (ENGINE if runs else ""), step
        else:
            assert not after.drop_ins[kind.name], step
            assert after.engines[kind.name] == (kind.engine if runs else ""), step
            assert after.kinds[kind.unit] == life.before.kinds[kind.unit], step


@each_kind
def test_it_is_restarted_once_at_most(life: Life, kind: Kind) -> None:
    if kind.fate is Fate.UNTOUCHED and kind.unit != "refuser.service":  # which was tried
        assert life.after["install"].pids[kind.unit] == life.before.pids[kind.unit]
    # One that is a client already has nothing done to it.
    assert life.after["apply"].pids[kind.unit] == life.after["install"].pids[kind.unit]
    assert life.after["upgrade"].pids[kind.unit] == life.after["reconfigure"].pids[kind.unit]


@each_kind
def test_it_is_stopped_if_it_has_a_dcgm_of_its_own(life: Life, kind: Kind) -> None:
    after = life.after["stop"]
    if kind.engine != "embedded" or kind.left is Left.MASKED:
        assert after.kinds[kind.unit] == life.before.kinds[kind.unit]
    else:
        assert after.engines[kind.name] == "", life.said["stop"]


@each_kind
def test_after_the_removal_it_is_as_it_was(life: Life, kind: Kind) -> None:
    removed = life.after["remove"]
    assert removed.kinds[kind.unit] == life.before.kinds[kind.unit]
    assert removed.engines[kind.name] == life.before.engines[kind.name]


def test_one_that_does_not_run_is_a_client_once_it_is_started(life: Life) -> None:
    assert life.dormant_engine == ENGINE
    assert life.dormant_engine_afterwards == "embedded"


def test_a_removal_leaves_no_file_behind_but_ours(life: Life) -> None:
    changed = differences(life.before.files, life.after["remove"].files)
    assert {path for path in changed if not path.startswith((*OURS, *LINKS))} == set()


def test_a_purge_leaves_nothing_behind(life: Life) -> None:
    assert differences(life.before.files, life.after["purge"].files) == set()
    assert life.after["purge"].kinds == life.before.kinds
    assert life.after["purge"].unit_files == life.before.unit_files


@pytest.mark.parametrize(
    "unit", ["old-library.service", "refuser.service", "in-its-network.service"]
)
def test_the_installation_names_what_it_left(life: Life, unit: str) -> None:
    assert unit.partition(".")[0] in life.said["install"]
