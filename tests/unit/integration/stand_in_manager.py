"""Stands in for systemctl and busctl: a service manager over a directory tree.

It reads unit files and drop-ins as systemd does, remembers them until a reload, and "runs"
exporters as entries of the tree's /proc. It logs each command it gets, one JSON list per
line. Which of the two programs it is depends on the name it is called by.
"""

import fcntl
import json
import os
import re
import sys
import time

from stand_in_tree import (
    DIRECTORIES,
    HOME,
    ROOT,
    aliases,
    assignments,
    canonical,
    file_state,
    named,
    put_process,
    read_unit,
    remove_process,
    triggers,
    wanted,
)

# Files by which a test tells the manager what is to go wrong. Most hold names of units.
REFUSES = HOME / "refuses"  # exit when told of an engine
ENGINE_COMES_BACK = HOME / "engine-comes-back"  # how often it is replaced under a client
ENGINE_GOES = HOME / "engine-goes"  # it goes under the next client
FAILS = HOME / "fails"  # always exit
AUTO_RESTARTS = HOME / "auto-restarts"  # are started again by systemd when they exit
SERVES_NOTHING = HOME / "serves-nothing-as-client"  # as clients, serve another port
PORT_AS_CLIENT = HOME / "port-as-client"  # a unit, and the port it serves as a client
IGNORES = HOME / "ignores-settings"  # embed DCGM whatever they are told
RESTARTS_BEFORE = HOME / "restarts-before"  # a unit, and how often systemd has restarted it
RESTARTS_SINCE = HOME / "restarts-from-then-on"  # the same, from the second question on
REFUSES_TO_SHOW = HOME / "refuses-to-show"  # are not shown
BUSY = HOME / "busy"  # the number of the question that is not answered
HANGS = HOME / "hangs"  # words of commands that hang


class Manager:
    """The units that were read, and those that run."""

    def __init__(self) -> None:
        state = HOME / "manager.json"
        self.path = state
        data = json.loads(state.read_text()) if state.exists() else {}
        self.loaded = data.get("loaded", {})
        self.running = data.get("running", {})
        self.pid = data.get("pid", 1000)

    def save(self) -> None:
        """Save the state for the next call."""
        data = {"loaded": self.loaded, "running": self.running, "pid": self.pid}
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(data))
        new.replace(self.path)

    def unit(self, name: str) -> dict:
        """Return a unit as last read."""
        name = canonical(name)
        if name not in self.loaded:
            self.loaded[name] = read_unit(name)
        return self.loaded[name]

    def reload(self) -> None:
        """Read all known units again."""
        self.loaded = {name: read_unit(name) for name in {*self.loaded, *self.running}}

    def start(self, name: str) -> None:
        """Start a unit; one that refuses its settings fails at once."""
        unit = self.unit(name)
        if unit["LoadState"] != "loaded":
            sys.exit(f"Failed to start {name}: Unit {name} is {unit['LoadState']}.")
        if self.running.get(name, {}).get("active") == "active":
            return
        argv, environment, remote = command_of(name, unit)
        refused = bool(remote) and (loses_engine() or named(name, REFUSES))
        failed = refused or named(name, FAILS)
        ended = ("activating", "auto-restart") if named(name, AUTO_RESTARTS) else ("failed",) * 2
        self.pid += 1
        self.running[name] = {
            "active": ended[0] if failed else "active",
            "sub": ended[1] if failed else "running",
            "pid": 0 if failed else self.pid,
            "starts": self.running.get(name, {}).get("starts", 0) + 1,
            "remote": remote,
        }
        if not failed:
            put_process(self.pid, name, argv, environment, remote)

    def stop(self, name: str) -> None:
        """Stop a unit."""
        run = self.running.get(name)
        if run and run["active"] in ("active", "activating"):
            if run["pid"]:
                remove_process(run["pid"])
            self.running[name] = {**run, "active": "inactive", "sub": "dead", "pid": 0}

    def properties(self, name: str) -> dict:
        """Return what GetAll returns."""
        name = canonical(name)
        unit, run = self.unit(name), self.running.get(name, {})
        commands = (
            [[unit["argv"][0], unit["argv"], [], 0, 0, 0, 0, 0, 0, 0]] if unit["argv"] else []
        )
        values = {
            "Id": name,
            "Names": [name, *aliases(name)],
            "LoadState": unit["LoadState"],
            "ActiveState": run.get("active", "inactive"),
            "SubState": run.get("sub", "dead"),
            "UnitFileState": file_state(name),
            "FragmentPath": unit["fragment"],
            "DropInPaths": unit["drop_ins"],
            "Type": unit["type"],
            "ExecStartEx": commands,
            "Environment": [f"{key}={value}" for key, value in unit["environment"].items()],
            "EnvironmentFiles": [[path, False] for path in unit["files"]],
            "MainPID": run.get("pid", 0),
            "InvocationID": [run["starts"] % 256] * 16 if run else [],
            "NRestarts": restarts(name),
            "TriggeredBy": triggers(name),
            "SourcePath": unit.get("sourcepath", ""),
            "WorkingDirectory": "",
        }
        return {key: {"type": "?", "data": value} for key, value in values.items()}


