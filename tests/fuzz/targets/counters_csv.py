"""Any bytes as a counters file: a verdict for every line, and a page of what is taken."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.pages import parsed

from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.config.counters import CounterType, Verdict, parse_counters


def fuzz(data: bytes) -> None:
    """Raise unless ``data`` gets verdicts of one printable line and families that parse."""
    found = parse_counters(data, Path("counters.csv"))
    for judgement in found.judgements:
        assert str(judgement).isprintable(), judgement
        assert judgement.verdict in Verdict
    taken = sum(judgement.verdict is Verdict.OK for judgement in found.judgements)
    assert taken == len(found.counters)
    shown = [counter for counter in found.counters if counter.type is not CounterType.LABEL]
    page = parsed(
        [
            Family(counter.name, MetricType(counter.type.value), counter.help, (Sample("", "1"),))
            for counter in shown
        ]
    )
    assert list(page.families) == [counter.name for counter in shown]
