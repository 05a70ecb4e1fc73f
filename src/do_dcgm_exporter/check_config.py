"""``--check-config``: the verdict for every line of the counters files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from do_dcgm_exporter.counters import CounterSet, Judgement, Verdict
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.settings import Settings

# People paste NVIDIA's whole CSV: what a machine or this exporter cannot give is no mistake.
_MISTAKES = (Verdict.UNKNOWN, Verdict.MALFORMED)


def check_config(settings: Settings, counter_set: CounterSet) -> tuple[str, int]:
    """Return the report and the exit status, 2 if a line is a mistake.

    The engine is asked, if there is one, what its GPUs do not support.
    """
    # Only this mode of the program needs it.
    from do_dcgm_exporter.engine_check import unsupported_fields

    web_config = _web_config(settings.web_config_file)
    reasons: Mapping[str, str] = {}
    unchecked = ""
    try:
        reasons = unsupported_fields(settings, counter_set.counters)
    except ExporterError as error:
        unchecked = f"not checked against a GPU: {error}"
    judged = tuple(_with_engine(judgement, reasons) for judgement in counter_set.judgements)
    tally = CounterSet(judgements=judged).tally()
    lines = [str(judgement) for judgement in judged]
    lines.append(_summary({verdict.value: tally[verdict] for verdict in Verdict}))
    if unchecked:
        lines.append(unchecked)
    lines += web_config
    return "\n".join(lines) + "\n", 2 if any(tally[mistake] for mistake in _MISTAKES) else 0


def _web_config(path: Path | None) -> list[str]:
    """Say what the web configuration amounts to; raises ConfigurationError if it is wrong."""
    if path is None:
        return []
    # As in service.py, for whoever asks for it.
    from do_dcgm_exporter.watched_files import WatchedFiles
    from do_dcgm_exporter.web_security import load_web_security

    return [f"{path}: {load_web_security(path, WatchedFiles())}"]


def _with_engine(judgement: Judgement, reasons: Mapping[str, str]) -> Judgement:
    if judgement.verdict is not Verdict.OK or judgement.name not in reasons:
        return judgement
    return replace(judgement, verdict=Verdict.UNSUPPORTED, message=reasons[judgement.name])


def _summary(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    parts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{total} line{'' if total == 1 else 's'}: {parts or 'no counters at all'}"
