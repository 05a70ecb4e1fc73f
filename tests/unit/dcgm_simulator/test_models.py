"""Machines of models without a recording: within the model's limits, and without what it lacks."""

from __future__ import annotations

import pytest

from dcgm_simulator.answers import Hardware
from dcgm_simulator.codes import EntityGroup, Status, StatusError, Value, is_sentinel
from dcgm_simulator.fields import field_table
from dcgm_simulator.layouts import LAYOUTS
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.models import Fact, Model
from dcgm_simulator.series import SECOND
from dcgm_simulator.topology import P2P_NOT_SUPPORTED, P2P_OK, p2p_status, profiling_groups
from dcgm_simulator.versions import VERSIONS, behaviour

MODELS = {name: layout.model for name, layout in LAYOUTS.items() if layout.model is not None}
EACH = [(scenario, version) for scenario in MODELS for version in VERSIONS]
START = 1_800_000_000 * SECOND
SM_CLOCK, MEMORY_TEMPERATURE, TEMPERATURE, MARGIN, POWER = 100, 140, 150, 153, 155
FREE, USED, NVLINK_BANDWIDTH, GR_ENGINE = 251, 252, 449, 1001


def values(machine: Machine, field: int, gpu: int = 0) -> list[Value]:
    """What a field of a GPU has over ten minutes; nothing if it is not supported."""
    answer = Hardware(machine, 0, START).answer(
        Entity(EntityGroup.GPU, gpu), field_table(machine.behaviour.version)[field]
    )
    if isinstance(answer, Status):
        return []
    found = [answer(START + seconds * SECOND) for seconds in range(0, 600, 10)]
    return [value for value in found if not is_sentinel(value)]


def test_there_is_a_machine_of_each_model_asked_for() -> None:
    names = {str(model.facts[Fact.NAME]) for model in MODELS.values()}
    wanted = {"H200", "B200", "L40S", "RTX PRO 6000 Blackwell Server Edition"}
    assert names == {f"NVIDIA {name}" for name in wanted}


@pytest.mark.parametrize(("scenario", "version"), EACH)
def test_values_are_within_the_limits_of_the_model(scenario: str, version: str) -> None:
    machine, facts = Machine(scenario, behaviour(version)), MODELS[scenario].facts
    power, clock = values(machine, POWER), values(machine, SM_CLOCK)
    assert 0 < min(power) < max(power) < facts[Fact.GREATEST_POWER_LIMIT]
    assert facts[Fact.SM_CLOCK_LIMIT] / 2 < min(clock) <= max(clock)
    assert max(clock) <= facts[Fact.SM_CLOCK_LIMIT]
    temperature = max(values(machine, TEMPERATURE))
    assert 0 < temperature < facts.get(Fact.OPERATING_TEMPERATURE, 80)
    used, free = values(machine, USED), values(machine, FREE)
    usable = int(facts[Fact.MEMORY]) - int(facts[Fact.RESERVED_MEMORY])
    assert {usable} == {int(u) + int(f) for u, f in zip(used, free)}
    assert min(used) > 0
    assert min(free) > 0


@pytest.mark.parametrize(("scenario", "version"), EACH)
def test_what_is_known_is_told_and_what_is_not_is_not_supported(
    scenario: str, version: str
) -> None:
    machine, facts = Machine(scenario, behaviour(version)), MODELS[scenario].facts
    for fact in Fact:
        if fact is not Fact.NAME:
            assert set(values(machine, fact.value)) == ({facts[fact]} if fact in facts else set())
    assert {f"{facts[Fact.NAME]} (simulated)"} == set(values(machine, Fact.NAME))


def test_how_far_a_gpu_is_from_its_limit_agrees_with_its_temperature() -> None:
    machine = Machine("b200x8", behaviour("4.6.0"))
    sums = {int(a) + int(b) for a, b in zip(values(machine, TEMPERATURE), values(machine, MARGIN))}
    limit = MODELS["b200x8"].facts[Fact.OPERATING_TEMPERATURE]
    assert all(abs(total - int(limit)) <= 1 for total in sums)