def command_of(name: str, unit: dict) -> tuple:
    """Return what a unit runs: words, environment, and the engine it connects to, if any."""
    environment = dict(unit["environment"])
    for path in unit["files"]:
        environment |= assignments(path)
    argv = list(unit["argv"])
    remote = environment.get("DCGM_REMOTE_HOSTENGINE_INFO", "")
    if "-r" in argv:
        remote = argv[argv.index("-r") + 1]
    if "-e" in argv:  # of a container
        remote = argv[argv.index("-e") + 1].partition("=")[2]
    if named(name, IGNORES):
        remote = ""
    if remote and named(name, SERVES_NOTHING):
        argv = ["/usr/bin/dcgm-exporter", "-a", ":1"]
    if remote and named(name, PORT_AS_CLIENT):
        argv = ["/usr/bin/dcgm-exporter", "-a", f":{PORT_AS_CLIENT.read_text().split()[1]}"]
    return argv, environment, remote


def loses_engine() -> bool:
    """Return whether the engine goes or is replaced while a client starts, by the files above."""
    if ENGINE_GOES.exists():
        for table in ROOT.glob("proc/net/tcp"):
            table.write_text("")
        return True
    left = int(ENGINE_COMES_BACK.read_text()) if ENGINE_COMES_BACK.exists() else 0
    if left:
        ENGINE_COMES_BACK.write_text(str(left - 1))
        (old,) = (comm.parent for comm in ROOT.glob("proc/*/comm") if "nv-host" in comm.read_text())
        old.rename(old.with_name(str(int(old.name) + 1)))
    return left > 0


def restarts(name: str) -> int:
    """Return how often systemd has restarted a unit, by the files above."""
    for file, first in ((RESTARTS_BEFORE, 0), (RESTARTS_SINCE, 1)):
        words = file.read_text().split() if file.exists() else []
        if words[:1] == [name]:
            asked = file.with_suffix(".asked")
            count = int(asked.read_text()) if asked.exists() else 0
            asked.write_text(str(count + 1))
            return int(words[1]) if count >= first else 0
    return 0


def never_returns(manager: Manager, program: str, arguments: list) -> bool:
    """Return whether systemctl waits for ever: for a oneshot exporter to end."""
    return (
        program == "systemctl"
        and arguments[0] in ("start", "restart")
        and "--no-block" not in arguments
        and any(manager.unit(name)["type"] == "oneshot" for name in arguments[1:])
    )


def systemctl(manager: Manager, arguments: list) -> None:
    """Run a systemctl command."""
    verb, *names = [argument for argument in arguments if not argument.startswith("-")]
    if verb == "daemon-reload":
        manager.reload()
    elif verb == "list-units":
        loaded = {*manager.loaded, *manager.running, *wanted()}
        print("".join(f"{name} loaded\n" for name in sorted(loaded) if "@" in name), end="")
    elif verb == "show":  # the manager's UnitPath=
        print(" ".join(f"/{directory}" for directory in DIRECTORIES))
    elif verb == "reset-failed":
        for name in names:
            run = manager.running.get(name)
            if run and run["active"] == "failed":
                manager.running[name] = {**run, "active": "inactive", "sub": "dead"}
    else:
        for name in names:
            if verb in ("stop", "restart"):
                manager.stop(name)
            if verb in ("start", "restart"):
                manager.start(name)


def busctl(manager: Manager, arguments: list) -> None:
    """Run the one busctl command there is."""
    if BUSY.exists():
        left = int(BUSY.read_text()) - 1
        BUSY.write_text(str(left))
        if left == 0:
            sys.exit("Connection timed out")
    path = arguments[3].rpartition("/")[2]
    name = re.sub("_([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), path)
    if named(name, REFUSES_TO_SHOW):
        sys.exit(f"Call failed: Unit name {name} is neither a valid invocation ID nor unit name.")
    print(json.dumps({"type": "a{sv}", "data": [manager.properties(name)]}))


def main() -> None:
    """Be systemctl or busctl."""
    program, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    HOME.mkdir(exist_ok=True)
    with (HOME / "asked").open("a") as asked:
        asked.write(json.dumps([program, *arguments]) + "\n")
    if HANGS.exists() and any(word in [program, *arguments] for word in HANGS.read_text().split()):
        time.sleep(3600)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        manager = Manager()
        (systemctl if program == "systemctl" else busctl)(manager, arguments)
        manager.save()
    if never_returns(manager, program, arguments):
        time.sleep(3600)
