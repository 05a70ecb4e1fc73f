"""Any bytes in the answers of an engine at work: a valid page of nothing but what it gave."""

from __future__ import annotations

from collections import defaultdict
from unittest.mock import patch

from tests.builders import configuration, simulated_bindings
from tests.fuzz.pages import parsed

from dcgm_simulator.client import Address
from dcgm_simulator.host import Host
from dcgm_simulator.wire import (
    COUNT,
    DOUBLE_RECORD,
    INT_RECORD,
    RECORD_SIZE,
    TEXT_HEAD,
    Function,
    split_texts,
)
from do_dcgm_exporter.collect.event_logs import EventLogs
from do_dcgm_exporter.collect.opening import open_session
from do_dcgm_exporter.collect.sample_text import number_text
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.fields import field_by_name
from do_dcgm_exporter.errors import ExporterError

_NOW = 1_800_000_000
_VERSIONS = ("3.3.9", "4.2.3", "4.6.0")

_CONFIGURATION = configuration(
    "DCGM_FI_DRIVER_VERSION, label, x",
    "DCGM_FI_DEV_SERIAL, label, x",
    "DCGM_FI_DEV_GPU_TEMP, gauge, x",
    "DCGM_FI_DEV_POWER_USAGE, gauge, x",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter, x",
    "DCGM_FI_DEV_XID_ERRORS, gauge, x",
    "DCGM_EXP_XID_ERRORS_TOTAL, counter, x",
    "DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS, gauge, x",
    "DCGM_EXP_CLOCK_EVENTS_TOTAL, counter, x",
    "DCGM_EXP_CLOCK_EVENTS_COUNT, gauge, x",
    "DCGM_FI_PROF_SM_ACTIVE, gauge, x",
    show_hostname=False,
)


class _Answers:
    """Makes an engine's replies out of bytes, and keeps the numbers that it gave by field."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self.given: defaultdict[int, set[str]] = defaultdict(set)

    def take(self, size: int) -> bytes:
        """The next bytes, with zeros behind the last."""
        part = self._data[self._place : self._place + size]
        self._place += size
        return part + bytes(size - len(part))

    def changed(self, body: bytes) -> bytes:
        """A reply with some of its records, and all of its texts, made of the bytes."""
        (count,) = COUNT.unpack_from(body)
        records = bytearray(body[: COUNT.size + count * RECORD_SIZE])
        for place in range(COUNT.size, len(records), RECORD_SIZE):
            if self.take(1) > b"\x7f":
                size = RECORD_SIZE - 14
                records[place + 14 : place + RECORD_SIZE] = self.take(size)
            self._note(records, place)
        texts = bytearray()
        for index, _ in split_texts(memoryview(body), count):
            text = self.take(self.take(1)[0])
            texts += TEXT_HEAD.pack(index, len(text)) + text
        return bytes(records + texts)

    def _note(self, records: bytearray, place: int) -> None:
        *_, integer = INT_RECORD.unpack_from(records, place)
        *_, double = DOUBLE_RECORD.unpack_from(records, place)
        field_id = INT_RECORD.unpack_from(records, place)[3]
        self.given[field_id] |= {str(integer), number_text(double)}


class _Wire:
    """A connection of the simulated library whose engine answers as it is told."""

    def __init__(self, host: Host, answers: _Answers) -> None:
        self._host, self._answers = host, answers

    def greet(self, version: str) -> None:
        self._host.connect(1, version)

    def call(self, function: Function, body: bytes, *, forever: bool = False) -> bytes:
        answer = self._host.call(1, function, body)
        if function is Function.LATEST_VALUES:
            return self._answers.changed(answer)
        if function is Function.VALUES_SINCE:
            return answer[:8] + self._answers.changed(answer[8:])
        return answer

    def close(self) -> None:
        self._host.disconnect(1)


def fuzz(data: bytes) -> None:
    """Raise unless two cycles on such an engine give valid pages without a made-up number."""
    answers = _Answers(data)
    version = _VERSIONS[answers.take(1)[0] % len(_VERSIONS)]
    microseconds = _NOW * 1_000_000
    host = Host("h100x1", version, clock=lambda: microseconds)
    bindings = simulated_bindings(version)
    library = bindings.structs._LIBRARY

    def dial(_address: Address, _timeout: float) -> _Wire:
        return _Wire(host, answers)

    # Others in this process use the same bindings afterwards.
    with patch.object(library, "dial", dial):
        engine = HostEngine.connect(bindings, EngineAddress(), 1.0, CallCount())
    try:
        logs = EventLogs.starting_now(_CONFIGURATION.settings, lambda: _NOW)
        session = open_session(engine, _CONFIGURATION, logs, {})
        for _ in range(2):
            host.pass_time(1.0)
            result = session.read(host.clock() / 1e6)
            assert all(outcome.succeeded for outcome in result.outcomes), result.outcomes
            page = parsed(result.snapshot.families)
            for name in page.families:
                field = None if name.startswith("DCGM_EXP_") else field_by_name(name)
                if field is not None and field.id != 230:
                    given = set(map(float, answers.given[field.id]))
                    shown = {float(sample.value) for sample in page.samples(name)}
                    assert shown <= given, f"{name}: {shown}, given {given}"
    except ExporterError as error:
        assert "\n" not in str(error)
    finally:
        engine.disconnect()
