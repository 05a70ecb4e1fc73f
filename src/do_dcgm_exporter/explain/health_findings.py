"""Report what DCGM's own health checks found, if the counters ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from do_dcgm_exporter.config.counters import Special
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.explain.diagnosis import Finding, Severity
from do_dcgm_exporter.explain.view import View

_FAILURE = "20"  # dcgmHealthWatchResults_t
_PASS = "0"

_LABELS = re.compile(r'gpu="(\d+)".*,health_error_code="(\w*)",health_watch="(\w+)"')


def health_findings(view: View) -> Iterator[Finding]:
    """Yield a finding per GPU and system that did not pass. ALL only repeats the worst."""
    result = view.status.result
    families = result.snapshot.families if result else ()
    for family in families:
        if family.name == Special.GPU_HEALTH_STATUS.value:
            for sample in family.samples:
                labels = _LABELS.match(sample.labels)
                if sample.value != _PASS and labels and labels[3] != "ALL":
                    yield _finding(sample.value, *labels.groups())


def _finding(value: str, gpu: str, code: str, system: str) -> Finding:
    failed = value == _FAILURE
    how = "failed" if failed else "passed with a warning"
    predicate = f"{how} DCGM's health check of {system} ({code})"
    device = Entity(EntityKind.GPU, int(gpu))
    return Finding(Severity.FAULT if failed else Severity.WARNING, predicate, (device,))
