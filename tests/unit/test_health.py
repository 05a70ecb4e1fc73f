"""Whether a page is whole, in words."""

from __future__ import annotations

import pytest
from tests.builders import cycle_result, some_gpu

from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.page.health import health_of
from do_dcgm_exporter.page.publication import Health

MACHINE = Topology(gpus=(some_gpu(0), some_gpu(1), some_gpu(2)))


def result(**changes: object) -> CycleResult:
    whole: dict[str, object] = {"gpus_up": {0: True, 1: True, 2: True}, "outcomes": ()}
    return cycle_result(**(whole | changes))


def test_a_machine_whose_gpus_all_answer_is_healthy() -> None:
    assert Health(True) == health_of(result(), MACHINE)


@pytest.mark.parametrize(
    ("gpus_up", "reason"),
    [
        ({0: True, 1: False, 2: True}, "the driver has lost GPU 1 (GPU-1)"),
        ({0: False, 1: True, 2: False}, "the driver has lost GPU 0 (GPU-0), 2 (GPU-2)"),
        ({0: False}, "the driver has lost GPU 0 (GPU-0)"),
        (
            {0: False, 1: False, 2: False},
            "the engine gets no answer about any GPU: look at the XIDs, then restart nvidia-dcgm",
        ),
        ({}, "the device selection (-d) matches no GPU of this machine"),
    ],
)
def test_a_gpu_that_is_not_there_makes_it_bad(gpus_up: dict[int, bool], reason: str) -> None:
    assert Health(False, reason) == health_of(result(gpus_up=gpus_up), MACHINE)


def test_gpus_that_are_not_sampled_are_named_beside_lost_ones() -> None:
    found = result(
        gpus_up={0: True, 1: False, 2: False}, stalled_gpus=frozenset({1}), stale_after=60.0
    )
    reason = (
        "the driver has lost GPU 2 (GPU-2); "
        "the engine has no value of GPU 1 (GPU-1) that is less than 60 s old"
    )
    assert Health(False, reason) == health_of(found, MACHINE)


def test_a_machine_without_gpus_is_not_healthy() -> None:
    expected = Health(False, "the engine knows no GPU")
    assert expected == health_of(result(gpus_up={}), Topology())


def test_single_things_that_are_missing_are_notes_of_a_healthy_page() -> None:
    found = health_of(
        result(
            profiling_reason="no profiling metrics on GPU 0: x",
            poisoned_fields=frozenset({81, 3}),
            outcomes=cycle_result().outcomes,
        ),
        MACHINE,
    )
    notes = (
        "no profiling metrics on GPU 0: x",
        "fields left out for now because the engine fails on them: 3, 81",
        "collectors that failed: xid",
    )
    assert Health(True, notes=notes) == found


def test_what_the_engine_would_not_watch_is_a_note() -> None:
    (note,) = health_of(result(unwatched_gpus=(1, 2)), MACHINE).notes
    assert "the engine refuses to watch all of GPU 1, 2; trying again" == note
