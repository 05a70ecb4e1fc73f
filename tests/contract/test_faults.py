"""What XIDs and broken GPUs look like."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.waiting import wait_until

XID = 230
INT64_BLANK = 0x7FFFFFFFFFFFFFF0
FP64_BLANK = 140737488355328.0
NAME, UUID, BUS_ID, NVLINK_TOTAL, GRAPHICS_ACTIVE = 50, 54, 57, 449, 1001
NOTICED_AFTER = 1.1  # seconds: since 4.5 engines look for lost GPUs once a second


def test_xid_keeps_its_timestamp(target: Any, faults: Any) -> None:
    handle = target.connect()
    target.watch(handle, [(1, 0)], [XID, 150], interval=0.05)
    faults.control("xid", "--gpu", "0", "31")
    first = target.one(handle, XID)
    target.let_sampling_go_on(handle, 150)
    second = target.one(handle, XID)
    assert (first.status, first.value.i64) == (0, 31)
    assert (second.value.i64, second.ts) == (31, first.ts)


def test_xid_is_recorded_though_nobody_watches_and_outlives_connections(
    target: Any, faults: Any
) -> None:
    faults.control("xid", "--gpu", "1", "13")
    handle = target.connect()
    target.watch(handle, [(1, 1)], [XID])
    assert target.one(handle, XID, (1, 1)).value.i64 == 13
    target.agent.dcgmDisconnect(handle)
    again = target.connect()
    groups = target.watch(again, [(1, 1)], [XID], keep=(600.0, 0))
    _, samples = target.since(again, *groups, 0)
    assert [value for *_, value in samples] == [13]


def test_xid_79_arrives_twice(target: Any, faults: Any) -> None:
    handle = target.connect()
    groups = target.watch(handle, [(1, 0)], [XID], keep=(600.0, 0))
    faults.control("xid", "--gpu", "0", "79")
    samples = target.wait_for_samples(handle, groups, 2)
    assert [value for *_, value in samples] == [79, 79]
    assert samples[1][2] - samples[0][2] == 750_000


def test_xids_are_handled_one_a_second(target: Any, faults: Any) -> None:
    handle = target.connect()
    groups = target.watch(handle, [(1, 0), (1, 1)], [XID], keep=(600.0, 0))
    faults.control("xid", "--gpu", "0", "31")
    faults.control("xid", "--gpu", "1", "43")
    samples = target.wait_for_samples(handle, groups, 2)
    assert [(place, value) for place, _, _, value in samples] == [((1, 0), 31), ((1, 1), 43)]
    assert samples[1][2] - samples[0][2] >= 900_000


def test_keeping_one_sample_keeps_only_the_newest_xid(target: Any, faults: Any) -> None:
    handle = target.connect()
    groups = target.watch(handle, [(1, 0)], [XID], keep=(0.0, 1))
    faults.control("xid", "--gpu", "0", "31")
    faults.control("xid", "--gpu", "0", "43")
    wait_until(lambda: target.one(handle, XID).value.i64 == 43, "the second XID")
    _, samples = target.since(handle, *groups, 0)
    assert [value for *_, value in samples] == [43]


@pytest.mark.scenario("h100x8-mig")
@pytest.mark.parametrize(
    ("option", "entity"),
    [("--gpu", (1, 0)), ("--gpu-instance", (4, 7)), ("--compute-instance", (5, 8))],
)
def test_under_mig_an_xid_belongs_to_gpu_or_instance(
    target: Any, faults: Any, option: str, entity: tuple[int, int]
) -> None:
    handle = target.connect()
    entities = [(1, 0), (1, 1), (4, 7), (5, 8)]
    target.watch(handle, entities, [XID])
    faults.control("xid", option, str(entity[1]), "43")
    values = {e: target.one(handle, XID, e) for e in entities}
    assert {e for e, value in values.items() if value.status == 0} == {entity}


def test_lost_gpu_turns_blank_with_fresh_timestamps(target: Any, faults: Any) -> None:
    handle = target.connect()
    fields = [NAME, UUID, BUS_ID, 150, 155]
    target.watch(handle, [(1, 2), (1, 3)], fields, interval=0.05)
    faults.control("lose-gpu", "2")
    lost = time.time_ns() // 1000
    time.sleep(0.15)
    *texts, temperature, power = target.latest(handle, [(1, 2)], fields)
    assert ["<<<NULL>>>"] * 3 == [text.value.str for text in texts]
    assert (temperature.status, temperature.value.i64) == (0, INT64_BLANK)
    assert power.value.dbl == FP64_BLANK
    assert temperature.ts > lost
    assert target.one(handle, 150, (1, 3)).value.i64 < 120
    assert 2 in target.agent.dcgmGetAllDevices(handle)


@pytest.mark.scenario("h100x8")
def test_nvlink_total_of_a_lost_gpu_freezes_and_turns_blank_once_it_is_noticed(
    target: Any, faults: Any
) -> None:
    handle = target.connect()
    target.watch(handle, [(1, 2)], [NVLINK_TOTAL], interval=0.05)
    time.sleep(0.1)
    faults.control("lose-gpu", "2")
    before = target.one(handle, NVLINK_TOTAL, (1, 2))
    time.sleep(0.2)
    after = target.one(handle, NVLINK_TOTAL, (1, 2))
    assert (after.status, after.ts, after.value.i64) == (0, before.ts, before.value.i64)
    assert after.value.i64 < INT64_BLANK
    if target.version >= (4, 5):
        time.sleep(NOTICED_AFTER)
        assert target.one(handle, NVLINK_TOTAL, (1, 2)).value.i64 == INT64_BLANK


@pytest.mark.scenario("h100x8")
def test_profiling_of_a_lost_gpu_freezes_on_4_2_and_turns_blank_elsewhere(
    target: Any, faults: Any
) -> None:
    handle = target.connect()
    target.watch(handle, [(1, 5)], [GRAPHICS_ACTIVE], interval=0.05)
    time.sleep(0.3)
    before = target.one(handle, GRAPHICS_ACTIVE, (1, 5))
    faults.control("lose-gpu", "5")
    time.sleep(0.2)
    after = target.one(handle, GRAPHICS_ACTIVE, (1, 5))
    if target.version[:2] == (4, 2):
        assert after.value.dbl <= 1.0
        assert after.ts - before.ts < 150_000
    else:
        assert after.value.dbl == FP64_BLANK
        assert after.ts > before.ts


def test_lost_gpu_passes_health_and_cannot_join_a_group_since_4_5(target: Any, faults: Any) -> None:
    handle = target.connect()
    group = target.group(handle, [(1, 2)])
    target.agent.dcgmHealthSet(handle, group, 0xFFFFFFFF)
    faults.control("lose-gpu", "2")
    time.sleep(NOTICED_AFTER)
    if target.version >= (4, 5):
        with target.failing(-18):
            target.group(handle, [(1, 2)])
    else:
        target.group(handle, [(1, 2)])
    assert target.agent.dcgmHealthCheck(handle, group).overallHealth == 0


def test_lost_gpu_is_listed_as_a_device_and_since_4_5_as_none_that_is_supported(
    target: Any, faults: Any
) -> None:
    handle = target.connect()
    faults.control("lose-gpu", "2")
    time.sleep(NOTICED_AFTER)
    others = [0, 1, 3, 4, 5, 6, 7]
    supported = others if target.version >= (4, 5) else list(range(8))
    assert target.agent.dcgmGetAllDevices(handle) == list(range(8))
    assert target.agent.dcgmGetEntityGroupEntities(handle, 1, 0) == list(range(8))
    assert target.agent.dcgmGetAllSupportedDevices(handle) == supported
    assert target.agent.dcgmGetEntityGroupEntities(handle, 1, 1) == supported
    identifiers = target.agent.dcgmGetDeviceAttributes(handle, 2).identifiers
    assert [identifiers.uuid, identifiers.pciBusId, identifiers.deviceName] == ["<<<NULL>>>"] * 3
    faults.control("restore-gpu", "2")
    assert target.agent.dcgmGetAllSupportedDevices(handle) == list(range(8))


def test_xid_of_a_lost_gpu_stays(target: Any, faults: Any) -> None:
    handle = target.connect()
    target.watch(handle, [(1, 2)], [XID], interval=0.05)
    faults.control("lose-gpu", "2")
    faults.control("xid", "--gpu", "2", "94")
    time.sleep(0.15)
    assert target.one(handle, XID, (1, 2)).value.i64 == 94


def test_restored_gpu_answers_again(target: Any, faults: Any) -> None:
    handle = target.connect()
    target.watch(handle, [(1, 2)], [150], interval=0.05)
    faults.control("lose-gpu", "2")
    time.sleep(0.1)
    assert target.one(handle, 150, (1, 2)).value.i64 == INT64_BLANK
    faults.control("restore-gpu", "2")
    time.sleep(0.1)
    assert target.one(handle, 150, (1, 2)).value.i64 < 120


def test_xid_119_blanks_every_gpu_until_the_engine_is_restarted(
    target: Any, own_engine: Any
) -> None:
    handle = target.connect(own_engine.address)
    target.watch(handle, [(1, 0)], [XID, 150, UUID], interval=0.05)
    own_engine.control("xid119")
    wait_until(lambda: target.one(handle, 150).value.i64 == INT64_BLANK, "the blank")
    xid, temperature, uuid = target.latest(handle, [(1, 0)], [XID, 150, UUID])
    assert (xid.status, xid.value.i64) == (0, INT64_BLANK)
    assert (temperature.status, temperature.value.i64) == (0, INT64_BLANK)
    assert uuid.value.str == "<<<NULL>>>"
    own_engine.restart()
    again = target.connect(own_engine.address)
    target.watch(again, [(1, 0)], [150])
    assert target.one(again, 150).value.i64 < 120
