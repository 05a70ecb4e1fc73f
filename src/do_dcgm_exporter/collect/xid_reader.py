"""Read field 230 without leaving a trace in the engine's log.

Up to 4.3 the engine logs an error for every latest value without data, and field 230 has none
before the first XID. Reading the history of a watch logs nothing, and tells every XID besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.valueless import SILENT_SINCE
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import RawValue
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused

# How long the engine is asked to keep XIDs, in seconds.
KEPT_FOR = 600


@dataclass(slots=True)
class XidReader:
    """Reads the history of ``watches`` where latest values would fill the engine's log.

    ``told`` is what the last reading found. The newest value of each entity stands until a newer
    one comes, as an event does.
    """

    engine: HostEngine
    watches: Sequence[Watch]
    told: Mapping[Entity, Sequence[RawValue]] = field(default_factory=dict)
    _newest: dict[Entity, RawValue] = field(default_factory=dict)
    _read_at: float | None = None

    @property
    def reads_history(self) -> bool:
        """Whether field 230 is not to be read as a latest value."""
        return self.engine.versions.engine_release < SILENT_SINCE

    def read(self, now: float) -> Sequence[RawValue]:
        """Return the newest value of each entity at ``now`` (Unix seconds).

        Empty where latest values serve. Raises EngineUnavailable.
        """
        self.told = {}
        if not self.reads_history:
            return ()
        told: dict[Entity, list[RawValue]] = {}
        for watch in self.watches:
            for raw in self._history(watch, now):
                told.setdefault(raw.entity, []).append(raw)
        self.told, self._read_at = told, now
        for entity, raws in told.items():
            newest = max(raws, key=lambda raw: raw.timestamp)
            if newest.timestamp or entity not in self._newest:
                self._newest[entity] = newest
        return tuple(self._newest.values())

    def _history(self, watch: Watch, now: float) -> Sequence[RawValue]:
        try:
            return self.engine.since(watch, self._since(now))
        except CallRefused:
            return ()

    def _since(self, now: float) -> int:
        """Return the time to ask from, in microseconds, so that setting the clock hides nothing.

        The XID log recognizes what it is told again.
        """
        if self._read_at is None:
            return 0
        return max(0, int((min(now, self._read_at) - KEPT_FOR) * 1e6))
