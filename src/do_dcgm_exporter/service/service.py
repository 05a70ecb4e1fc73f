"""Wire the rooms into a running service; handle signals, reload, stop.

The main thread only waits for signals. All other threads are daemons, so that the process can
end while one of them is blocked in a DCGM call.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from do_dcgm_exporter import __version__
from do_dcgm_exporter.config.counters import CounterSet, Verdict
from do_dcgm_exporter.config.environment import unknown_variables
from do_dcgm_exporter.config.settings import Configuration, Settings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.forward.forwarder import Forwarder
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publication import Health
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.serve.scrape_log import ScrapeLog
from do_dcgm_exporter.serve.server import MetricsServer
from do_dcgm_exporter.serve.status_page.route import StatusPage
from do_dcgm_exporter.service import sd_notify
from do_dcgm_exporter.service.agent import Agent
from do_dcgm_exporter.service.log_lines import set_up_logging
from do_dcgm_exporter.service.memory import share_one_heap
from do_dcgm_exporter.service.supervisor import Supervisor, page_lifetime

if TYPE_CHECKING:
    from do_dcgm_exporter.serve.access.watch import WebConfigWatch

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# systemd and people expect us to end within 2 s; the interpreter needs the rest.
_GOODBYE_SECONDS = 1.0

Load = Callable[[], Configuration]


def run(configuration: Configuration, load: Load) -> int:
    """Serve until SIGTERM or SIGINT; ``load`` reads the whole configuration again on SIGHUP.

    Raises CannotListen when the address cannot be listened on.
    """
    # Blocked before any thread starts, so that all threads leave signals to sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    set_up_logging(configuration.settings)
    for sentence in unknown_variables(os.environ):
        _log.warning("%s", sentence)
    share_one_heap()
    service = Service(configuration)
    service.start()
    while True:
        received = signal.sigwait(_SIGNALS)
        if received != signal.SIGHUP:
            break
        service.reload(load)
    _log.info("stopping (signal=%s)", signal.Signals(received).name)
    service.stop()
    return 0


class Service:
    """The threads of the process, and the order in which they start and stop."""

    def __init__(self, configuration: Configuration) -> None:
        settings = configuration.settings
        calls = CallCount()
        self._configuration = configuration
        self._statistics = ForwardStatistics()
        self._telemetry = Telemetry(calls, self._statistics)
        self._publisher = Publisher(
            self._telemetry, tell=_log_health, lifetime=page_lifetime(settings.collect_interval)
        )
        scrapes = ScrapeLog()
        publication = self._publisher.publication
        self._status_page = StatusPage(publication, settings, self._statistics, scrapes)
        self._web_config = _read_web_config(settings)
        self._server = MetricsServer(
            settings.address,
            publication,
            security=self._web_config.security if self._web_config else None,
            routes=self._status_page.routes(),
            scrapes=scrapes,
        )
        self._agent = Agent(configuration, self._publisher, calls)
        self._supervisor = Supervisor(
            self._publisher, self._server, self._agent, settings.collect_interval
        )
        self._forwarder: Forwarder | None = None

    def start(self) -> None:
        """Start; listening comes first, since systemd gets READY whatever DCGM does."""
        _log_judgements(self._configuration.counters)
        self._server.start()
        _log.info("do-dcgm-exporter %s listens on port %d", __version__, self._server.port)
        self._start_web_config()
        self._agent.start()
        self._supervisor.start()
        self._start_forwarder()
        sd_notify.notify(sd_notify.READY, sd_notify.status("serving"))

    def reload(self, load: Load) -> None:
        """Take a new configuration, or keep the old one if the new one is wrong."""
        sd_notify.notify(sd_notify.reloading())
        refusal = self._take(load)
        self._telemetry.last_reload_successful = not refusal
        self._publisher.refresh()
        # Logged last, so that the page already agrees.
        if refusal:
            _log.error("the new configuration is refused, the old one stays in force: %s", refusal)
        else:
            counters = len(self._configuration.counters.counters)
            _log.info("configuration reloaded (counters=%d)", counters)
        sd_notify.notify(sd_notify.READY)

    def _take(self, load: Load) -> str:
        """Take what ``load`` returns; return why it is refused, empty if it is not."""
        try:
            new = load()
            self._replace_web_config(_read_web_config(new.settings, self._web_config))
            self._reconfigure(new)
        except ExporterError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001
            # A bug in reading a configuration must not end a service that runs well.
            _log.exception("internal error while the configuration is read")
            return f"internal error: {error!r}"
        return ""

    def stop(self) -> None:
        """Stop everything; wait briefly for the agent and for nothing else."""
        sd_notify.notify(sd_notify.STOPPING)
        self._supervisor.stop()
        self._stop_web_config()
        self._stop_forwarder()
        self._agent.stop(_GOODBYE_SECONDS)
        self._server.stop()

    def _reconfigure(self, new: Configuration) -> None:
        old = self._configuration.settings
        settings = _with_what_needs_a_restart(new.settings, old)
        self._configuration = Configuration(settings, new.counters)
        set_up_logging(settings)
        _log_judgements(new.counters)
        self._supervisor.use_interval(settings.collect_interval)
        self._publisher.lifetime = page_lifetime(settings.collect_interval)
        self._status_page.settings = settings
        self._agent.reconfigure(self._configuration)
        if _forwarding(settings) != _forwarding(old):
            self._stop_forwarder()
            self._start_forwarder()

    def _replace_web_config(self, new: WebConfigWatch | None) -> None:
        self._stop_web_config()
        self._web_config = new
        self._server.secure(new.security if new else None)
        self._start_web_config()

    def _start_web_config(self) -> None:
        self._telemetry.web_config_complaint = ""
        if self._web_config is not None:
            security = self._web_config.security
            _log.info("web configuration: %s", security)
            for sentence in security.config.warnings:
                _log.warning("%s", sentence)
            if security.sends_passwords_in_the_clear:
                _log.warning("passwords are sent without TLS: anyone on the network can read them")
            self._web_config.start(self._server.secure, self._tell_web_config)

    def _stop_web_config(self) -> None:
        if self._web_config is not None:
            self._web_config.stop()

    def _tell_web_config(self, complaint: str) -> None:
        """Publish what is wrong with the web configuration; its watch's thread calls this."""
        self._telemetry.web_config_complaint = complaint and (
            f"the new web configuration is refused, the old one stays in force: {complaint}"
        )
        self._publisher.refresh()
        if complaint:
            _log.error("%s", self._telemetry.web_config_complaint)

    def _start_forwarder(self) -> None:
        settings = self._configuration.settings
        if settings.forward:
            self._forwarder = Forwarder(
                settings.forward_url,
                settings.forward_interval,
                settings.forward_timeout,
                self._publisher.publication,
                self._statistics,
                __version__,
            )
            self._forwarder.start()

    def _stop_forwarder(self) -> None:
        if self._forwarder is not None:
            self._forwarder.stop()
            self._forwarder = None


