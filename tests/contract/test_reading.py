"""Reading: limits of a call, statuses and blanks of a value."""

from __future__ import annotations

import ctypes
import time
from typing import Any

import pytest

GENERIC, BADPARAM = -3, -1
NOT_WATCHED, UNKNOWN_FIELD, NO_DATA = -16, -13, -14
INT64_BLANK = 0x7FFFFFFFFFFFFFF0
FP64_BLANK = 140737488355328.0
NVSWITCH_TEMPERATURE, FAN_SPEED, XID = 858, 191, 230


def entity_limit(target: Any) -> int:
    return 64 if target.version < (4,) else 1024


def test_a_value_that_nobody_watches_is_not_watched(target: Any, handle: Any) -> None:
    value = target.one(handle, 393)
    assert (value.status, value.ts) == (NOT_WATCHED, 0)


def test_an_unknown_entity_is_not_watched_either(target: Any, handle: Any) -> None:
    assert target.one(handle, 150, (1, 30)).status == NOT_WATCHED


def test_a_value_with_a_status_is_zero_before_4_5_and_blank_since(target: Any, handle: Any) -> None:
    value = target.one(handle, 393)
    assert value.value.i64 == (INT64_BLANK if target.version >= (4, 5) else 0)


def test_values_exist_when_watching_returns(target: Any, handle: Any) -> None:
    before = time.time_ns() // 1000
    target.watch(handle, [(1, 0)], [150, 155, 54])
    temperature, power, uuid = target.latest(handle, [(1, 0)], [150, 155, 54])
    assert [value.status for value in (temperature, power, uuid)] == [0, 0, 0]
    assert [chr(value.fieldType) for value in (temperature, power, uuid)] == ["i", "d", "s"]
    assert 0 < temperature.value.i64 < 120
    assert 0.0 < power.value.dbl < 1500.0
    assert uuid.value.str.startswith("GPU-")
    assert abs(temperature.ts - before) < 5_000_000


def test_reply_is_complete_and_names_entity_and_field(target: Any, handle: Any) -> None:
    gpus, fields = target.gpus(handle), [150, 155, 252]
    target.watch(handle, gpus, fields)
    values = target.latest(handle, gpus, fields)
    found = {(value.entityGroupId, value.entityId, value.fieldId) for value in values}
    assert found == {(*gpu, field) for gpu in gpus for field in fields}


def test_the_library_fills_the_caller_s_memory_as_the_bindings_do(target: Any, handle: Any) -> None:
    gpus, fields = target.gpus(handle), [150, 155, 54, 393]
    target.watch(handle, gpus, fields[:3], interval=60.0)
    pairs = (target.structs.c_dcgmGroupEntityPair_t * len(gpus))(*gpus)
    wanted = target.latest(handle, gpus, fields)
    # Room for one value more, which stays as it is.
    values = (target.structs.c_dcgmFieldValue_v2 * (len(wanted) + 1))()
    ctypes.memset(values, 0x55, ctypes.sizeof(values))
    read = target.structs._dcgmGetFunctionPointer("dcgmEntitiesGetLatestValues")
    ids = (ctypes.c_uint16 * len(fields))(*fields)
    assert 0 == read(handle, pairs, len(gpus), ids, len(fields), 0, values)
    assert [told(value) for value in wanted] == [told(value) for value in values[:-1]]
    assert bytes(values[-1]) == b"\x55" * ctypes.sizeof(values[-1])


def told(value: Any) -> tuple[Any, ...]:
    """What a value says, by what its type makes of the union."""
    kind = chr(value.fieldType)
    content = {"i": value.value.i64, "d": value.value.dbl}.get(kind)
    if kind == "s" and value.status == 0:
        content = value.value.str
    entity = (value.entityGroupId, value.entityId)
    return (value.version, *entity, value.fieldId, kind, value.status, value.ts, content)


def test_one_entity_can_be_read_by_itself(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [54, 150])
    uuid, temperature = target.agent.dcgmEntityGetLatestValues(handle, 1, 0, [54, 150])
    assert (uuid.fieldId, uuid.status) == (54, 0)
    assert uuid.value.str == target.one(handle, 54).value.str
    assert temperature.version == target.structs.dcgmFieldValue_version1


def test_call_takes_as_many_entities_as_a_group(target: Any, handle: Any) -> None:
    limit = entity_limit(target)
    many = [(1, number % 1000) for number in range(limit)]
    assert len(target.latest(handle, many, [150])) == limit
    with target.failing(BADPARAM):
        target.latest(handle, [*many, (1, 0)], [150])


def test_call_takes_128_fields(target: Any, handle: Any) -> None:
    assert len(target.latest(handle, [(1, 0)], [150] * 128)) == 128
    with target.failing(BADPARAM):
        target.latest(handle, [(1, 0)], [150] * 129)


@pytest.mark.parametrize(("entities", "fields"), [([], [150]), ([(1, 0)], [])])
def test_call_for_nothing_is_a_bad_parameter(
    target: Any, handle: Any, entities: list[Any], fields: list[int]
) -> None:
    with target.failing(BADPARAM):
        target.latest(handle, entities, fields)


