"""All seeds of all fuzz targets, and a few mutations of each."""

from __future__ import annotations

import random

import pytest
from tests.fuzz import catalogue

MADE_OF_EACH = 60


@pytest.mark.parametrize("name", catalogue.names())
def test_a_target_holds_for_its_seeds_and_what_is_near_them(name: str) -> None:
    target, seeds = catalogue.target(name), catalogue.seeds(name)
    assert seeds, f"tests/fuzz/seeds/{name} is empty"
    contents = [seed.read_bytes() for seed in seeds]
    for content in contents:
        target(content)
    generator = random.Random(name)
    for content in contents:
        for _ in range(MADE_OF_EACH):
            target(_mutated(content, generator.choice(contents), generator))


def _mutated(content: bytes, other: bytes, generator: random.Random) -> bytes:
    """``content`` with some bytes changed, removed, doubled or taken from another seed."""
    changed = bytearray(content)
    for _ in range(generator.randrange(1, 6)):
        place = generator.randrange(len(changed) + 1)
        end = min(len(changed), place + generator.randrange(1, 9))
        changed[place:end] = generator.choice(
            (b"", generator.randbytes(end - place), changed[place:end] * 2, other[place:end])
        )
    return bytes(changed)
