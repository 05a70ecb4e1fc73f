"""A simulated engine as a child process, for tests and demonstrations."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from dcgm_simulator.commands import parse
from dcgm_simulator.server import control_address
from dcgm_simulator.wire import FrameReader, Function, pack_frame, pack_json, unpack_json

START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0


class ControlFailed(Exception):
    """Raised if an engine cannot be reached or refuses a command; the text says why."""


class EngineFailed(Exception):
    """Raised if a simulated engine does not start; carries its output."""


def send_control(address: str, command: str, arguments: dict[str, Any]) -> Any:
    """Send a command to an engine on this machine and return its result.

    Raises ControlFailed.
    """
    request = pack_json({"command": command, "arguments": arguments})
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(control_address(address))
            connection.sendall(pack_frame(1, Function.CONTROL, request))
            status, body = _receive(connection)
    except OSError as error:
        message = f"no simulated engine answers at {address}: {error}"
        raise ControlFailed(message) from None
    if status:
        raise ControlFailed(body.decode(errors="replace"))
    answer = unpack_json(body)
    if "error" in answer:
        raise ControlFailed(answer["error"])
    return answer["result"]


def _receive(connection: socket.socket) -> tuple[int, bytes]:
    reader = FrameReader()
    while (frame := reader.next_frame()) is None:
        data = connection.recv(1 << 16)
        if not data:
            raise ConnectionResetError("connection closed")
        reader.feed(data)
    return frame[1], frame[2]


class SimulatedEngine:
    """A running simulated engine; stops with its `with` block, dies with its parent."""

    def __init__(
        self, process: subprocess.Popen[str], address: str, options: dict[str, Any]
    ) -> None:
        self._process = process
        self._options = options
        self.address = address
        """Where it listens: HOST:PORT."""

    @classmethod
    def start(
        cls,
        scenario: str = "h100x8",
        dcgm_version: str = "",
        port: int = 0,
        seed: int = 0,
        host: str = "127.0.0.1",
        domain_socket: Path | None = None,
        recording: Path | None = None,
        timeline: Path | None = None,
        *,
        still: bool = False,
        manual_clock: bool = False,
    ) -> SimulatedEngine:
        """Start an engine and wait until it listens.

        A `recording` is played instead of a scenario, and sets the version unless one is given.
        `still` makes values stand still; with `manual_clock`, time only passes by the control
        command pass-time.
        Raises EngineFailed with its output if it does not start.
        """
        options = {
            **({"recording": recording} if recording else {"scenario": scenario}),
            "dcgm-version": dcgm_version,
            "host": host,
            "port": port,
            "seed": seed,
            "domain-socket": domain_socket,
            "timeline": timeline,
            "still": still,
            "manual-clock": manual_clock,
        }
        process, address = _spawn(options)
        return cls(process, address, options)

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return int(self.address.rpartition(":")[2])

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.kill()
        self._reap()

    def stop(self) -> None:
        """Terminate it; a second time does nothing."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            self._reap()
        except subprocess.TimeoutExpired:
            self.kill()

    def _reap(self) -> None:
        self._process.wait(STOP_TIMEOUT)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def suspend(self) -> None:
        """Suspend it by SIGSTOP: the kernel accepts connections, but there are no answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a suspended engine."""
        self._process.send_signal(signal.SIGCONT)

    def restart(self, dcgm_version: str = "") -> None:
        """Restart it on the same port, without its past, and perhaps as another version."""
        self.stop()
        if dcgm_version:
            self._options["dcgm-version"] = dcgm_version
        self._process, self.address = _spawn(self._options | {"port": self.port})

    def control(self, *arguments: str) -> Any:
        """Carry out a command of `python3 -m dcgm_simulator control`; return its result.

        Raises ControlFailed.
        """
        return send_control(self.address, *parse(arguments))

    def __enter__(self) -> SimulatedEngine:
        """Return the running engine."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the engine."""
        self.stop()


def _spawn(options: dict[str, Any]) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-m", "dcgm_simulator", "serve", "--until-eof"]
    for name, value in options.items():
        if value is True:
            command.append(f"--{name}")
        elif value is not None and value is not False and value != "":
            command += [f"--{name}", str(value)]
    package_root = str(Path(__file__).resolve().parent.parent)
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        command,
        # The kernel closes this pipe when this process ends, for whatever reason, and the
        # child exits with it. PR_SET_PDEATHSIG would tie the child to one thread.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    return process, _wait_until_listening(process)


def _wait_until_listening(process: subprocess.Popen[str]) -> str:
    if process.stdout is None:
        raise EngineFailed("no output to read")
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
    line = process.stdout.readline() if ready else ""
    if "listening on " not in line:
        process.kill()
        rest, _ = process.communicate()
        raise EngineFailed((line + rest).strip() or "the simulated engine did not start")
    return line.rpartition("listening on ")[2].split(" and ")[0].strip()
