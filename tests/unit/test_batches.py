"""What is read in one call."""

from __future__ import annotations

from tests.builders import gpu, gpu_instance

from do_dcgm_exporter.collect.batches import Batch, batches_of
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.entities import Entity


def watch(entities: tuple[Entity, ...], *field_ids: int) -> Watch:
    return Watch(None, None, entities, field_ids)


def test_entities_with_the_same_fields_are_read_together() -> None:
    watches = [
        watch((gpu(0), gpu(1)), 57, 1),
        watch((gpu(0), gpu(1)), 150, 155),
        watch((gpu_instance(7),), 150),
    ]
    assert (
        Batch((gpu(0), gpu(1)), (57, 1, 150, 155)),
        Batch((gpu_instance(7),), (150,)),
    ) == batches_of(watches)


def test_an_entity_is_not_asked_for_what_is_watched_on_others() -> None:
    watches = [watch((gpu(0), gpu(1)), 150), watch((gpu(1),), 1002)]
    assert (Batch((gpu(0),), (150,)), Batch((gpu(1),), (150, 1002))) == batches_of(watches)


def test_what_is_watched_twice_is_read_once() -> None:
    assert (Batch((gpu(0),), (150,)),) == batches_of([watch((gpu(0),), 150)] * 2)


def test_what_is_left_alone_is_not_read() -> None:
    watches = [watch((gpu(0), gpu(1)), 150), watch((gpu(2),), 522)]
    left_alone = {(gpu(1), 150), (gpu(2), 522)}
    assert (Batch((gpu(0),), (150,)),) == batches_of(watches, left_alone)