@pytest.mark.parametrize("scenario", MODELS)
def test_attributes_agree_with_the_fields(scenario: str) -> None:
    machine, facts = Machine(scenario, behaviour("4.6.0")), MODELS[scenario].facts
    told = machine.attributes(0)
    assert told["identifiers"]["pciDeviceId"] == facts[Fact.PCI_DEVICE]
    assert told["identifiers"]["driverVersion"] == facts[Fact.DRIVER]
    assert told["powerLimits"]["enforcedPowerLimit"] == facts[Fact.ENFORCED_POWER_LIMIT]
    memory = told["memoryUsage"]
    assert memory["fbTotal"] == facts[Fact.MEMORY]
    assert memory["fbUsed"] + memory["fbFree"] < memory["fbTotal"]
    if Fact.SHUTDOWN_TEMPERATURE not in facts:
        assert told["thermalSettings"]["shutdownTemp"] == 0x7FFFFFF2


@pytest.mark.parametrize("version", VERSIONS)
def test_gpus_without_nvlink_have_nothing_of_it(version: str) -> None:
    for scenario, linked in (("h200x8", True), ("b200x8", True), ("l40sx2", False)):
        machine = Machine(scenario, behaviour(version))
        assert any(machine.link_states(0)) == linked
        assert bool(values(machine, NVLINK_BANDWIDTH)) == linked
        statuses = {status for _, row in p2p_status(machine) for status in row}
        assert statuses == {P2P_OK if linked else P2P_NOT_SUPPORTED}


@pytest.mark.parametrize(("scenario", "version"), EACH)
def test_profiling_is_refused_where_it_needs_the_module(scenario: str, version: str) -> None:
    machine = Machine(scenario, behaviour(version))
    if MODELS[scenario].profiling:
        assert any(GR_ENGINE in group["fieldIds"] for group in profiling_groups(machine, 0))
        assert values(machine, GR_ENGINE)
        return
    assert values(machine, GR_ENGINE) == []
    with pytest.raises(StatusError) as refused:
        profiling_groups(machine, 0)
    assert refused.value.status == Status.MODULE_NOT_LOADED


def test_an_l40s_says_that_its_memory_has_no_degrees() -> None:
    assert {0} == set(values(Machine("l40sx2", behaviour("4.6.0")), MEMORY_TEMPERATURE))
    assert values(Machine("rtx-pro-6000x2", behaviour("4.6.0")), MEMORY_TEMPERATURE) == []


@pytest.mark.parametrize(
    ("scenario", "cut", "ids"),
    [
        ("h200x8", ("3g.71gb", "2g.35gb", "1g.18gb", "1g.18gb"), [7, 8, 9, 10]),
        ("b200x8", ("2g.45gb", "1g.23gb"), [7, 8]),
        ("rtx-pro-6000x2", ("2g.48gb", "1g.24gb", "1g.24gb"), [4, 5, 6]),
    ],
)
def test_a_gpu_is_cut_by_the_profiles_of_its_model(
    scenario: str, cut: tuple[str, ...], ids: list[int]
) -> None:
    machine = Machine(scenario, behaviour("4.6.0"))
    machine.cut(1, cut)
    assert machine.entities(EntityGroup.GPU_I) == ids
    assert {machine.gpu_of(Entity(EntityGroup.GPU_I, number)) for number in ids} == {1}
    assert sorted(instance.name for instance in machine.instances[1]) == sorted(cut)
    hardware, total = Hardware(machine, 0, START), field_table("4.6.0")[Fact.MEMORY]
    for instance in machine.instances[1]:
        answer = hardware.answer(Entity(EntityGroup.GPU_I, instance.id), total)
        assert not isinstance(answer, Status)
        assert answer(START) == MODELS[scenario].profiles[instance.name].memory


def refusal(scenario: str, *cut: str) -> str:
    with pytest.raises(ValueError) as refused:
        Machine(scenario, behaviour("4.6.0")).cut(0, cut)
    return str(refused.value)


def test_other_cuts_are_refused_in_a_sentence() -> None:
    assert refusal("l40sx2", "1g.10gb") == "the GPUs of this machine cannot be cut into instances"
    assert refusal("a100-no-prof", "1g.10gb") == refusal("l40sx2", "1g.10gb")
    known = "1g.24gb, 2g.48gb, 4g.96gb"
    assert refusal("rtx-pro-6000x2", "7g.80gb") == f"unknown MIG profile 7g.80gb, known: {known}"
    too_much = "4g.96gb,1g.24gb needs more than the 4 slices of a GPU"
    assert refusal("rtx-pro-6000x2", "4g.96gb", "1g.24gb") == too_much


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_profiles_fit_into_a_gpu(model: Model) -> None:
    for name, profile in model.profiles.items():
        assert name.startswith(f"{profile.slices}g.")
        assert profile.memory <= int(model.facts[Fact.MEMORY]) / len(profile.instance_ids)
        assert profile.slices <= model.slices
