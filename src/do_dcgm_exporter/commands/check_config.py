"""``--check-config``: the verdict for every line of the counters files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from do_dcgm_exporter.commands.progress import Tell
from do_dcgm_exporter.commands.terminal import Terminal, printable, table
from do_dcgm_exporter.config.addresses import DEFAULT_LISTEN_PORT
from do_dcgm_exporter.config.counters import CounterSet, Judgement, Verdict
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.errors import ConfigurationError, ExporterError

# People paste NVIDIA's whole CSV: what a machine or this exporter cannot give is no mistake.
_STYLES = {
    Verdict.OK: "green",
    Verdict.UNKNOWN: "red",
    Verdict.MALFORMED: "red",
    Verdict.UNSUPPORTED: "yellow",
    Verdict.DUPLICATE: "yellow",
}
_MISTAKES = (Verdict.UNKNOWN, Verdict.MALFORMED)


def check_config(
    settings: Settings,
    counter_set: CounterSet,
    terminal: Terminal | None = None,
    tell: Tell | None = None,
) -> tuple[str, int]:
    """Return the report and the exit status, 2 if a line is a mistake.

    Raises ConfigurationError for what a service cannot be run with, though a test can. The
    engine is asked, if there is one, what its GPUs do not support. The report is made
    for the person at ``terminal``, else a line per line for a program.
    """
    # Only this mode of the program needs it.
    from do_dcgm_exporter.commands.engine_check import unsupported_fields

    if settings.address.port == 0:
        raise ConfigurationError(
            f"address: {settings.address} is another port at each start, which Prometheus cannot"
            f" be told; write for example :{DEFAULT_LISTEN_PORT}"
        )
    web_config = _web_config(settings.web_config_file)
    reasons: Mapping[str, str] = {}
    unchecked = ""
    try:
        reasons = unsupported_fields(settings, counter_set.counters, tell)
    except ExporterError as error:
        unchecked = f"not checked against a GPU: {error}"
    judged = tuple(_with_engine(judgement, reasons) for judgement in counter_set.judgements)
    tally = CounterSet(judgements=judged).tally()
    summary = _summary({verdict.value: tally[verdict] for verdict in Verdict})
    has_mistakes = any(tally[mistake] for mistake in _MISTAKES)
    conclusion = [summary, *[unchecked] * bool(unchecked), *web_config]
    if terminal is None:
        lines = [*map(str, judged), *conclusion]
        report = "\n".join(lines) + "\n"
    else:
        style = "red" if has_mistakes else "green"
        report = _tables(terminal, judged) + "".join(
            f"{terminal.styled(line, style)}\n" for line in conclusion
        )
    return report, 2 if has_mistakes else 0


def _tables(terminal: Terminal, judged: Sequence[Judgement]) -> str:
    """A table per file: the verdict, where, what, why."""
    texts = []
    for path, judgements in groupby(judged, key=lambda judgement: judgement.path):
        rows = [
            (
                (judgement.verdict.value, _STYLES[judgement.verdict]),
                (str(judgement.line), "dim"),
                (printable(judgement.name[:60]), ""),
                (judgement.message, "dim" if judgement.verdict is Verdict.OK else ""),
            )
            for judgement in judgements
        ]
        texts.append(f"{terminal.styled(str(path), 'bold')}\n{table(terminal, rows)}\n")
    return "".join(texts)


def _web_config(path: Path | None) -> list[str]:
    """Say what the web configuration amounts to; raises ConfigurationError if it is wrong."""
    if path is None:
        return []
    # As in service.py, for whoever asks for it.
    from do_dcgm_exporter.serve.access.security import load_web_security
    from do_dcgm_exporter.serve.access.watched_files import WatchedFiles

    return [f"{path}: {load_web_security(path, WatchedFiles())}"]


def _with_engine(judgement: Judgement, reasons: Mapping[str, str]) -> Judgement:
    if judgement.verdict is not Verdict.OK or judgement.name not in reasons:
        return judgement
    return replace(judgement, verdict=Verdict.UNSUPPORTED, message=reasons[judgement.name])


def _summary(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{total} line{'' if total == 1 else 's'}: {parts or 'no counters at all'}"
