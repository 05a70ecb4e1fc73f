"""Bad answers: partial, blank, old and garbled ones."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from tests.simulation.ledger import places_in

from dcgm_simulator.codes import FP64_BLANK, INT64_BLANK, Sentinel, Status
from dcgm_simulator.fields import XID
from dcgm_simulator.wire import DOUBLE_RECORD, INT_RECORD

# dcgm_structs.h: what single values and single calls have been seen to answer.
VALUE_STATUSES = (-1, -3, -6, -13, -14, -15, -16, -17, -18, -33, -57, -999)
CALL_STATUSES = (-1, -3, -6, -11, -14, -17, -21, -24, -31, -33, -56, -57, -999)

Change = Callable[[list[int | float], random.Random], None]
_FIELD, _TYPE, _STATUS, _TIMESTAMP, _VALUE = 3, 4, 5, 7, 8


def _status(record: list[int | float], generator: random.Random) -> None:
    statuses = [s for s in VALUE_STATUSES if record[_FIELD] != XID or s != Status.NO_DATA]
    record[_STATUS] = generator.choice(statuses)  # an engine with an XID does not deny it


def _empty_slot(record: list[int | float], _generator: random.Random) -> None:
    record[1:] = [0] * (len(record) - 1)


def _sentinel(record: list[int | float], generator: random.Random) -> None:
    blank = FP64_BLANK if record[_TYPE] == ord("d") else INT64_BLANK
    record[_VALUE] = blank + generator.choice(list(Sentinel))


def _no_number(record: list[int | float], generator: random.Random) -> None:
    record[_TYPE] = ord("d")
    record[_VALUE] = generator.choice((math.nan, math.inf, -math.inf, 5e17))


def _old(record: list[int | float], generator: random.Random) -> None:
    if record[_FIELD] != XID:  # an event's time is what it is
        record[_TIMESTAMP] -= generator.randrange(10**9)


def _unknown_type(record: list[int | float], generator: random.Random) -> None:
    record[_TYPE] = generator.choice((0, ord("b"), ord("?")))


CHANGES: dict[str, Change] = {
    "statuses": _status,
    "empty slots": _empty_slot,
    "sentinels": _sentinel,
    "no numbers": _no_number,
    "old timestamps": _old,
    "unknown types": _unknown_type,
}


def tamper(body: bytes, change: Change, share: float, generator: random.Random) -> bytes:
    """The reply ``body`` with a share of its records changed; texts stay as they are."""
    changed = bytearray(body)
    for offset in places_in(body):
        if generator.random() < share:
            record: list[int | float] = list(INT_RECORD.unpack_from(body, offset))
            if record[_TYPE] == ord("d"):
                record = list(DOUBLE_RECORD.unpack_from(body, offset))
            change(record, generator)
            layout = DOUBLE_RECORD if isinstance(record[_VALUE], float) else INT_RECORD
            layout.pack_into(changed, offset, *record)
    return bytes(changed)
