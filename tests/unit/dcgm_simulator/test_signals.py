"""Numbers move plausibly, and the same seed gives the same ones."""

from __future__ import annotations

import pytest

from dcgm_simulator import SCENARIOS
from dcgm_simulator.answers import Hardware
from dcgm_simulator.codes import Status, is_sentinel
from dcgm_simulator.fields import field_table
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.series import SECOND
from dcgm_simulator.versions import VERSIONS, behaviour

START = 1_700_000_000 * SECOND
UTILIZATION, POWER, ENERGY, TEMPERATURE, CLOCK_EVENTS = 203, 155, 156, 150, 112


def hardware(seed: int = 0, scenario: str = "h100x8", version: str = "4.6.0") -> Hardware:
    return Hardware(Machine(scenario, behaviour(version)), seed, START)


def values(source: Hardware, field: int, seconds: range, gpu: int = 0) -> list[float]:
    answer = source.answer(Entity(1, gpu), field_table("4.6.0")[field])
    assert not isinstance(answer, Status)
    return [float(answer(START + second * SECOND)) for second in seconds]


def test_a_seed_gives_the_same_numbers_and_another_seed_others() -> None:
    minute = range(0, 60, 5)
    assert values(hardware(1), POWER, minute) == values(hardware(1), POWER, minute)
    assert values(hardware(1), POWER, minute) != values(hardware(2), POWER, minute)


def test_gpus_differ_from_one_another() -> None:
    assert values(hardware(), POWER, range(9), 0) != values(hardware(), POWER, range(9), 1)


@pytest.mark.parametrize(
    ("field", "low", "high"), [(UTILIZATION, 0, 100), (POWER, 60, 700), (TEMPERATURE, 25, 89)]
)
def test_gauges_stay_in_their_range_and_move(field: int, low: float, high: float) -> None:
    hour = values(hardware(), field, range(0, 3600, 7))
    assert low <= min(hour) < max(hour) <= high


@pytest.mark.parametrize("version", VERSIONS)
def test_a_gpu_is_idle_only_where_it_does_nothing(version: str) -> None:
    source, field = hardware(version=version), field_table(version)[CLOCK_EVENTS]
    times = [START + second * SECOND for second in range(0, 7200, 7)]
    found = set()
    for gpu in range(8):
        reasons = source.answer(Entity(1, gpu), field)
        busy = source.answer(Entity(1, gpu), field_table(version)[UTILIZATION])
        assert not isinstance(reasons, Status)
        assert not isinstance(busy, Status)
        found |= {(busy(time) == 0, int(reasons(time)) & 1) for time in times}
    assert found <= {(False, 0), (True, 1)}
    assert (False, 0) in found


def test_a_gpu_without_a_job_is_idle_until_the_next_one_begins() -> None:
    source = hardware()
    load = source.loads[0]
    load.rest(START + 100 * SECOND)
    load.go_on(START + 200 * SECOND)
    busy, idle = range(80, 100, 5), range(100, 200, 5)
    assert {0.0} == set(values(source, UTILIZATION, idle))
    assert {1.0} == set(values(source, CLOCK_EVENTS, idle))
    assert values(hardware(), UTILIZATION, busy) == values(source, UTILIZATION, busy)
    after = range(200, 300, 5)
    assert values(hardware(), UTILIZATION, after) == values(source, UTILIZATION, after)
    assert max(values(source, UTILIZATION, after)) > 0
    assert max(values(source, POWER, idle)) < min(values(source, POWER, busy))


def test_a_gpu_that_rests_uses_the_energy_of_its_power() -> None:
    source = hardware()
    source.loads[0].rest(START + 100 * SECOND)
    power = values(source, POWER, range(100, 200, 50))
    before, after = values(source, ENERGY, range(100, 201, 100))
    assert (after - before) / 1000 == pytest.approx(power[0] * 100, rel=0.01)


def test_power_follows_utilization() -> None:
    pairs = sorted(
        zip(
            values(hardware(), UTILIZATION, range(0, 600, 20)),
            values(hardware(), POWER, range(0, 600, 20)),
        )
    )
    assert pairs[0][1] < pairs[-1][1]


def test_energy_is_the_sum_of_power() -> None:
    energy = values(hardware(), ENERGY, range(0, 601, 1))
    power = values(hardware(), POWER, range(0, 601, 1))
    assert energy == sorted(energy)
    used = (energy[-1] - energy[0]) / 1000
    assert used == pytest.approx(sum(power[:-1]), rel=0.02)


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.5.3", "4.6.0"])
@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "no-nvml"])
def test_every_entity_answers_every_field(scenario: str, version: str) -> None:
    machine = Machine(scenario, behaviour(version))
    source = Hardware(machine, 0, START)
    kinds = {"i": int, "d": float, "s": str}
    for group in (1, 3, 4, 5, 7):
        entities = machine.entities(group) if group != 7 or machine.layout.cpus else []
        for field in field_table(version).values():
            for number in entities[:2]:
                answer = source.answer(Entity(group, number), field)
                if not isinstance(answer, Status):
                    value = answer(START + SECOND)
                    assert is_sentinel(value) or type(value) is kinds[field.type], field
