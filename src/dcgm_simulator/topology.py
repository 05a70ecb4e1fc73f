"""How entities are related, in the form from which the bindings fill their structures.

Answers that depend on the kind of machine are dispatched on it; recorded.py has others.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from dcgm_simulator.codes import EntityGroup, Status, StatusError
from dcgm_simulator.machine import (
    CORES_PER_CPU,
    LINK_UP,
    SWITCH_LINKS,
    WHOLE_GPU,
    Instance,
    Machine,
)

P2P_OK, P2P_NOT_SUPPORTED = 0, 5
MODULES = {
    "core": 0, "nvswitch": 1, "vgpu": 2, "introspect": 3, "health": 4,
    "policy": 5, "config": 6, "diag": 7, "profiling": 8, "sysmon": 9, "mndiag": 10,
}  # fmt: skip
LOADED, NOT_LOADED, FAILED = 3, 0, 2


@singledispatch
def hierarchy(machine: Machine) -> list[list[Any]]:
    """Return a row per GPU instance and compute instance: entity, parent, info."""
    machine.gpus()
    rows: list[list[Any]] = []
    for gpu in sorted(machine.instances):
        for instance in machine.instances[gpu]:
            own, gpu_entity = [EntityGroup.GPU_I, instance.id], [EntityGroup.GPU, gpu]
            compute = [EntityGroup.GPU_CI, instance.id]
            profile = instance.profile
            rows.append(
                [own, gpu_entity, _info(machine, instance, WHOLE_GPU, profile.gpu_instance_profile)]
            )
            rows.append(
                [compute, own, _info(machine, instance, 0, profile.compute_instance_profile)]
            )
    return rows


def _info(machine: Machine, instance: Instance, compute_id: int, profile: int) -> list[Any]:
    slices = instance.profile.slices
    return [machine.uuid(instance.gpu), instance.gpu, instance.nvml_id, compute_id, profile, slices]


def nvlink_status(machine: Machine) -> dict[str, Any]:
    """Return the state of every link of every GPU and NvSwitch."""
    return {
        "gpus": [[gpu, machine.link_states(gpu)] for gpu in machine.gpus()],
        "switches": [
            [switch, [LINK_UP] * SWITCH_LINKS] for switch in machine.entities(EntityGroup.SWITCH)
        ],
    }


@singledispatch
def p2p_status(machine: Machine) -> list[list[Any]]:
    """Return per GPU its id and the NvLink peer status to every other one."""
    gpus, cut = machine.gpus(), machine.instances
    model = machine.layout.model
    whole = P2P_OK if model is None or model.nvlinks else P2P_NOT_SUPPORTED

    def status(gpu: int, peer: int) -> int:
        return P2P_NOT_SUPPORTED if gpu in cut or peer in cut else whole

    return [[gpu, [status(gpu, peer) for peer in gpus]] for gpu in gpus]


@singledispatch
def cpu_hierarchy(machine: Machine) -> list[list[Any]]:
    """Return per CPU its id, the numbers of its first and last core, and its serial."""
    return [
        [cpu, cpu * CORES_PER_CPU, (cpu + 1) * CORES_PER_CPU - 1, f"SIMULATED{cpu:08d}"]
        for cpu in machine.entities(EntityGroup.CPU)
    ]


@singledispatch
def profiling_groups(machine: Machine, gpu: int) -> list[dict[str, Any]]:
    """Return the profiling metric groups of a GPU.

    Raises StatusError -33 without the profiling module (observed with A100).
    """
    if gpu not in machine.gpus():
        raise StatusError(Status.BADPARAM)
    if not machine.layout.profiling:
        raise StatusError(Status.MODULE_NOT_LOADED)
    groups: list[dict[str, Any]] = machine.recording["profiling"]
    return groups


def module_statuses(machine: Machine) -> list[list[int]]:
    """Return id and status of each module; GPUs with GPM need no profiling module."""
    status = dict.fromkeys(MODULES, NOT_LOADED)
    status["core"] = LOADED
    if machine.layout.switches:
        status["nvswitch"] = LOADED
    status["sysmon"] = LOADED if machine.layout.cpus else FAILED
    if not machine.layout.profiling:
        status["profiling"] = FAILED
    names = [name for name in MODULES if name != "mndiag" or machine.behaviour.index >= 2]
    return [[MODULES[name], status[name]] for name in names]
