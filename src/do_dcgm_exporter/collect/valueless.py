"""Rarely read what has no value, because the engine logs an error each time.

A field can be watched on an entity that does not have it. Up to 4.3 the engine logs an error for
each latest value without data, and every release logs one for any other status. A value that has
had such a status for a while is therefore read only every few minutes; in between, its last
reading is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.plan import EVENT_FIELDS, LIFE_SIGN_FIELDS
from do_dcgm_exporter.dcgm.decoding import RawValue
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import ReturnCode
from do_dcgm_exporter.dcgm.versions import Release

# The first release that logs nothing for a latest value without data (tags v4.3.1, v4.4.1).
SILENT_SINCE = (4, 4)

# In seconds. The first samples of a watch may take a while.
_HOPELESS_AFTER = 30.0
_READ_AGAIN_AFTER = 300.0

# Events and losses must be noticed at once.
_ALWAYS_READ = {*EVENT_FIELDS, *LIFE_SIGN_FIELDS}

Key = tuple[Entity, int]


@dataclass(slots=True)
class Valueless:
    """What an engine of ``release`` has no value for, and since when by ``clock`` (seconds)."""

    release: Release
    clock: Callable[[], float]
    _since: dict[Key, float] = field(default_factory=dict)
    _last: dict[Key, tuple[float, RawValue]] = field(default_factory=dict)

    def left_alone(self) -> dict[Key, RawValue]:
        """Return what not to read now, each with its last reading."""
        now = self.clock()
        return {
            key: raw
            for key, (read_at, raw) in self._last.items()
            if now - self._since[key] >= _HOPELESS_AFTER and now - read_at < _READ_AGAIN_AFTER
        }

    @property
    def has_lost_watches(self) -> bool:
        """Whether the engine says that something we read is not watched.

        An instance destroyed and created again looks the same, but its watches are gone.
        """
        return any(raw.status == ReturnCode.NOT_WATCHED for _, raw in self._last.values())

    def note(self, raws: Iterable[RawValue]) -> None:
        """Remember which of the readings had no value."""
        now = self.clock()
        for raw in raws:
            key = raw.entity, raw.field_id
            if self._writes_a_line(raw):
                self._since.setdefault(key, now)
                self._last[key] = now, raw
            elif key in self._since:
                del self._since[key], self._last[key]

    def _writes_a_line(self, raw: RawValue) -> bool:
        if raw.status == ReturnCode.OK or raw.field_id in _ALWAYS_READ:
            return False
        return raw.status != ReturnCode.NO_DATA or self.release < SILENT_SINCE
