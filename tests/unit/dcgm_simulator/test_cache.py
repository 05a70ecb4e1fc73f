"""What a read of the cache finds; read in NVIDIA's source where it was not observed."""

from __future__ import annotations

import pytest

from dcgm_simulator.codes import Status, StatusError
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import SECOND, Watch

START = 1_700_000_000 * SECOND
GPU = Entity(1, 0)
TEMPERATURE, XID, PIDS = 150, 230, 91


@pytest.fixture
def host() -> Host:
    return Host("h100x1", "4.6.0", clock=lambda: START)


def watch(host: Host, field: int) -> None:
    host.cache.watch(1, GPU, host.cache.fields()[field], Watch(SECOND, 60.0, 0), START)


@pytest.mark.parametrize("field", [TEMPERATURE, XID])
def test_history_of_what_nobody_watches_fails(host: Host, field: int) -> None:
    with pytest.raises(StatusError) as failure:
        host.cache.history(GPU, host.cache.fields()[field], 0, START)
    assert failure.value.status == Status.NOT_WATCHED


def test_history_of_a_watched_event_that_never_came_is_one_value_without_data(host: Host) -> None:
    watch(host, XID)
    (record,) = host.cache.history(GPU, host.cache.fields()[XID], 0, START)
    assert (record.status, record.timestamp) == (Status.NO_DATA, 0)


def test_history_of_what_the_hardware_lacks_fails_with_its_status(host: Host) -> None:
    watch(host, PIDS)
    with pytest.raises(StatusError) as failure:
        host.cache.history(GPU, host.cache.fields()[PIDS], 0, START)
    assert failure.value.status == Status.NOT_SUPPORTED


def test_event_nobody_watches_any_more_is_not_watched(host: Host) -> None:
    field = host.cache.fields()[XID]
    watch(host, XID)
    assert host.cache.latest(GPU, field, START, live=False).status == Status.NO_DATA
    host.cache.unwatch(1, GPU, field, START)
    assert host.cache.latest(GPU, field, START, live=False).status == Status.NOT_WATCHED
