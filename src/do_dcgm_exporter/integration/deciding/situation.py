"""Everything that check judges: what was seen, what it is, and what would be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.integration.deciding.exporter import Exporters
from do_dcgm_exporter.integration.deciding.plan import Decision
from do_dcgm_exporter.integration.deciding.records import Records
from do_dcgm_exporter.integration.looking.survey import Findings


@dataclass(frozen=True, slots=True)
class Situation:
    """A machine; ``decisions`` are by unit."""

    found: Findings
    exporters: Exporters = field(default_factory=Exporters)
    records: Records = field(default_factory=Records)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
