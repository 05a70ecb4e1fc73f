"""Everything the engine has ever answered: the truth with which pages are compared."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.simulation.clocks import Clocks

from dcgm_simulator.codes import is_sentinel
from dcgm_simulator.fields import FIRST_PROFILING_FIELD, LAST_PROFILING_FIELD, XID
from dcgm_simulator.machine import Entity
from dcgm_simulator.wire import COUNT, DOUBLE_RECORD, INT_RECORD, RECORD_SIZE

LIFE_SIGN = 57
PROFILING = range(FIRST_PROFILING_FIELD, LAST_PROFILING_FIELD + 1)
FIELD = struct.Struct("<H")
"""The field id of a record, at its offset 12."""

Key = tuple[int, int, int]
"""Entity kind, entity id, field id."""


class Given(NamedTuple):
    """A value in a reply: its text on a page, and when it was sampled (true time)."""

    timestamp: int
    text: str
    sampled_at: float


class XidReport(NamedTuple):
    """One XID in the history of one life of the engine."""

    life: int
    entity: Entity
    timestamp: int
    code: int


def places_in(body: bytes) -> range:
    """Where the records of a reply begin."""
    (count,) = COUNT.unpack_from(body)
    return range(COUNT.size, COUNT.size + count * RECORD_SIZE, RECORD_SIZE)


def records_in(body: bytes) -> Iterator[tuple[int, ...]]:
    """Yield version, kind, id, field, type, status, unused, timestamp, value of each record."""
    for offset in places_in(body):
        record = INT_RECORD.unpack_from(body, offset)
        if record[4] == ord("d"):
            record = DOUBLE_RECORD.unpack_from(body, offset)
        yield record


@dataclass
class Ledger:
    """Values and XIDs, by what they belong to."""

    clocks: Clocks
    newest: dict[Key, Given] = field(default_factory=dict)
    xids: dict[tuple[int, Entity, int], XidReport] = field(default_factory=dict)
    """All that were ever answered, by life, entity and timestamp."""
    certain: set[tuple[int, Entity, int]] = field(default_factory=set)
    """Those of ``xids`` that were part of a completed reading."""
    from_before: set[tuple[int, Entity, int]] = field(default_factory=set)
    """Those that the engine had before the exporter started."""

    def confirm(self) -> None:
        """A reading is complete: what was answered so far has been read."""
        self.certain.update(self.xids.keys() - self.from_before)

    @property
    def begun_before(self) -> set[tuple[int, int]]:
        """GPU and code of the XIDs from before the exporter's start."""
        told = self.from_before & self.xids.keys()
        return {(entity.id, self.xids[life, entity, t].code) for life, entity, t in told}

    def note_values(self, life: int, body: bytes, tampered: bool) -> None:
        """Take the reply to a latest-values call; of one ``tampered`` with, take times as said."""
        for _, kind, number, field_id, type_code, status, _, timestamp, value in records_in(body):
            if field_id == XID and status == 0:
                self.note_xid(life, Entity(kind, number), timestamp, value)
            if field_id == LIFE_SIGN and status == 0:
                self._note((kind, number, field_id), timestamp, 0, tampered)
            # Where profiling is blank, the page keeps an earlier value.
            is_value = math.isfinite(value) and not is_sentinel(value)
            counts = is_value or field_id not in PROFILING
            if status == 0 and type_code in b"itd" and counts:
                self._note((kind, number, field_id), timestamp, value, tampered)

    def note_history(self, life: int, body: bytes) -> None:
        """Take the reply to a values-since call, which has XIDs."""
        for _, kind, number, field_id, _, status, _, timestamp, value in records_in(body):
            if field_id == XID and status == 0:
                self.note_xid(life, Entity(kind, number), timestamp, value)

    def note_xid(self, life: int, entity: Entity, timestamp: int, code: int) -> None:
        """Take an XID; a blank is none."""
        if 0 < code < 0x7FFFFFF0:
            report = XidReport(life, entity, timestamp, code)
            self.xids.setdefault((life, entity, timestamp), report)

    def _note(self, key: Key, timestamp: int, value: float, tampered: bool) -> None:
        text = str(value)
        known = self.newest.get(key)
        if known is None or (known.timestamp, known.text) != (timestamp, text):
            now = self.clocks.true()
            said = min(now, now - self.clocks.wall() + timestamp / 1e6)
            sampled_at = said if tampered else self.clocks.true_time_of(timestamp)
            self.newest[key] = Given(timestamp, text, sampled_at)


def distinct(reports: Sequence[XidReport]) -> int:
    """How many XIDs ``reports`` of one entity and code stand for; some are reported twice."""
    count, last = 0, None
    for report in sorted(reports, key=lambda report: (report.life, report.timestamp)):
        twice = report.code in (79, 119, 120) and last is not None
        if not (twice and 0 <= report.timestamp - last <= 2_000_000):
            count, last = count + 1, report.timestamp
    return count
