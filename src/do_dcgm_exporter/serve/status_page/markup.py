"""Make pieces of HTML. All text from elsewhere goes through ``text``."""

from __future__ import annotations

import time
from html import escape

from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.diagnosis import Severity
from do_dcgm_exporter.explain.figures import HOT

CLASSES = {Severity.GOOD: "good", Severity.WARNING: "warning", Severity.FAULT: "fault"}
_MEANINGS = {Severity.GOOD: "well", Severity.WARNING: "warning", Severity.FAULT: "fault"}

NOTHING = '<span class="quiet">–</span>'


def text(anything: object) -> str:
    """Escape text from elsewhere: an engine, a configuration, a client."""
    return escape(str(anything))


def sign(severity: Severity) -> str:
    """Return a sign whose shape, not only its colour, tells how bad it is."""
    kind, meaning = CLASSES[severity], _MEANINGS[severity]
    return f'<span class="sign {kind}" role="img" aria-label="{meaning}">{severity.sign}</span>'


def moment(unix_time: float, now: float) -> str:
    """Return a time and how long ago it was."""
    machine = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(unix_time))
    since = words.ago(max(0.0, now - unix_time))
    return f'<time datetime="{machine}">{words.utc(unix_time)} UTC</time>, {since}'


def heading(name: str) -> str:
    """Return a cell of a table's head."""
    return f'<th scope="col">{name}</th>'


def headings(*names: str) -> str:
    """Return the head of a table."""
    return f"<thead><tr>{''.join(map(heading, names))}</tr></thead>"


def metric(words: str, name: str | None) -> str:
    """Return ``words`` as a link to the family ``name``, which hovering and focus show.

    Browsers that know text fragments go to its line, others to the top of the page of metrics.
    """
    if not name:
        return words
    return f'<a class="metric" href="metrics#:~:text={text(name)}" title="{text(name)}">{words}</a>'


def bar(share: float, warns: bool = False) -> str:
    """Return a bar of ``share`` (0 to 1); it is decoration, the text beside it says the same."""
    width = round(100 * min(max(share, 0.0), 1.0))
    return (
        '<svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="track" width="100" height="1"/>'
        f'<rect class="{"warning" if warns else "fill"}" width="{width}" height="1"/></svg>'
    )


def measure(value: float | None, limit: float | None, unit: str, warns_from: float = 2.0) -> str:
    """Return a value against its limit as bar and text, ``41 / 89 °C``.

    From the share ``warns_from`` on it is marked.
    """
    if value is None:
        return NOTHING
    if not limit:
        return f"{value:.0f} {unit}"
    return f"{bar(value / limit, value / limit >= warns_from)}{value:.0f} / {limit:.0f} {unit}"


def temperature(value: float | None, limit: float | None) -> str:
    """Return a temperature in °C against the device's slowdown temperature."""
    return measure(value, limit, "°C", HOT)
