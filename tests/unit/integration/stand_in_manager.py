"""Stands in for systemctl and busctl: a service manager over a directory tree.

It reads unit files and drop-ins as systemd does, remembers what it has read until it is
told to reload, and "runs" exporters as entries of the tree's /proc. What it is asked is
written down, one JSON list a line. It is both programs, by its name; STAND_IN_ROOT in the
environment is the tree.
"""

import fcntl
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["STAND_IN_ROOT"])
HOME = ROOT / "stand-in"
DIRECTORIES = (
    "etc/systemd/system.control", "run/systemd/system.control", "run/systemd/transient",
    "run/systemd/generator.early", "etc/systemd/system", "run/systemd/system",
    "run/systemd/generator", "usr/local/lib/systemd/system", "usr/lib/systemd/system",
    "run/systemd/generator.late",
)  # fmt: skip
# In this file: names of units that exit when they are told of an engine.
REFUSES = HOME / "refuses"
# In these files: units that always exit, and units that systemd starts again when they do.
FAILS = HOME / "fails"
AUTO_RESTARTS = HOME / "auto-restarts"
# In these files: units that as clients listen where nobody answers, and units that run an
# engine of their own whatever they are told.
SERVES_NOTHING = HOME / "serves-nothing-as-client"
IGNORES = HOME / "ignores-settings"
# In these files: a unit, and how often systemd has restarted it, before or from now on.
RESTARTS_BEFORE = HOME / "restarts-before"
RESTARTS_SINCE = HOME / "restarts-from-then-on"
# In this file: the number of the question that the manager does not answer.
BUSY = HOME / "busy"
# In this file: a unit, and the port that it serves as a client.
PORT_AS_CLIENT = HOME / "port-as-client"
# In this file: names of units that are not shown.
REFUSES_TO_SHOW = HOME / "refuses-to-show"
# In this file: words of a command that hangs.
HANGS = HOME / "hangs"
ENGINE_PORT = int(os.environ.get("STAND_IN_ENGINE_PORT", "5555"))


