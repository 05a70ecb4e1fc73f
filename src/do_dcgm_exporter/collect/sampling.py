"""How often and for how long fields are sampled whose samples are summarised for each page."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from do_dcgm_exporter.dcgm.watcher import Retention

# A page is made an interval after the one before, or later if the engine was slow.
_INTERVALS_KEPT = 2


@dataclass(frozen=True, slots=True)
class Sampling:
    """Samples every ``interval`` seconds of ``field_ids``, for pages ``between_pages`` apart."""

    interval: float = 1.0
    between_pages: float = 1.0
    field_ids: frozenset[int] = frozenset()

    @property
    def retention(self) -> Retention:
        """Return for how long the engine has to keep samples; it counts whole seconds."""
        return Retention(float(math.ceil(_INTERVALS_KEPT * self.between_pages)) + 1.0, 0)

    def has(self, field_ids: Collection[int]) -> bool:
        """Return whether all of ``field_ids``, at least one, are sampled this often."""
        return bool(field_ids) and self.field_ids.issuperset(field_ids)
