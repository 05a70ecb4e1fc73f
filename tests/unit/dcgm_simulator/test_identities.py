"""Machines of a fleet: each seed has its own UUIDs, serial numbers and bus ids."""

from __future__ import annotations

import pytest

from dcgm_simulator.answers import Hardware
from dcgm_simulator.codes import EntityGroup, Status
from dcgm_simulator.fields import field_table
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.versions import VERSIONS, behaviour

MEMBERS = {"serial": 53, "uuid": 54, "pciBusId": 57}


def identities(machine: Machine) -> list[tuple[str, ...]]:
    """The identity of each GPU."""
    told = (machine.attributes(gpu)["identifiers"] for gpu in machine.gpus())
    return [tuple(own[name] for name in MEMBERS) for own in told]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scenario", ["h100x8-mig", "a100-no-prof"])
def test_no_two_gpus_of_a_fleet_are_the_same(scenario: str, version: str) -> None:
    fleet = [Machine(scenario, behaviour(version), seed) for seed in range(20)]
    gpus = [identity for machine in fleet for identity in identities(machine)]
    assert len({serial for serial, _, _ in gpus}) == len({uuid for _, uuid, _ in gpus}) == len(gpus)
    for machine in fleet:
        assert len({bus for _, _, bus in identities(machine)}) == len(machine.gpus())
    instances = [m.instance_uuid(i) for m in fleet for cut in m.instances.values() for i in cut]
    assert len(instances) == len(set(instances))


def test_a_seed_gives_the_same_identities_and_fields_agree_with_them() -> None:
    machine = Machine("h100x8-mig", behaviour("4.6.0"), 7)
    assert identities(machine) == identities(Machine("h100x8-mig", behaviour("4.6.0"), 7))
    hardware, fields = Hardware(machine, 7, 0), field_table("4.6.0")
    for gpu, identity in enumerate(identities(machine)):
        for number, expected in zip(MEMBERS.values(), identity):
            answer = hardware.answer(Entity(EntityGroup.GPU, gpu), fields[number])
            assert not isinstance(answer, Status)
            assert expected == answer(0)
