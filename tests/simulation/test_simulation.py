"""The short run of the fault simulation, and whether it would find anything."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.builders import REPOSITORY
from tests.simulation.planted import PLANTS, Plant
from tests.simulation.troubles import Trouble
from tests.simulation.world import run

SEEDS = 200
SEEDS_OF_PLANTS = 60
AT_A_TIME = 20


@pytest.mark.parametrize("first", range(0, SEEDS, AT_A_TIME))
def test_every_promise_holds_in_every_schedule(first: int) -> None:
    failed = [o for o in map(run, range(first, first + AT_A_TIME)) if o.failure]
    told = "\n".join(f"python -m tests.simulation --seed {o.seed}: {o.failure}" for o in failed)
    assert not failed, told


@pytest.mark.parametrize("plant", PLANTS.values(), ids=PLANTS)
def test_a_planted_bug_is_found(plant: tuple[Plant, tuple[Trouble, ...]]) -> None:
    bug, only = plant
    for seed in range(SEEDS_OF_PLANTS):
        with bug():
            failure = run(seed, only).failure
        if failure:
            assert failure.startswith("AssertionError"), f"seed {seed}: the plant fails: {failure}"
            return
    pytest.fail(f"{SEEDS_OF_PLANTS} schedules did not find it")


@pytest.mark.parametrize("seed", [7, 38, 175])
def test_a_seed_gives_the_same_schedule_again(seed: int) -> None:
    """In another process too, where sets of texts have another order."""
    first = run(seed).trace
    assert first == run(seed).trace
    command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed)]
    environment = {"PYTHONHASHSEED": str(seed)}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert first == done.stdout.splitlines()


def test_a_failing_schedule_is_told_with_its_seed_and_its_trace() -> None:
    program = (
        "import sys\n"
        "from tests.simulation import __main__, planted\n"
        "with planted.field_group_leaked():\n"
        "    sys.exit(__main__.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--seed", "1"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    *trace, verdict = done.stdout.splitlines()
    assert "field groups that nothing watches" in trace[-1]
    assert verdict.startswith("seed 1: AssertionError: ")
