"""Killed, interrupted, without room or leave to write: restore alone mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.package.exporter_kinds import DROP_IN, ETC
from tests.package.exporters import engine_of, finished, integrate, put_one
from tests.package.system import System
from tests.package.test_removal import listing

ENGINE = "localhost:5555"
PORTS = (9402, 9403, 9404)
UNITS = {port: f"exporter-{port}.service" for port in PORTS}
DROP_INS = {port: f"{ETC}/{unit}.d/{DROP_IN}" for port, unit in UNITS.items()}
COMMAND = "do-dcgm-exporter-integrate"


@pytest.fixture
def three(installed: System) -> System:
    """A machine with our package and three exporters that came afterwards."""
    # Nothing but the runs of these tests: this machine has only just been booted.
    installed.run("systemctl", "stop", "do-dcgm-exporter-integrate.timer",
                  "do-dcgm-exporter-embedded.timer")  # fmt: skip
    assert installed.serves(hostengine_up=True)
    assert finished(installed)
    for port in PORTS:
        put_one(installed, port)
    return installed


def engines(system: System) -> set[str]:
    """Return the engines that the three read; waits until all of them serve."""
    system.becomes(lambda: all(engine_of(system, port) for port in PORTS))
    return {engine_of(system, port) for port in PORTS}


def etc(system: System) -> dict[str, str]:
    return listing(system.root / "etc")


def invocations(system: System) -> dict[str, str]:
    return {unit: system.property(unit, "InvocationID") for unit in UNITS.values()}


# --- killed and interrupted --------------------------------------------------------------


def begin(system: System, command: str) -> None:
    """Run the tool where it can be watched."""
    system.run("systemd-run", "--quiet", "--unit=run", "--property=RemainAfterExit=yes", "--",
               COMMAND, command)  # fmt: skip


def end(system: System, signal: str, moment: Callable[[], bool]) -> None:
    """Send the run a signal at a moment."""
    assert system.becomes(moment), system.journal("run.service")
    system.run("systemctl", "kill", f"--signal={signal}", "--kill-who=main", "run.service",
               check=False)  # fmt: skip
    gone = ("exited", "failed", "dead")
    assert system.becomes(lambda: system.property("run.service", "SubState") in gone)


def forget(system: System) -> None:
    system.systemctl("stop", "run.service")
    system.systemctl("reset-failed", "run.service")


def test_a_manager_that_restarts_itself_again_and_again_stops_no_run(three: System) -> None:
    """As it does once in each upgrade of systemd."""
    again_and_again = "while sleep 0.5; do systemctl daemon-reexec; done"
    three.run("systemd-run", "--quiet", "--unit=restarts", "sh", "-c", again_and_again)
    for command, engine in (("apply", ENGINE), ("restore", "embedded")):
        said = integrate(three, command)
        assert said.returncode == 0, said.stdout + said.stderr
        assert engines(three) == {engine}


MOMENTS = ("at once", "at the first drop-in", "at the last drop-in", "at the first restart",
           "when all are restarted")  # fmt: skip


def moments(system: System, command: str) -> dict[str, Callable[[], bool]]:
    """Return points of a run that can be seen from outside, in their order."""
    before = invocations(system)
    there = command == "apply"
    conditions: tuple[Callable[[], bool], ...] = (
        lambda: True,
        lambda: any(system.exists(path) == there for path in DROP_INS.values()),
        lambda: all(system.exists(path) == there for path in DROP_INS.values()),
        lambda: invocations(system) != before,
        lambda: not set(invocations(system).values()) & set(before.values()),
    )
    return dict(zip(MOMENTS, conditions, strict=True))


ENDINGS = (
    *(("KILL", "apply", moment) for moment in MOMENTS),
    *(("KILL", "restore", moment) for moment in MOMENTS),
    ("INT", "apply", "at once"),
    ("INT", "apply", "at the first restart"),
    ("TERM", "apply", "at the last drop-in"),
    ("TERM", "restore", "at the first restart"),
)


def test_ended_at_any_point_restore_suffices(three: System) -> None:
    files = etc(three)
    for signal, command, moment in ENDINGS:
        if command == "restore":
            assert integrate(three, "apply").returncode == 0
            assert engines(three) == {ENGINE}
        reached = moments(three, command)[moment]
        begin(three, command)
        end(three, signal, reached)
        if signal != "KILL":
            how = three.systemctl("show", "--property=ExecMainCode,ExecMainStatus", "run.service")
            # Unless it was too late, or Python was not there yet.
            early = f"ExecMainCode=2\nExecMainStatus={NUMBER[signal]}"
            allowed = ["ExecMainCode=1\nExecMainStatus=130", "ExecMainCode=1\nExecMainStatus=0"]
            if moment == "at once":
                # One this early was lost once, on a busy machine; restore has to do all the same.
                allowed.append("ExecMainCode=1\nExecMainStatus=1")
            assert how in (*allowed, early), (command, moment, three.journal("run.service"))
        forget(three)
        back = integrate(three, "restore")
        assert (back.returncode, engines(three)) == (0, {"embedded"}), (command, moment, back)
        assert etc(three) == files, (signal, command, moment)


NUMBER = {"INT": 2, "TERM": 15}


def test_a_second_run_does_not_meet_the_memory_of_one_that_was_interrupted(three: System) -> None:
    reached = moments(three, "apply")["at the first restart"]
    begin(three, "apply")
    end(three, "INT", reached)
    forget(three)
    assert integrate(three, "apply").returncode == 0
    assert engines(three) == {ENGINE}


# --- no room, no leave -------------------------------------------------------------------


FILL = """\
cp -a DIR /run/kept
mount -t tmpfs -o size=1m,mode=755 none DIR
cp -a /run/kept/. DIR
rm -r /run/kept
cat /dev/zero >DIR/filling 2>/dev/null || true
"""
EMPTY = """\
rm DIR/filling
cp -a DIR /run/kept
umount DIR
rm -rf DIR/*
cp -a /run/kept/. DIR
rm -r /run/kept
systemctl daemon-reload
"""


@contextmanager
def full(system: System, directory: str) -> Iterator[None]:
    """Have no room left in a directory."""
    system.run("sh", "-ec", FILL.replace("DIR", directory))
    try:
        yield
    finally:
        system.run("sh", "-ec", EMPTY.replace("DIR", directory))


def sentences(said: str) -> list[str]:
    return [line for line in said.splitlines() if line]


def test_without_room_nothing_is_changed_and_everything_can_be_undone(three: System) -> None:
    files, before = etc(three), invocations(three)
    with full(three, ETC):
        said = integrate(three, "apply")
        assert said.returncode == 1
        assert "No space left on device" in said.stderr
        assert "Traceback" not in said.stderr
        assert invocations(three) == before
    assert etc(three) == files

    assert integrate(three, "apply").returncode == 0
    assert engines(three) == {ENGINE}
    with full(three, ETC):
        assert integrate(three, "restore").returncode == 0
        assert engines(three) == {"embedded"}
    assert etc(three) == files


def test_the_package_is_removed_from_a_full_disk(three: System) -> None:
    assert integrate(three, "apply").returncode == 0
    with full(three, ETC):
        removal = three.run("dpkg", "--remove", "do-dcgm-exporter")
        assert "not everything was put back" not in removal.stderr
    assert engines(three) == {"embedded"}
    assert not any(three.exists(path) for path in DROP_INS.values())


@contextmanager
def read_only(system: System, directory: str) -> Iterator[None]:
    system.run("mount", "--bind", directory, directory)
    system.run("mount", "-o", "remount,ro,bind", directory)
    try:
        yield
    finally:
        system.run("umount", directory)


def test_where_etc_is_read_only_that_is_said_and_nothing_else_is_done(three: System) -> None:
    before = invocations(three)
    with read_only(three, "/etc"):
        said = integrate(three, "apply")
        assert said.returncode == 1
        assert "ead-only file system" in said.stderr
        assert "Traceback" not in said.stderr
    assert invocations(three) == before
    assert engines(three) == {"embedded"}

    assert integrate(three, "apply").returncode == 0
    before = invocations(three)
    with read_only(three, "/etc"):
        said = integrate(three, "restore")
        assert said.returncode == 1
        assert "ead-only file system" in said.stderr
        assert invocations(three) == before
    assert integrate(three, "restore").returncode == 0
    assert engines(three) == {"embedded"}


def test_what_is_in_the_place_of_a_folder_is_named_and_the_others_are_connected(
    three: System,
) -> None:
    file, link = (f"{ETC}/{UNITS[port]}.d" for port in PORTS[:2])
    three.write(file, "mine\n")
    three.run("ln", "-s", "/nonexistent/folder", link)
    before = invocations(three)
    said = integrate(three, "apply")

    assert said.returncode == 1
    assert "Traceback" not in said.stderr
    for path in (file, link):
        assert len([line for line in sentences(said.stderr) if path in line]) == 1, said.stderr
    assert [engine_of(three, port) for port in PORTS] == ["embedded", "embedded", ENGINE]
    after = invocations(three)
    assert [after[UNITS[port]] == before[UNITS[port]] for port in PORTS] == [True, True, False]
    assert three.read(file) == "mine\n"
    assert Path(three.root / link.lstrip("/")).readlink() == Path("/nonexistent/folder")
    assert integrate(three, "restore").returncode == 0
    assert engines(three) == {"embedded"}


# --- what did not run --------------------------------------------------------------------


def test_one_that_did_not_run_is_taken_back_when_it_turns_out_to_be_in_trouble(
    three: System,
) -> None:
    unit, drop_in = UNITS[PORTS[0]], DROP_INS[PORTS[0]]
    three.run("systemctl", "stop", unit)
    assert integrate(three, "apply").returncode == 0
    assert three.exists(drop_in)
    three.write("/etc/dcgm-exporter/refuses-to-run-remote", "")
    three.run("systemctl", "start", unit, check=False)
    said = integrate(three, "apply")

    assert said.returncode == 1
    assert unit in said.stdout + said.stderr
    assert not three.exists(drop_in)
    assert three.becomes(lambda: engine_of(three, PORTS[0]) == "embedded")


def test_a_service_that_cannot_be_started_again_is_named(three: System) -> None:
    assert integrate(three, "apply").returncode == 0
    unit = UNITS[PORTS[0]]
    three.write(f"{ETC}/{unit}.d/broken.conf", "[Service]\nExecStartPre=/bin/false\n")
    three.run("systemctl", "daemon-reload")
    said = integrate(three, "restore")

    assert said.returncode == 1
    assert unit in said.stderr
    assert not three.exists(DROP_INS[PORTS[0]])
