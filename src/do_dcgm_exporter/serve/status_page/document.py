"""Draw the whole document: first what is wrong, then everything else."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter as Tally
from functools import cache
from pathlib import Path

from do_dcgm_exporter import __version__
from do_dcgm_exporter.explain.data_path import Flow, Station, data_path
from do_dcgm_exporter.explain.diagnosis import Diagnosis
from do_dcgm_exporter.explain.findings import diagnosis_of
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.serve.status_page.device_table import DeviceTable
from do_dcgm_exporter.serve.status_page.event_tables import switch_table, xid_table
from do_dcgm_exporter.serve.status_page.figure_list import chart, figure_list, only_gpu
from do_dcgm_exporter.serve.status_page.markup import CLASSES, moment, sign, text
from do_dcgm_exporter.serve.status_page.sparkline import Sparklines, up_to_date
from do_dcgm_exporter.serve.status_page.user_table import user_table

_STYLE = Path(__file__).with_name("style.css")

_FLOW_CLASSES = {
    Flow.FLOWS: "good",
    Flow.BROKEN: "fault",
    Flow.UNUSED: "quiet",
    Flow.UNKNOWN: "quiet",
}
_FLOW_MEANINGS = {
    Flow.FLOWS: "data comes through",
    Flow.BROKEN: "data stops here",
    Flow.UNUSED: "not in use",
    Flow.UNKNOWN: "not known",
}


@cache
def style() -> str:
    """Return the style sheet, which is part of the document: nothing else is loaded."""
    return _STYLE.read_text(encoding="utf-8")


@cache
def content_security_policy() -> str:
    """Return the policy: nothing may be loaded or run but the style sheet of this hash."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'"
    )


def document(view: View, *, is_live: bool) -> str:
    """Return the page as HTML; ``is_live`` if it refreshes itself."""
    diagnosis = diagnosis_of(view)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{diagnosis.severity.sign} {text(diagnosis.first.text)} – {text(view.host)}</title>"
        f"<style>{style()}</style></head>\n<body>\n"
        f"{_header(view, diagnosis)}\n<main>\n{_sections(view, diagnosis)}\n</main>\n"
        f"{_footer(view, is_live)}\n</body></html>\n"
    )


def _sections(view: View, diagnosis: Diagnosis) -> str:
    """Return what people look for, in that order: GPUs, their users and errors, the pipeline."""
    sections = (
        figure_list(view),
        _gpus(view, diagnosis),
        _tables(view, diagnosis),
        _pipeline(view),
    )
    return "\n".join(filter(None, sections))


def _tables(view: View, diagnosis: Diagnosis) -> str:
    tables = (user_table(view), xid_table(view), switch_table(view, diagnosis))
    shown = "\n".join(filter(None, tables))
    return f'<div class="tables">{shown}</div>'


def _gpus(view: View, diagnosis: Diagnosis) -> str:
    """Return the GPUs: a table, or a chart of the only one, whose values are the figures."""
    if not view.machine.roster.gpus:
        return ""
    history = up_to_date(view.status.history, view.machine)
    lines = Sparklines(history, view.now, view.settings.collect_interval)
    only = only_gpu(view)
    return chart(view, only, lines) if only else DeviceTable(view, diagnosis, lines).html()


def _header(view: View, diagnosis: Diagnosis) -> str:
    others = "".join(
        f"<li>{sign(sentence.severity)} {text(sentence.text)}</li>" for sentence in diagnosis.others
    )
    return (
        f'<header class="{CLASSES[diagnosis.severity]}"><h1>{text(diagnosis.first.text)}</h1>'
        f"{f'<ul>{others}</ul>' if others else ''}<p>{_what_it_is(view)}</p></header>"
    )


def _what_it_is(view: View) -> str:
    """Return the host, its GPUs and when they were read."""
    models = Tally(gpu.model for gpu in view.topology.gpus)
    parts = [f"<b>{text(view.host)}</b>"]
    parts += [f"{count} × {text(model or 'GPU')}" for model, count in models.items()]
    if view.status.last_success:
        verb = "read" if view.status.result else "last read"
        parts.append(f"{verb} {moment(view.status.last_success, view.now)}")
    return " · ".join(parts)


def _pipeline(view: View) -> str:
    stations = "".join(_station(station) for station in data_path(view))
    return (
        '<section aria-labelledby="pipeline"><h2 id="pipeline">Metrics pipeline</h2>'
        f'<ol class="pipeline">{stations}</ol></section>'
    )


def _station(station: Station) -> str:
    version = f' <span class="quiet">{text(station.version)}</span>' if station.version else ""
    kind, meaning = _FLOW_CLASSES[station.flow], _FLOW_MEANINGS[station.flow]
    return (
        f'<li class="{kind}"><b>{text(station.name)}</b>{version}'
        f' <span class="{kind}" title="{meaning}">{station.flow.value} {text(station.joint)}</span>'
        "</li>"
    )


def _footer(view: View, is_live: bool) -> str:
    interval = f"{view.settings.collect_interval:g} s"
    refresh = (
        '<a href="paused">Stop refreshing</a>' if is_live else '<a href="./">Refresh again</a>'
    )
    client = view.status.versions.client
    versions = [f"do-dcgm-exporter {__version__}"]
    versions += [f"DCGM library {client}"] * bool(client)
    return (
        f"<footer><p>{text(', '.join(versions))}. Read every {interval}.</p><nav"
        ' aria-label="Pages"><ul><li><a href="metrics">Metrics</a></li>'
        f'<li><a href="health">Health</a></li><li>{refresh}</li></ul></nav></footer>'
    )
