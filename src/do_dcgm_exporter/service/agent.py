"""Run the cycle: connect if needed, discover if needed, read, publish, for ever.

Its daemon thread is the only one that calls the engine. A call may block for a minute or for
ever, so nothing else may wait for it (see supervisor.py).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from do_dcgm_exporter.collect.event_logs import EventLogs
from do_dcgm_exporter.collect.lost_gpus import EngineStalled
from do_dcgm_exporter.collect.opening import open_session
from do_dcgm_exporter.collect.profiling_pace import WARM_UP_INTERVAL
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.sample_ages import boot_time
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.bindings import Bindings, BindingsError, load_bindings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.errors import EngineError, NvmlNotLoaded, VersionSkew
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.page.health import health_of
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service.begin_anew import begin_anew
from do_dcgm_exporter.service.cadence import pause_after
from do_dcgm_exporter.service.memory import give_back_free_memory

_log = logging.getLogger(__name__)

# The library itself retries a refused connection for this long.
_CONNECT_TIMEOUT = 0.5
_FIRST_RETRY = 0.5
_LONGEST_RETRY = 30.0
_JITTER = 0.2

# Free memory is given back after this many cycles, and after the first.
_CYCLES_PER_TIDYING = 30


class Agent:
    """Owns the session and everything that must outlive one."""

    def __init__(
        self,
        configuration: Configuration,
        publisher: Publisher,
        calls: CallCount,
        *,
        begin_anew: Callable[[], None] = begin_anew,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        boot_clock: Callable[[], float] = boot_time,
    ) -> None:
        self._configuration = configuration
        self._publisher = publisher
        self._calls = calls
        self._begin_anew = begin_anew
        self._clock = clock
        self._wall_clock = wall_clock
        self._logs = EventLogs.starting_now(configuration.settings, wall_clock, boot_clock)
        self._bindings: Bindings | None = None
        self._session: Session | None = None
        self._retired: Session | None = None
        self._told: Session | None = None
        self._known = Topology()
        self._failures = 0
        self._successes = 0
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)

    def start(self) -> None:
        """Begin to cycle."""
        self._thread.start()

    def reconfigure(self, configuration: Configuration) -> None:
        """Use ``configuration`` from the next cycle on, which begins at once."""
        self._configuration = configuration
        self._wake.set()

    def is_alive(self) -> bool:
        """Return whether the thread is alive, even if a call hangs."""
        return self._thread.is_alive()

    def stop(self, within: float) -> None:
        """Ask the agent to disconnect and end; wait at most ``within`` seconds for it."""
        self._stopping = True
        self._wake.set()
        self._thread.join(within)

    def _run(self) -> None:
        due = self._clock()
        while not self._stopping:
            pause = self.cycle()
            due = max(due + pause, self._clock())
            if self._wake.wait(due - self._clock()):
                # Cleared before anything is looked at that waking up is about.
                self._wake.clear()
                due = self._clock()
        self._close_session()

    def cycle(self) -> float:
        """Run one cycle; return how many seconds after its beginning the next is due."""
        self._logs.xids.look_at_the_clocks()
        number = self._publisher.begin_cycle()
        try:
            return self._succeed(number, self._read())
        except EngineStalled as error:
            return self._stand_by(number, error)
        except (EngineError, BindingsError) as error:
            return self._fail(number, error)
        except Exception as error:  # noqa: BLE001
            # A bug must not leave the old page in place: it is an outage like any other.
            _log.exception("internal error in a cycle")
            return self._fail(number, error)

    def _read(self) -> CycleResult:
        session = self._session
        if session is None:
            session = self._open_session()
        elif session.configuration is not self._configuration or session.is_outdated():
            self._retired = session
            session = self._open_session()
        self._session = session
        return session.read(self._wall_clock())

    def _open_session(self) -> Session:
        configuration = self._configuration
        settings = configuration.settings
        if self._bindings is None:
            self._bindings = load_bindings(settings.dcgm_bindings)
        engine = self._connect(self._bindings)
        try:
            known = {gpu.id: gpu for gpu in self._known.gpus}
            session = open_session(engine, configuration, self._logs, known, self._clock)
        except Exception:
            engine.disconnect()
            raise
        self._logs.adjust(settings, self._known, session.topology)
        self._known = session.topology
        return session

    def _connect(self, bindings: Bindings) -> HostEngine:
        address = self._configuration.settings.engine
        try:
            engine = HostEngine.connect(bindings, address, _CONNECT_TIMEOUT, self._calls)
        except VersionSkew as error:
            self._follow_upgrade(bindings, error.versions)
            raise
        if engine.versions.engine:
            self._follow_upgrade(bindings, engine.versions)
        return engine

    def _follow_upgrade(self, bindings: Bindings, versions: Versions) -> None:
        """Load the DCGM that was installed meanwhile, once the engine is another one, too.

        Until then the loaded library is the one that fits.
        """
        if versions.client != versions.engine and bindings.were_replaced():
            _log.warning(
                "DCGM was upgraded (engine=%s, our library=%s): restarting to load its library",
                versions.engine or "unknown",
                versions.client,
            )
            self._begin_anew()

    def _succeed(self, number: int, result: CycleResult) -> float:
        session = self._session
        assert session is not None, "a result comes from a session"
        published = self._publisher.publish_result(
            number,
            result,
            session.engine.versions,
            health_of(result, session.topology),
            session.engine.bindings.simulated,
        )
        self._end_retired()
        if session is not self._told:
            self._told = session
            _log_session(session)
        if self._successes % _CYCLES_PER_TIDYING == 0:
            give_back_free_memory()
        self._successes += 1
        self._failures = 0
        interval = session.configuration.settings.collect_interval
        if not published:
            return 0.0
        if result.warming_up:
            return min(interval, WARM_UP_INTERVAL)
        return pause_after(interval, result.sample_age)

    def _end_retired(self) -> None:
        """Close the session before this one, if there is one."""
        if self._retired is not None and self._session is not None:
            self._retired.close()
            self._retired = None
            self._session.take_over()

    def _stand_by(self, number: int, error: EngineStalled) -> float:
        """Publish an outage and keep the session, whose values may come again any moment."""
        self._publisher.publish_outage(number, str(error))
        self._end_retired()
        return self._configuration.settings.collect_interval

    def _fail(self, number: int, error: Exception) -> float:
        reason = str(error) if isinstance(error, ExporterError) else f"internal error: {error!r}"
        self._publisher.publish_outage(number, reason, isinstance(error, NvmlNotLoaded))
        self._close_session()
        self._failures += 1
        if self._failures == 1:
            # An engine that has been restarted accepts a new connection at once.
            return 0.0
        longest = min(_LONGEST_RETRY, self._configuration.settings.collect_interval / 2)
        pause: float = min(longest, _FIRST_RETRY * 2 ** min(self._failures - 2, 10))
        return pause * random.uniform(1 - _JITTER, 1.0)

    def _close_session(self) -> None:
        for session in (self._retired, self._session):
            if session is not None:
                session.close()
        self._retired = self._session = None


def _log_session(session: Session) -> None:
    versions, topology = session.engine.versions, session.topology
    _log.info(
        "connected (engine=%s client=%s gpus=%d gpu_instances=%d switches=%d cpus=%d)",
        versions.engine,
        versions.client,
        len(topology.gpus),
        len(topology.gpu_instances),
        len(topology.switches),
        len(topology.cpus),
    )
    if session.engine.bindings.simulated:
        _log.warning("the bindings are the simulator's: every value is made up")
    for sentence in session.selection.missing:
        _log.warning("%s", sentence)
