"""A machine in a directory: unit files, /proc, and stand-ins for the programs that manage it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.host import Host

HERE = Path(__file__).parent
ENGINE = EngineAnswer(Condition.ANSWERS, client="4.5.3", engine="4.5.3", gpus=8)
UNIT = "nvidia-dcgm-exporter.service"
PROGRAM_TEXT = "\x7fELF\0 libdcgm.so.4 \0DCGM_REMOTE_HOSTENGINE_INFO\0"
ETC = "etc/systemd/system"
LIB = "usr/lib/systemd/system"
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
LISTENS = " 0: 0100007F:15B3 00000000:0000 0A 0 0 0 0 0 7\n"  # 5555


class Page(http.server.BaseHTTPRequestHandler):
    """An exporter's page of metrics."""

    text = b"# HELP x\nDCGM_FI_DEV_GPU_TEMP 42\n"

    def do_GET(self) -> None:
        """Serve it."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Machine:
    """The directory, and what tests do with it."""

    root: Path
    ports: list[int]
    said: list[str] = field(default_factory=list)

    @property
    def host(self) -> Host:
        return Host(self.root)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def read(self, path: str) -> str:
        return (self.root / path.lstrip("/")).read_text()

    def exists(self, path: str) -> bool:
        return os.path.lexists(self.root / path.lstrip("/"))

    def link(self, path: str, target: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def remove(self, path: str) -> None:
        (self.root / path.lstrip("/")).unlink()

    def put_process(self, pid: int, **files: str) -> None:
        """Put a process into /proc: its comm, cmdline and so on."""
        for name, text in {"cgroup": "0::/user.slice\n", "maps": "", **files}.items():
            self.write(f"proc/{pid}/{name}", text)
        (self.root / "proc" / str(pid) / "fd").mkdir(exist_ok=True)
        self.link(f"proc/{pid}/ns/net", "net:[1]")
        self.link(f"proc/{pid}/net", "../net")

    def stand_in(self, name: str, what: str) -> None:
        """Put a stand-in on the PATH."""
        lines = ["import sys", f"sys.path.insert(0, {str(HERE)!r})", f"import stand_in_{what}"]
        lines += [f"stand_in_{what}.main()", ""]
        self.program(name, "\n".join([f"#!{sys.executable} -IS", *lines]))

    def program(self, name: str, text: str) -> None:
        """Put a program on the PATH."""
        path = self.root / "programs" / name
        path.write_text(text)
        path.chmod(0o755)

    def put_unit(self, name: str, port: int, *more: str, enable: bool = True) -> None:
        """Add an exporter's unit, with its page on one of ``ports``."""
        command = f"ExecStart=/usr/bin/dcgm-exporter -f x.csv -c 500 -a :{port}"
        self.write(f"{LIB}/{name}", "\n".join(["[Service]", command, *more, ""]))
        if enable:
            self.enable(name)

    def enable(self, name: str) -> None:
        self.link(f"{ETC}/multi-user.target.wants/{name}", f"/{LIB}/{name}")

    def systemctl(self, *arguments: str) -> None:
        subprocess.run(["systemctl", *arguments], check=True)

    def set_running(self, unit: str, main_pid: int, active: str) -> None:
        """Set the state of a unit, whatever runs in it."""
        state = json.loads(self.read("stand-in/manager.json") if self.has_manager() else "{}")
        run = {"active": active, "sub": "running", "pid": main_pid, "starts": 1, "remote": ""}
        state["running"] = {**state.get("running", {}), unit: run}
        self.write("stand-in/manager.json", json.dumps(state))

    def has_manager(self) -> bool:
        """Whether the manager has been asked or told anything."""
        return self.exists("stand-in/manager.json")

    def run_of(self, unit: str) -> Mapping[str, object]:
        """Return the manager's record of a unit that has been started."""
        running: dict[str, Mapping[str, object]] = json.loads(self.read("stand-in/manager.json"))[
            "running"
        ]
        return running[unit]

    def engine_of(self, unit: str) -> object:
        """Return the engine that a running unit was told to use, or ``embedded``."""
        run = self.run_of(unit)
        return (run["remote"] or "embedded") if run["active"] == "active" else None

    def asked(self) -> list[list[str]]:
        """Return all commands that the stand-ins were given."""
        return [json.loads(line) for line in self.read("stand-in/asked").splitlines()]

    def forget_asked(self) -> None:
        self.write("stand-in/asked", "")

    def files(self) -> dict[str, str]:
        """Return everything under /etc, and whether there are records of stopped units."""
        found = {}
        for path in sorted((self.root / "etc").rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            else:
                found[name] = path.read_text() if path.is_file() else "directory"
        for path in (self.root / "var/lib/do-dcgm-exporter").glob("**/*.*"):
            found[str(path.relative_to(self.root))] = path.read_text()
        return found

    def states(self) -> dict[str, object]:
        """Return which units run, and whether as clients."""
        running = json.loads(self.read("stand-in/manager.json"))["running"]
        return {name: (run["active"], run["remote"]) for name, run in sorted(running.items())}

    def tell(self, _level: object, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Restore signal handlers afterwards, since the command sets its own."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def pages() -> Iterator[list[int]]:
    """Ports on which pages of metrics are served."""
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) for _ in range(3)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [server.server_address[1] for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def machine(tmp_path: Path, pages: list[int], monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with systemd, an engine that listens, and no exporter."""
    root = tmp_path / "root"
    for directory in (ETC, LIB, "run/systemd/system", "proc/net", "proc/7/fd", "programs"):
        (root / directory).mkdir(parents=True)
    made = Machine(root, pages)
    made.write("proc/net/tcp", HEAD + LISTENS)
    made.write("proc/net/tcp6", HEAD)
    made.link("proc/self", ".")
    made.write("proc/1/comm", "systemd\n")
    made.write("proc/7/comm", "nv-hostengine\n")
    made.write("proc/7/cmdline", "/usr/bin/nv-hostengine\0-n\0")
    made.write("proc/7/cgroup", "0::/system.slice/nvidia-dcgm.service\n")
    made.write("proc/7/maps", "7f00 r--p 0 0 0 /usr/lib/x86_64-linux-gnu/libdcgm.so.4.5.3\n")
    made.link("proc/7/fd/3", "socket:[7]")
    made.link("proc/7/ns/net", "net:[1]")
    made.link("proc/7/net", "../net")
    made.write(
        "usr/bin/dcgm-exporter", "\x7fELF\0 libdcgm.so.4 \0DCGM_REMOTE_HOSTENGINE_INFO\0", 0o755
    )
    for name in ("systemctl", "busctl"):
        made.stand_in(name, "manager")
    monkeypatch.setenv("PATH", f"{root / 'programs'}:/usr/bin:/bin")
    monkeypatch.setenv("STAND_IN_ROOT", str(root))
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    return made


@pytest.fixture
def exporter(machine: Machine) -> Machine:
    """A machine with NVIDIA's exporter, enabled and running."""
    machine.put_unit(UNIT, machine.ports[0])
    machine.systemctl("start", UNIT)
    assert machine.engine_of(UNIT) == "embedded"
    return machine


@pytest.fixture
def refuser(exporter: Machine) -> Machine:
    """A machine whose exporter exits as a client."""
    exporter.write("stand-in/refuses", UNIT)
    return exporter
