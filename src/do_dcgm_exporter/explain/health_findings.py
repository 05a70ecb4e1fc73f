"""Report what DCGM's own health checks found, if the counters ask for them."""

from __future__ import annotations

from collections.abc import Iterator

from do_dcgm_exporter.explain.diagnosis import Finding, Severity
from do_dcgm_exporter.explain.view import View


def health_findings(view: View) -> Iterator[Finding]:
    """Yield a finding per device and system that did not pass."""
    result = view.status.result
    for warning in result.health_warnings if result else ():
        how = "failed" if warning.is_failure else "passed with a warning"
        yield Finding(
            Severity.FAULT if warning.is_failure else Severity.WARNING,
            f"{how} DCGM's health check of {warning.system} ({warning.error})",
            (warning.entity,),
        )
