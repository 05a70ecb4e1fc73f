"""Finding the few items that spoil a batch."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.dcgm.bisection import split_off_culprits


@given(st.lists(st.integers(), unique=True, max_size=60), st.data())
def test_culprits_and_the_others_are_told_apart_in_their_order(
    items: list[int], data: st.DataObject
) -> None:
    culprits = set(data.draw(st.lists(st.sampled_from(items)))) if items else set()
    good, bad = split_off_culprits(items, lambda some: not culprits & set(some))
    assert [item for item in items if item not in culprits] == good
    assert [item for item in items if item in culprits] == bad


def tries(count: int, culprits: set[int]) -> int:
    batches: list[Sequence[int]] = []

    def works(some: Sequence[int]) -> bool:
        batches.append(some)
        return not culprits & set(some)

    split_off_culprits(range(count), works)
    return len(batches)


def test_a_batch_that_works_is_tried_once() -> None:
    assert 1 == tries(127, set())


def test_nothing_is_not_tried_at_all() -> None:
    assert 0 == tries(0, set())


def test_one_culprit_among_many_costs_few_tries() -> None:
    assert 15 >= tries(127, {100})