def test_unknown_field_spoils_the_call_since_4_5_and_only_itself_before(
    target: Any, handle: Any
) -> None:
    target.watch(handle, [(1, 0)], [150])
    if target.version >= (4, 5):
        with target.failing(GENERIC):
            target.latest(handle, [(1, 0)], [150, 4999])
        return
    known, unknown = target.latest(handle, [(1, 0)], [150, 4999])
    assert (known.status, unknown.status) == (0, UNKNOWN_FIELD)


def test_empty_string_spoils_the_call_on_3_and_is_a_value_since(target: Any, faults: Any) -> None:
    handle = target.connect()
    faults.control("set", "--entity", "gpu:0", "54", "empty")
    target.watch(handle, [(1, 0)], [54, 150])
    if target.version < (4,):
        with target.failing(GENERIC):
            target.latest(handle, [(1, 0)], [150, 54])
        assert target.one(handle, 150).status == 0
    else:
        assert target.one(handle, 54).value.str == ""


@pytest.mark.scenario("h100x8")
def test_what_the_hardware_lacks_is_a_sentinel_with_status_0(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [FAN_SPEED])
    value = target.one(handle, FAN_SPEED)
    assert (value.status, value.value.i64) == (0, INT64_BLANK + 2)
    assert value.ts > 0


def test_before_any_xid_there_is_no_data(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [XID])
    value = target.one(handle, XID)
    assert (value.status, value.ts) == (NO_DATA, 0)


def test_a_field_of_another_kind_of_entity_has_no_data(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [NVSWITCH_TEMPERATURE])
    value = target.one(handle, NVSWITCH_TEMPERATURE)
    assert (value.status, value.ts) == (NO_DATA, 0)


def test_global_fields_answer_for_entities_that_do_not_exist(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [1])
    real, invented = target.latest(handle, [(1, 0), (1, 29)], [1])
    assert (invented.status, invented.value.str) == (0, real.value.str)
    assert invented.entityId == 29


def test_mixed_kinds_of_entities_in_one_call_work(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [150])
    gpu, switch = target.latest(handle, [(1, 0), (3, 0)], [150])
    assert (gpu.status, switch.status) == (0, NOT_WATCHED)


def test_live_data_needs_no_watch(target: Any, handle: Any) -> None:
    value = target.latest(handle, [(1, 0)], [150], flags=1)[0]
    assert value.status == 0
    assert 0 < value.value.i64 < 120


def test_counters_never_fall(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [156])
    first = target.one(handle, 156)
    second = target.one_newer(handle, 156, first.ts)
    assert second.value.i64 >= first.value.i64


@pytest.mark.scenario("h100x8")
def test_framebuffer_adds_up(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [250, 251, 252, 253])
    values = [value.value.i64 for value in target.latest(handle, [(1, 0)], [250, 251, 252, 253])]
    assert values[0] == sum(values[1:])


SENTINELS = {
    "blank": (INT64_BLANK, FP64_BLANK, "<<<NULL>>>"),
    "not-found": (INT64_BLANK + 1, FP64_BLANK + 1, "<<<NOT_FOUND>>>"),
    "not-supported": (INT64_BLANK + 2, FP64_BLANK + 2, "<<<NOT_SUPPORTED>>>"),
    "no-permission": (INT64_BLANK + 3, FP64_BLANK + 3, "<<<NOT_PERM>>>"),
}


@pytest.mark.parametrize("name", SENTINELS)
def test_values_set_by_hand_show_with_the_next_sample(target: Any, faults: Any, name: str) -> None:
    handle = target.connect()
    for field in ("150", "155", "85"):
        faults.control("set", "--entity", "gpu:0", field, name)
    target.watch(handle, [(1, 0)], [150, 155, 85], interval=0.05)
    target.let_sampling_go_on(handle, 150)
    number, double, text = target.latest(handle, [(1, 0)], [150, 155, 85])
    assert (number.value.i64, double.value.dbl, text.value.str) == SENTINELS[name]
    assert number.status == 0


def test_a_status_set_by_hand_shows_at_once_until_it_is_unset(target: Any, faults: Any) -> None:
    handle = target.connect()
    target.watch(handle, [(1, 0)], [150])
    faults.control("set", "--entity", "gpu:0", "150", "status:-33")
    assert target.one(handle, 150).status == -33
    faults.control("set", "--entity", "gpu:0", "150", "unset")
    assert target.one(handle, 150).status == 0


def test_a_frozen_field_keeps_its_timestamp(target: Any, faults: Any) -> None:
    handle = target.connect()
    target.watch(handle, [(1, 0)], [150, 155], interval=0.05)
    faults.control("freeze", "150")
    before = target.one(handle, 150).ts
    target.let_sampling_go_on(handle, 155)
    frozen = target.one(handle, 150)
    assert (frozen.status, frozen.ts) == (0, before)
    faults.control("thaw", "150")
    assert target.one_newer(handle, 150, before).status == 0
