"""The directory tree that the stand-ins act upon: unit files, and processes in /proc.

STAND_IN_ROOT in the environment is its root, STAND_IN_ENGINE_PORT where the engine listens.
"""

import os
import re
import shlex
from pathlib import Path

ROOT = Path(os.environ["STAND_IN_ROOT"])
HOME = ROOT / "stand-in"
DIRECTORIES = (
    "etc/systemd/system.control", "run/systemd/system.control", "run/systemd/transient",
    "run/systemd/generator.early", "etc/systemd/system", "run/systemd/system",
    "run/systemd/generator", "usr/local/lib/systemd/system", "usr/lib/systemd/system",
    "run/systemd/generator.late",
)  # fmt: skip
ENGINE_PORT = int(os.environ.get("STAND_IN_ENGINE_PORT", "5555"))


def named(name: str, file: Path) -> bool:
    """Return whether a file names a unit."""
    return file.exists() and name in file.read_text().split()


def canonical(name: str) -> str:
    """Return the name of the unit behind an alias."""
    link = ROOT / "etc/systemd/system" / name
    target = os.path.basename(os.readlink(link)) if link.is_symlink() else name
    return target if target.endswith(".service") else name


def aliases(name: str) -> list:
    """Return the other names of a unit."""
    links = (ROOT / "etc/systemd/system").glob("*.service")
    return [link.name for link in links if link.name != name and canonical(link.name) == name]


def read_unit(name: str) -> dict:
    """Read a unit's file and drop-ins."""
    unit = {"LoadState": "not-found", "fragment": "", "drop_ins": [], "type": "simple",
            "argv": [], "environment": {}, "files": []}  # fmt: skip
    names = tuple(dict.fromkeys((name, re.sub(r"@.*\.", "@.", name))))
    fragment = find_fragment(names)
    if not fragment:
        return unit
    if os.path.realpath(ROOT / fragment[1:]) == "/dev/null":
        return {**unit, "LoadState": "masked", "fragment": fragment}
    drop_ins = find_drop_ins(names)
    instance = name.partition("@")[2].removesuffix(".service")
    for path in (ROOT / fragment[1:], *drop_ins):
        for line in path.read_text().replace("\\\n", " ").splitlines():
            key, _, value = line.partition("=")
            read_directive(unit, key, value.replace("%i", instance).replace("%%", "%"))
    listed = [f"/{path.relative_to(ROOT)}" for path in drop_ins]
    return {**unit, "LoadState": "loaded", "fragment": fragment, "drop_ins": listed}


def find_fragment(names: tuple) -> str:
    """Return the path of a unit's file; its own comes before its template's."""
    paths = (f"/{directory}/{name}" for name in names for directory in DIRECTORIES)
    return next((path for path in paths if os.path.lexists(ROOT / path[1:])), "")


def find_drop_ins(names: tuple) -> list:
    """Return a unit's drop-ins in their order; like systemd, also those linked to /dev/null."""
    found = {}
    for directory in reversed(DIRECTORIES):
        for name in reversed(names):
            for path in (ROOT / directory / f"{name}.d").glob("*.conf"):
                found[path.name] = path
    return [found[key] for key in sorted(found)]


def read_directive(unit: dict, key: str, value: str) -> None:
    """Set what one line of a unit file sets."""
    if key == "ExecStart":
        unit["argv"] = shlex.split(value.lstrip("-+!@:"))
    elif key == "Environment":
        pairs = (word.partition("=")[::2] for word in shlex.split(value))
        unit["environment"] |= dict(pairs)
    elif key == "EnvironmentFile":
        unit["files"].append(value.lstrip("-"))
    elif key in ("Type", "SourcePath"):
        unit[key.lower()] = value


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
    """Return whether a unit is enabled."""
    links = (ROOT / "etc/systemd/system").glob(f"*.wants/{name}")
    return "enabled" if any(links) else "disabled"


def wanted() -> list:
    """Return the units that targets pull in, which are loaded with them."""
    links = (ROOT / "etc/systemd/system").glob("*.wants/*.service")
    return [path.name for path in links]


def put_process(pid: int, group: str, argv: list, environment: dict, remote: str) -> None:
    """Add a process to the tree's /proc, with its port and perhaps a connection to the engine."""
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
