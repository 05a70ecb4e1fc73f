"""The real program as a process with its own configuration file."""

from __future__ import annotations

import base64
import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.e2e.pages import Page
from tests.waiting import PATIENCE, wait_until

import dcgm_simulator
from dcgm_simulator.process import SimulatedEngine

ROOT = Path(__file__).resolve().parents[2]
ETC = ROOT / "etc" / "do-dcgm-exporter"
COMMAND = (sys.executable, "-m", "do_dcgm_exporter")


def command_after(statements: str) -> tuple[str, ...]:
    """Return a command that runs Python statements before the program."""
    program = f"{statements}\nfrom do_dcgm_exporter.program import run\nrun()"
    return (sys.executable, "-c", program)


def command_without(module: str) -> tuple[str, ...]:
    """Return the command without one of the modules, as if it were not installed."""
    return command_after(f"import sys\nsys.modules[{module!r}] = None")


_TROUBLE = re.compile("Traceback|internal error|a collector failed|Exception ignored")

Value = str | int | Path


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, without variables that affect the exporter."""
    ours = ("DO_DCGM_EXPORTER_", "DCGM_SIMULATOR_", "NOTIFY_", "WATCHDOG_", "JOURNAL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PYTHONUNBUFFERED": "1"} | dict(changes or {})


@dataclass(frozen=True)
class Answer:
    """An HTTP answer and how long it took."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


@dataclass
class Exporter:
    """A running exporter."""

    directory: Path
    settings: dict[str, Value]
    flags: Sequence[Value] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = COMMAND
    port: int = 0
    trust: ssl.SSLContext | None = None
    """The TLS context to connect with; None for plain HTTP."""
    credentials: str = ""
    """User and password, such as "alice:secret"."""
    process: subprocess.Popen[bytes] = field(init=False)

    running: ClassVar[list[Exporter]] = []
    """All that are still open; the report of a failed test shows their logs."""

    def __post_init__(self) -> None:
        self.write_settings()
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.command, "--config-file", self.config_path, *map(str, self.flags)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self.environ),
                cwd=self.directory,
            )
        Exporter.running.append(self)

    @property
    def config_path(self) -> Path:
        """Its configuration file."""
        return self.directory / "exporter.conf"

    @property
    def log_path(self) -> Path:
        """Where its log goes."""
        return self.directory / "exporter.log"

    @property
    def interval(self) -> float:
        """Its collect interval in seconds."""
        return int(self.settings["collect-interval"]) / 1000

    def write_settings(self, **changes: Value) -> None:
        """Write the configuration file; underscores in names stand for dashes."""
        self.settings |= {name.replace("_", "-"): value for name, value in changes.items()}
        lines = [f"{name} = {value}\n" for name, value in self.settings.items()]
        self.config_path.write_text("".join(lines))

    # Its log

    def log(self) -> str:
        """Everything it has logged so far."""
        return self.log_path.read_text(errors="replace")

    def log_lines(self, part: str) -> list[str]:
        """The lines of the log that contain ``part``."""
        return [line for line in self.log().splitlines() if part in line]

    def wait_for_log(self, part: str, count: int = 1) -> str:
        """Wait for ``count`` lines that contain ``part``, and return the last."""
        wait_until(
            lambda: len(self.log_lines(part)) >= count or not self.is_running,
            f"{count} lines with {part!r} in the log",
        )
        assert len(self.log_lines(part)) >= count, f"it ended before it logged {part!r}"
        return self.log_lines(part)[count - 1]

    def wait_until_listening(self) -> None:
        """Wait until it listens, and find out its port."""
        line = self.wait_for_log(" listens on port ")
        self.port = int(line.rpartition(" ")[2].rstrip('"}'))

    # Its pages

    def get(
        self, path: str = "/metrics", headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Answer:
        """Send a request on a new connection."""
        connection = self._connection()
        sent = dict(headers or {})
        if self.credentials:
            sent["Authorization"] = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
        started = time.monotonic()
        try:
            connection.request(method, path, headers=sent)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        return Answer(answer.status, answer.headers, body, time.monotonic() - started)

    def _connection(self) -> http.client.HTTPConnection:
        if self.trust is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE, context=self.trust
        )

    def page(self) -> Page:
        """The current page; an invalid one fails the test."""
        answer = self.get()
        assert answer.status == 200
        return Page(answer.text)

    def health(self) -> tuple[int, str]:
        """What /health says."""
        answer = self.get("/health")
        return answer.status, answer.text.strip()

    def has(self, name: str, **labels: str) -> bool:
        """Whether the page has a series of this name with these labels."""
        return bool(self.page().samples(name, **labels))

    def tells_lost(self, gpu: str) -> bool:
        """Whether it says that this GPU is lost; a page of an outage says nothing about GPUs."""
        samples = self.page().samples("do_dcgm_exporter_gpu_up", gpu=gpu)
        return [sample.value for sample in samples] == [0]

    def is_up(self) -> bool:
        """Whether it has values from the engine."""
        page = self.page()
        return page.own("hostengine_up") == 1 and bool(page.dcgm)

    def is_down(self) -> bool:
        """Whether it says that it has no values from the engine."""
        page = self.page()
        return page.own("hostengine_up") == 0 and not page.dcgm

    def wait_until_up(self) -> Page:
        """Wait for values from the engine."""
        wait_until(self.is_up, "the page has values of the engine")
        return self.page()

    def wait_until_down(self) -> Page:
        """Wait until all values from the engine are gone."""
        wait_until(self.is_down, "the page has no values of the engine any more")
        return self.page()

    def wait_for_cycles(self, count: int) -> None:
        """Wait until ``count`` more cycles have succeeded."""
        for _ in range(count):
            last = self.page().own("last_success_timestamp_seconds")
            wait_until(
                lambda last=last: self.page().own("last_success_timestamp_seconds") > last,
                "another cycle has succeeded",
            )

    # Signals and reloads

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def reload(self, **changes: Value) -> None:
        """Change settings, reload, and wait until the configuration is accepted or refused."""
        done = ("configuration reloaded", "the new configuration is refused")
        before = sum(len(self.log_lines(part)) for part in done)
        self.write_settings(**changes)
        self.signal(signal.SIGHUP)
        wait_until(
            lambda: sum(len(self.log_lines(part)) for part in done) > before,
            "it has read its configuration again",
        )

    def stop(self) -> float:
        """Terminate it, and return how many seconds that took."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        return time.monotonic() - started

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        if self in Exporter.running:
            Exporter.running.remove(self)

    def close(self) -> None:
        """Stop it like systemd; it must exit cleanly and have logged no internal error."""
        try:
            if self.is_running:
                self.stop()
                assert self.process.returncode == 0
            assert not _TROUBLE.search(self.log()), f"the log tells of a bug:\n{self.log()}"
        finally:
            self.kill()

    # Its resources

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self) -> int:
        """How many threads it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def wait_for_threads(self, count: int) -> None:
        """Wait until it has ``count`` threads; one that was told to end may take a moment."""
        wait_until(lambda: self.threads() == count, f"{count} threads")

    def wait_until_no_more_than(self, descriptors: int, threads: int, spare: int) -> None:
        """Wait until it uses no more than that; ``spare`` of each may be in use for a moment."""
        wait_until(
            lambda: self.descriptors() <= descriptors + spare and self.threads() <= threads + spare,
            f"no more than {descriptors} descriptors and {threads} threads are in use",
        )