class Manager:
    """What it has read and what runs."""

    def __init__(self) -> None:
        state = HOME / "manager.json"
        self.path = state
        data = json.loads(state.read_text()) if state.exists() else {}
        self.loaded = data.get("loaded", {})
        self.running = data.get("running", {})
        self.pid = data.get("pid", 1000)

    def save(self) -> None:
        """Keep it for the next call."""
        data = {"loaded": self.loaded, "running": self.running, "pid": self.pid}
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(data))
        new.replace(self.path)

    def unit(self, name: str) -> dict:
        """Return a unit as it was when it was last read."""
        name = canonical(name)
        if name not in self.loaded:
            self.loaded[name] = read_unit(name)
        return self.loaded[name]

    def reload(self) -> None:
        """Read all known units anew."""
        self.loaded = {name: read_unit(name) for name in {*self.loaded, *self.running}}

    def start(self, name: str) -> None:
        """Start a unit, which fails at once if it refuses what it is told."""
        unit = self.unit(name)
        if unit["LoadState"] != "loaded":
            sys.exit(f"Failed to start {name}: Unit {name} is {unit['LoadState']}.")
        if self.running.get(name, {}).get("active") == "active":
            return
        self.pid += 1
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
        refuses = named(name, REFUSES)
        starts = self.running.get(name, {}).get("starts", 0) + 1
        failed = (bool(remote) and refuses) or named(name, FAILS)
        ended = ("activating", "auto-restart") if named(name, AUTO_RESTARTS) else ("failed",) * 2
        self.running[name] = {
            "active": ended[0] if failed else "active",
            "sub": ended[1] if failed else "running",
            "pid": 0 if failed else self.pid,
            "starts": starts,
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
        """Return what GetAll gives."""
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


def restarts(name: str) -> int:
    """Return how often systemd has restarted a unit: always as much, or since it was asked."""
    for file, first in ((RESTARTS_BEFORE, 0), (RESTARTS_SINCE, 1)):
        words = file.read_text().split() if file.exists() else []
        if words[:1] == [name]:
            asked = file.with_suffix(".asked")
            count = int(asked.read_text()) if asked.exists() else 0
            asked.write_text(str(count + 1))
            return int(words[1]) if count >= first else 0
    return 0


def named(name: str, file: Path) -> bool:
    """Whether a file names a unit."""
    return file.exists() and name in file.read_text().split()


def canonical(name: str) -> str:
    """Return the name of the unit that a name is an alias of."""
    link = ROOT / "etc/systemd/system" / name
    target = os.path.basename(os.readlink(link)) if link.is_symlink() else name
    return target if target.endswith(".service") else name


def aliases(name: str) -> list:
    """Return the other names of a unit."""
    links = (ROOT / "etc/systemd/system").glob("*.service")
    return [link.name for link in links if link.name != name and canonical(link.name) == name]


def read_unit(name: str) -> dict:
    """Read a unit's file and drop-ins."""
    template = re.sub(r"@.*\.", "@.", name)
    empty = {"LoadState": "not-found", "fragment": "", "drop_ins": [], "type": "simple",
             "argv": [], "environment": {}, "files": []}  # fmt: skip
    fragment = next(
        (f"/{directory}/{file}" for file in dict.fromkeys((name, template))
         for directory in DIRECTORIES if os.path.lexists(ROOT / directory / file)), "",
    )  # fmt: skip
    if not fragment:
        return empty
    if os.path.realpath(ROOT / fragment[1:]) == "/dev/null":
        return {**empty, "LoadState": "masked", "fragment": fragment}
    found = {}
    for directory in reversed(DIRECTORIES):
        for kind in dict.fromkeys((template, name)):
            for path in sorted((ROOT / directory / f"{kind}.d").glob("*.conf")):
                found[path.name] = path
    # As systemd, which lists those linked to /dev/null, too.
    drop_ins = [found[key] for key in sorted(found)]
    unit = {**empty, "LoadState": "loaded", "fragment": fragment, "environment": {}, "files": []}
    unit["drop_ins"] = [f"/{path.relative_to(ROOT)}" for path in drop_ins]
    instance = name.partition("@")[2].removesuffix(".service")
    for path in (ROOT / fragment[1:], *drop_ins):
        for line in path.read_text().replace("\\\n", " ").splitlines():
            key, _, value = line.partition("=")
            value = value.replace("%i", instance).replace("%%", "%")
            if key == "ExecStart":
                unit["argv"] = shlex.split(value.lstrip("-+!@:"))
            elif key == "Environment":
                for word in shlex.split(value):
                    variable, _, text = word.partition("=")
                    unit["environment"][variable] = text
            elif key == "EnvironmentFile":
                unit["files"] = [*unit["files"], value.lstrip("-")]
            elif key in ("Type", "SourcePath"):
                unit[key.lower()] = value
    return unit


def assignments(path: str) -> dict:
    """Read a file of variables."""
    try:
        lines = (ROOT / path[1:]).read_text().splitlines()
    except OSError:
        return {}
    return dict(line.partition("=")[::2] for line in lines if "=" in line)


def triggers(name: str) -> list:
    """Return the socket that starts a unit."""
    socket = name.replace(".service", ".socket")
    return [socket] if (ROOT / "usr/lib/systemd/system" / socket).exists() else []


def file_state(name: str) -> str:
    """Say whether a unit is enabled."""
    links = (ROOT / "etc/systemd/system").glob(f"*.wants/{name}")
    return "enabled" if any(links) else "disabled"


def put_process(pid: int, group: str, argv: list, environment: dict, remote: str) -> None:
    """Make a process of the tree's /proc: it serves its port, and has a connection or not."""
    process = ROOT / "proc" / str(pid)
    (process / "fd").mkdir(parents=True)
    (process / "net").mkdir()
    (process / "ns").mkdir()
    (process / "ns" / "net").symlink_to("net:[1]")
    (process / "comm").write_text(f"{os.path.basename(argv[0])}\n")
    (process / "cmdline").write_text("".join(f"{word}\0" for word in argv))
    (process / "environ").write_text("".join(f"{k}={v}\0" for k, v in environment.items()))
    (process / "cgroup").write_text(f"0::/system.slice/{group}\n")
    (process / "maps").write_text("7f00 r--p 0 0 0 /usr/lib/x86_64-linux-gnu/libdcgm.so.4.5.3\n")
    address = argv[argv.index("-a") + 1] if "-a" in argv else ":9400"
    rows = [("00000000", int(address.rpartition(":")[2]), 0, "0A", pid * 10)]
    if remote:
        rows.append(("0100007F", 40000 + pid % 1000, ENGINE_PORT, "01", pid * 10 + 1))
    for _, _, _, _, inode in rows:
        (process / "fd" / str(inode)).symlink_to(f"socket:[{inode}]")
    net = ROOT / "proc" / "net" / "tcp"
    lines = [
        f" 0: {local}:{port:04X} 0100007F:{other:04X} {state} 0 0 0 0 0 {inode}\n"
        for local, port, other, state, inode in rows
    ]
    with net.open("a") as table:
        table.writelines(lines)
    (process / "net" / "tcp").symlink_to(net)


def remove_process(pid: int) -> None:
    """Remove a process and its sockets."""
    net = ROOT / "proc" / "net" / "tcp"
    kept = [line for line in net.read_text().splitlines(keepends=True)
            if not line.rstrip().endswith((f" {pid * 10}", f" {pid * 10 + 1}"))]  # fmt: skip
    net.write_text("".join(kept))
    process = ROOT / "proc" / str(pid)
    for path in sorted(process.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    process.rmdir()


def never_returns(manager: Manager, program: str, arguments: list) -> bool:
    """Whether systemctl waits for ever: for a oneshot to end, which an exporter does not do."""
    return (
        program == "systemctl"
        and arguments[0] in ("start", "restart")
        and "--no-block" not in arguments
        and any(manager.unit(name)["type"] == "oneshot" for name in arguments[1:])
    )


def systemctl(manager: Manager, arguments: list) -> None:
    """Do what systemctl is asked."""
    verb, *names = [argument for argument in arguments if not argument.startswith("-")]
    if verb == "daemon-reload":
        manager.reload()
    elif verb == "list-unit-files":
        print("".join(f"{name} static -\n" for name in unit_files()), end="")
    elif verb == "show":
        loaded = {*manager.loaded, *manager.running, *wanted()} if "*.service" in names else ()
        shown = sorted({canonical(name) for name in {*names, *loaded} - {"*.service"}})
        print("\n".join(show(manager, name) for name in shown), end="")
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


def unit_files() -> list:
    """Return the files that have a unit's name: unit_name_is_valid() in systemd's sources."""
    valid = r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*\.service"
    names = {path.name for each in DIRECTORIES for path in (ROOT / each).glob("*.service")}
    return sorted(name for name in names if re.fullmatch(valid, name))


def wanted() -> list:
    """Return the units that a target pulls in, which are loaded with it."""
    links = (ROOT / "etc/systemd/system").glob("*.wants/*.service")
    return [path.name for path in links]


def show(manager: Manager, name: str) -> str:
    """Return what is shown of a unit."""
    unit = manager.unit(name)
    lines = []
    if words := unit["argv"]:
        lines.append(f"ExecStart={{ path={words[0]} ; argv[]={' '.join(words)} ; code=(null) }}")
    lines.append("Environment=" + shlex.join(f"{k}={v}" for k, v in unit["environment"].items()))
    lines += [f"EnvironmentFiles={path} (ignore_errors=no)" for path in unit["files"]]
    return "\n".join([*lines, f"Id={name}", ""])


def busctl(manager: Manager, arguments: list) -> None:
    """Do what busctl is asked, which is always the same."""
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


if __name__ == "__main__":
    main()
