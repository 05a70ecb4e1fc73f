"""Watching: whose watch it is, when it samples, what stays when it ends."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.waiting import wait_until

from do_dcgm_exporter.dcgm.health_errors import HealthError, health_errors

MODULE_NOT_LOADED, NOT_WATCHED, NO_DATA = -33, -16, -14
INT64_BLANK = 0x7FFFFFFFFFFFFFF0
GRAPHICS_ACTIVE = 1001

XID = 230


def test_values_refresh_by_themselves(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [150], interval=0.05)
    first = target.one(handle, 150).ts
    assert target.one_newer(handle, 150, first).status == 0


def test_the_last_watch_of_a_connection_replaces_its_interval(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [150], interval=0.05)
    target.watch(handle, [(1, 0)], [150, 155], interval=30)
    target.watch(handle, [(1, 0)], [140], interval=0.05)
    target.let_sampling_go_on(handle, 140)  # what was due before has been read by now
    first = target.one(handle, 150).ts
    target.let_sampling_go_on(handle, 140)
    assert target.one(handle, 150).ts == first


def test_unwatching_a_field_of_the_host_on_a_gpu_ends_all_else_and_says_not_watched(
    target: Any, handle: Any
) -> None:
    watch = target.watch(handle, [(1, 0)], [4, 150, 155], interval=0.05)
    with target.failing(NOT_WATCHED):
        target.agent.dcgmUnwatchFields(handle, *watch)
    stamps = [target.one(handle, field).ts for field in (150, 155)]
    target.let_sampling_go_on(handle, 4)
    assert stamps == [target.one(handle, field).ts for field in (150, 155)]


def test_any_unwatch_ends_the_watch_and_old_values_stay(target: Any, handle: Any) -> None:
    first = target.watch(handle, [(1, 0)], [150], interval=0.05)
    target.watch(handle, [(1, 0)], [150, 155], interval=0.05)
    target.agent.dcgmUnwatchFields(handle, *first)
    frozen = target.one(handle, 150)
    assert frozen.status == 0
    target.let_sampling_go_on(handle, 155)
    assert target.one(handle, 150).ts == frozen.ts


def test_destroying_groups_ends_no_watch(target: Any, handle: Any) -> None:
    group, field_group = target.watch(handle, [(1, 0)], [150], interval=0.05)
    target.agent.dcgmFieldGroupDestroy(handle, field_group)
    target.agent.dcgmGroupDestroy(handle, group)
    before = target.one(handle, 150).ts
    assert target.one_newer(handle, 150, before).status == 0


def test_values_stay_when_the_connection_that_watched_is_gone(target: Any) -> None:
    first, second = target.connect(), target.connect()
    target.watch(first, [(1, 1)], [151], interval=0.05)
    target.watch(second, [(1, 1)], [150], interval=0.05)
    target.agent.dcgmDisconnect(first)
    target.let_sampling_go_on(second, 150, (1, 1))  # the engine has noticed by now
    value = target.one(second, 151, (1, 1))
    assert value.status == 0
    target.let_sampling_go_on(second, 150, (1, 1))
    assert target.one(second, 151, (1, 1)).ts == value.ts


def test_one_connection_sees_what_another_watches(target: Any) -> None:
    first, second = target.connect(), target.connect()
    target.watch(first, [(1, 2)], [150])
    assert target.one(second, 150, (1, 2)).status == 0


def spacing(samples: list[Any]) -> float:
    """Seconds between the last two samples."""
    before, last = (stamp for _, _, stamp, _ in samples[-2:])
    return (last - before) / 1e6


def test_the_shorter_of_two_clients_intervals_holds_for_both_until_it_ends(target: Any) -> None:
    slow, quick = target.connect(), target.connect()
    groups = target.watch(slow, [(1, 1)], [150], interval=1.0)
    target.wait_for_samples(slow, groups, 2)
    target.watch(quick, [(1, 1)], [150], interval=0.1)

    def newest_spacing() -> float:
        return spacing(target.since(slow, *groups, 0)[1])

    wait_until(lambda: newest_spacing() < 0.6, "samples at the shorter interval")
    target.agent.dcgmDisconnect(quick)
    wait_until(lambda: newest_spacing() > 0.9, "samples at the interval that is left")


def test_updating_all_fields_samples_nothing_early(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [150], interval=30)
    before = target.one(handle, 150).ts
    target.agent.dcgmUpdateAllFields(handle, 1)
    assert target.one(handle, 150).ts == before


@pytest.mark.scenario("a100-no-prof")
def test_without_the_profiling_module_watching_fails_yet_watches_the_rest(
    target: Any, handle: Any
) -> None:
    with target.failing(MODULE_NOT_LOADED):
        target.watch(handle, [(1, 0)], [150, GRAPHICS_ACTIVE])
    temperature, profiling = target.latest(handle, [(1, 0)], [150, GRAPHICS_ACTIVE])
    assert (temperature.status, profiling.status) == (0, NOT_WATCHED)


def test_inforom_fields_refresh_only_every_30_seconds(target: Any, handle: Any) -> None:
    target.watch(handle, [(1, 0)], [84, 150], interval=0.05)
    before = target.one(handle, 84).ts
    target.let_sampling_go_on(handle, 150)
    assert target.one(handle, 84).ts == before


def test_samples_since_a_time_include_that_time(target: Any, handle: Any) -> None:
    groups = target.watch(handle, [(1, 0)], [150], interval=0.05)
    stamps = [stamp for _, _, stamp, _ in target.wait_for_samples(handle, groups, 3)]
    assert stamps == sorted(stamps)
    _, later = target.since(handle, *groups, stamps[1])
    assert later[0][2] == stamps[1]


def test_chaining_the_time_returned_neither_loses_nor_repeats(target: Any, handle: Any) -> None:
    groups = target.watch(handle, [(1, 0)], [150], interval=0.05)
    chained, following = [], 0
    for _ in range(4):
        target.let_sampling_go_on(handle, 150)
        following, samples = target.since(handle, *groups, following)
        chained += [stamp for _, _, stamp, _ in samples]
    _, whole = target.since(handle, *groups, 0)
    assert chained == [stamp for _, _, stamp, _ in whole if stamp < following]


def test_a_history_without_samples_is_one_value_that_says_so(target: Any, handle: Any) -> None:
    group, field_group = target.watch(handle, [(1, 0), (1, 1)], [150])
    seen: list[tuple[int, int, int, int]] = []

    def note(_group: int, entity: int, values: Any, count: int, _data: Any) -> int:
        seen.extend((entity, v.status, v.ts, v.value.i64) for v in values[0:count])
        return 0

    callback = target.agent.dcgmFieldValueEntityEnumeration_f(note)
    in_an_hour = time.time_ns() // 1000 + 3_600_000_000
    target.agent.dcgmGetValuesSince_v2(handle, group, field_group, in_an_hour, callback, None)
    assert seen == [(entity, NO_DATA, 0, INT64_BLANK) for entity in (0, 1)]


def test_callback_that_wants_no_more_ends_the_call(target: Any, handle: Any) -> None:
    group, field_group = target.watch(handle, target.gpus(handle), [150, 155])
    seen: list[int] = []

    def once(_group: int, entity: int, _values: Any, _count: int, _data: Any) -> int:
        seen.append(entity)
        return 1

    callback = target.agent.dcgmFieldValueEntityEnumeration_f(once)
    target.agent.dcgmGetValuesSince_v2(handle, group, field_group, 0, callback, None)
    assert len(seen) == 1


def test_old_samples_go_when_newer_ones_arrive(target: Any, handle: Any) -> None:
    groups = target.watch(handle, [(1, 0)], [150], interval=0.1, keep=(1.0, 0))
    oldest = target.wait_for_samples(handle, groups, 1)[0][2]
    wait_until(lambda: target.since(handle, *groups, 0)[1][0][2] > oldest, "the oldest is gone")
    _, samples = target.since(handle, *groups, 0)
    assert samples[-1][2] - samples[0][2] <= 1_200_000


def test_a_health_watch_that_a_release_does_not_know_is_not_refused(
    target: Any, handle: Any
) -> None:
    group, unknown = target.group(handle, target.gpus(handle)), 1 << 20
    target.agent.dcgmHealthSet_v2(handle, group, unknown, 1_000_000, 600.0)
    assert target.agent.dcgmHealthGet(handle, group) == unknown
    assert target.agent.dcgmHealthCheck(handle, group).overallHealth == 0


def test_an_error_of_a_health_check_has_a_severity(target: Any) -> None:
    known = health_errors(target.bindings.errors)
    assert known[4] == HealthError("DCGM_FR_VOLATILE_DBE_DETECTED", "ISOLATE", "HARDWARE_MEMORY")


def test_health_of_a_sound_machine_has_no_incidents(target: Any, handle: Any) -> None:
    group = target.group(handle, target.gpus(handle))
    target.agent.dcgmHealthSet(handle, group, target.structs.DCGM_HEALTH_WATCH_ALL)
    response = target.agent.dcgmHealthCheck(handle, group)
    version = 4 if target.version < (4,) else 5
    assert response.version == getattr(target.structs, f"dcgmHealthResponse_version{version}")
    assert response.incidentCount == 0


def test_injected_incident_is_reported_for_its_gpu(target: Any, faults: Any) -> None:
    handle = target.connect()
    group = target.group(handle, target.gpus(handle))
    target.agent.dcgmHealthSet_v2(handle, group, 0xFFFFFFFF, 1_000_000, 600.0)
    faults.control("health", "--entity", "gpu:1", "--system", "16", "--message", "DBE", "fail")
    response = target.agent.dcgmHealthCheck(handle, group)
    incident = response.incidents[0]
    assert (response.overallHealth, response.incidentCount) == (20, 1)
    assert (incident.system, incident.health, incident.error.msg) == (16, 20, "DBE")
    assert (incident.entityInfo.entityGroupId, incident.entityInfo.entityId) == (1, 1)


def test_a_history_without_samples_says_so(target: Any, handle: Any) -> None:
    """Not by an error: so an entity without XIDs can be read, and the log stays silent."""
    groups = target.watch(handle, [(1, 0)], [XID], keep=(600.0, 0))
    found = []

    def collect(_group: int, entity: int, values: Any, count: int, _: Any) -> int:
        found.extend((entity, value.fieldId, value.status, value.ts) for value in values[:count])
        return 0

    callback = target.agent.dcgmFieldValueEntityEnumeration_f(collect)
    now = round(time.time() * 1e6)
    target.agent.dcgmGetValuesSince_v2(handle, *groups, now, callback, None)
    assert [(0, XID, target.structs.DCGM_ST_NO_DATA, 0)] == found