# Used where port 0 would be refused; nothing listens there.
CHECK_CONFIG = ("--check-config", "--address=127.0.0.1:9401")


def settings_for(engine_address: str, **changes: Value) -> dict[str, Value]:
    """Settings for an exporter that does not affect the rest of the machine."""
    return {
        "address": "127.0.0.1:0",
        "remote-hostengine-info": engine_address,
        "dcgm-bindings": dcgm_simulator.bindings_directory(),
        "default-counters": ETC / "default-counters.csv",
        "collectors": "/dev/null",
        "collect-interval": 300,
        "forward": "false",
    } | {name.replace("_", "-"): value for name, value in changes.items()}


@dataclass(frozen=True)
class Ran:
    """The outcome of a command."""

    status: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line it printed to stderr."""
        assert self.err.count("\n") == 1, f"not one line: {self.err!r}"
        return self.err.strip()


def run(
    *arguments: Value,
    environ: Mapping[str, str] | None = None,
    command: Sequence[str] = COMMAND,
    timeout: float = 60.0,
) -> Ran:
    """Run the command to its end."""
    done = subprocess.run(
        [*command, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment(environ),
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def flags_for(engine: SimulatedEngine | str, **settings: object) -> list[str]:
    """Return the flags of an exporter without a configuration file, reading from an engine."""
    address = engine if isinstance(engine, str) else engine.address
    return ["--config-file=/dev/null", *as_flags(settings_for(address, **settings))]


def as_flags(settings: Mapping[str, Value]) -> list[str]:
    """Settings as command-line flags."""
    switches = {"false": "--no-{}", "true": "--{}"}
    return [
        switches[value].format(name) if value in switches else f"--{name}={value}"
        for name, value in settings.items()
    ]
