"""Follow the data from the driver to its consumers, and say where it stops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from do_dcgm_exporter import __version__
from do_dcgm_exporter.config.addresses import is_loopback_url
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.view import View

_ENGINE = "DCGM engine"
_PROMETHEUS = "Prometheus"
# Prometheus itself drops a series after 5 minutes without a sample.
_SCRAPED_RECENTLY = 300.0


class Flow(Enum):
    """Whether data flows. The value is a sign that needs no colour."""

    FLOWS = "✓"
    BROKEN = "✗"
    UNUSED = "–"
    UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Station:
    """A station of the data path. ``joint`` says how data reaches or leaves it, or why not."""

    name: str
    version: str
    flow: Flow
    joint: str


def data_path(view: View) -> tuple[Station, ...]:
    """Return the stations in order. The last two both take data from the exporter."""
    return (_driver(view), _engine(view), _exporter(view), _scrapers(view), _forwarding(view))


def _driver(view: View) -> Station:
    result = view.status.result
    if result is None:
        return Station("Driver", "", Flow.UNKNOWN, "unknown without the engine")
    up = sum(result.gpus_up.values())
    if not up or up < len(result.gpus_up):
        wanted = len(result.gpus_up)
        joint = f"answers for {up} of {wanted} GPUs" if wanted else "no GPU to read"
        return Station("Driver", result.driver_version, Flow.BROKEN, joint)
    return Station(
        "Driver", result.driver_version, Flow.FLOWS, f"answers for {words.counted(up, 'GPU')}"
    )


def _engine(view: View) -> Station:
    status = view.status
    version = status.versions.engine
    if status.result is None:
        flow = Flow.UNKNOWN if view.page.health.is_starting else Flow.BROKEN
        return Station(_ENGINE, version, flow, view.page.health.reason)
    return Station(_ENGINE, version, Flow.FLOWS, f"answers at {view.settings.engine}")


def _exporter(view: View) -> Station:
    status = view.status
    if not status.last_success:
        return Station("Exporter", __version__, Flow.UNKNOWN, "has not read anything yet")
    read = f"read {words.ago(max(0.0, view.now - status.last_success))}"
    if status.result is None:
        # It waits for what is broken upstream.
        return Station("Exporter", __version__, Flow.UNUSED, f"last {read}")
    joint = f"{read} in {status.collect_seconds * 1000:.0f} ms"
    return Station("Exporter", __version__, Flow.FLOWS, joint)


def _scrapers(view: View) -> Station:
    """Describe the scrapers: by Prometheus if it has scraped, otherwise by the latest one."""
    if not view.scrapes:
        return Station(_PROMETHEUS, "", Flow.UNUSED, "not scraped since the start")
    newest = max(view.scrapes, key=view.scrapes.__getitem__)
    name = _PROMETHEUS if _PROMETHEUS in view.scrapes else newest
    since = max(0.0, view.now - view.scrapes[name])
    if since > _SCRAPED_RECENTLY:
        return Station(name, "", Flow.BROKEN, f"has not scraped for {words.duration(since)}")
    return Station(name, "", Flow.FLOWS, f"scraped {words.ago(since)}")


def _forwarding(view: View) -> Station:
    name, settings, forwarding = "DigitalOcean", view.settings, view.forwarding
    if not settings.forward:
        return Station(name, "", Flow.UNUSED, "forwarding is off")
    if view.page.simulated and not is_loopback_url(settings.forward_url):
        return Station(name, "", Flow.UNUSED, "simulated values stay on this machine")
    if forwarding.complaint:
        return Station(name, "", Flow.BROKEN, forwarding.complaint)
    if forwarding.last_success is None:
        return Station(name, "", Flow.UNKNOWN, "nothing has been sent yet")
    ago = words.ago(max(0.0, view.now - forwarding.last_success))
    return Station(name, "", Flow.FLOWS, f"sent {ago}")


def broken_ends(view: View) -> Iterator[str]:
    """Yield a sentence for each consumer that data does not reach."""
    forwarding = _forwarding(view)
    if forwarding.flow is Flow.BROKEN:
        yield forwarding.joint
    scrapers = _scrapers(view)
    if scrapers.flow is Flow.BROKEN:
        yield f"{scrapers.name} {scrapers.joint}"
