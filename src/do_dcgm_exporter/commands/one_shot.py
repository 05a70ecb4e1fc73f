"""Read a machine without serving it, for ``--once`` and ``--check-config``.

Calls run on a daemon thread, because a hung engine blocks its caller for ever and a person at a
terminal should not have to wait for that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from do_dcgm_exporter.collect.event_logs import EventLogs
from do_dcgm_exporter.collect.opening import open_session
from do_dcgm_exporter.collect.profiling_pace import WARM_UP_INTERVAL
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.commands.progress import Tell
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.bindings import Bindings, load_bindings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.errors import EngineUnavailable
from do_dcgm_exporter.dcgm.recording import Recording, RecordingEngine

_CONNECT_TIMEOUT = 2.0
_LONGEST = 20.0
_TELL_EVERY = 0.1
# Profiling values take two or three seconds to arrive.
_LONGEST_WARM_UP = 6.0


@dataclass(frozen=True, slots=True)
class OneShot:
    """A session, and what it read once all values had time to arrive."""

    session: Session
    result: CycleResult


def read_once(
    configuration: Configuration,
    calls: CallCount,
    *,
    sleep: Callable[[float], None] = time.sleep,
    tell: Tell | None = None,
    recording: Recording | None = None,
) -> OneShot:
    """Connect, read until profiling values have arrived, and disconnect.

    ``tell`` is called again and again with what is being waited for; ``recording`` gets what
    the engine answers. Raises ExporterError if no engine answers in time.
    """
    answers: list[OneShot | Exception] = []
    waited_for = [f"connecting to the engine at {configuration.settings.engine}"]

    def work() -> None:
        try:
            with _session(configuration, calls, recording) as session:
                waited_for[0] = "waiting for profiling values"
                answers.append(OneShot(session, _read_warm(session, sleep)))
        except Exception as error:  # noqa: BLE001
            answers.append(error)  # raised by the thread that waits

    thread = threading.Thread(target=work, name="one-shot", daemon=True)
    thread.start()
    _wait_for(thread, (lambda: tell(waited_for[0])) if tell else None)
    if not answers:
        address = configuration.settings.engine
        raise EngineUnavailable(f"the engine at {address} did not answer for {_LONGEST:g} s")
    if isinstance(answers[0], Exception):
        raise answers[0]
    return answers[0]


def _wait_for(thread: threading.Thread, tell: Callable[[], None] | None) -> None:
    """Wait for ``thread`` to end, but no longer than a person would."""
    if tell is None:
        thread.join(_LONGEST)
        return
    deadline = time.monotonic() + _LONGEST
    while thread.is_alive() and time.monotonic() < deadline:
        tell()
        thread.join(_TELL_EVERY)


@contextmanager
def _session(
    configuration: Configuration, calls: CallCount, recording: Recording | None
) -> Iterator[Session]:
    settings = configuration.settings
    bindings = load_bindings(settings.dcgm_bindings)
    engine = _connect(bindings, settings.engine, calls, recording)
    try:
        logs = EventLogs.starting_now(settings)
        yield open_session(engine, configuration, logs, known_gpus={})
    finally:
        engine.disconnect()


def _connect(
    bindings: Bindings, address: EngineAddress, calls: CallCount, recording: Recording | None
) -> HostEngine:
    if recording is None:
        return HostEngine.connect(bindings, address, _CONNECT_TIMEOUT, calls)
    engine = RecordingEngine.connect(bindings, address, _CONNECT_TIMEOUT, calls)
    recording.tell("dcgm_version", engine.versions.engine or engine.versions.client)
    engine.recording = recording
    return engine


def _read_warm(session: Session, sleep: Callable[[float], None]) -> CycleResult:
    deadline = time.monotonic() + _LONGEST_WARM_UP
    result = session.read(time.time())
    while result.warming_up and time.monotonic() < deadline:
        sleep(WARM_UP_INTERVAL)
        result = session.read(time.time())
    return result