def _read_web_config(
    settings: Settings, before: WebConfigWatch | None = None
) -> WebConfigWatch | None:
    """Read the web configuration, if the settings name one; raises ConfigurationError."""
    if settings.web_config_file is None:
        return None
    # Only those who ask for TLS or passwords pay for them: 0.7 MB and 50 ms of CPU.
    from do_dcgm_exporter.serve.access.watch import WebConfigWatch

    return WebConfigWatch(settings.web_config_file, before)


def _forwarding(settings: Settings) -> tuple[object, ...]:
    return (
        settings.forward,
        settings.forward_url,
        settings.forward_interval,
        settings.forward_timeout,
    )


def _with_what_needs_a_restart(new: Settings, old: Settings) -> Settings:
    """Return ``new`` with the address and the bindings of ``old``; warn where they differ."""
    if new.address != old.address:
        _log.warning(
            "the address %s takes effect at the next restart; until then it stays %s",
            new.address,
            old.address,
        )
    if new.dcgm_bindings != old.dcgm_bindings:
        _log.warning(
            "the bindings %s take effect at the next restart; until then they stay %s",
            new.dcgm_bindings,
            old.dcgm_bindings,
        )
    return replace(new, address=old.address, dcgm_bindings=old.dcgm_bindings)


def _log_judgements(counters: CounterSet) -> None:
    for judgement in counters.judgements:
        if judgement.verdict is not Verdict.OK:
            _log.warning("%s", judgement)


def _log_health(health: Health) -> None:
    level = logging.INFO if health.healthy else logging.WARNING
    _log.log(level, "%s", health.reason or "collecting")
