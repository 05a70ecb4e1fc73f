"""The machine of a scenario: its entities, their relations and identities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dcgm_simulator.codes import EntityGroup, Status, StatusError
from dcgm_simulator.fields import field_table, load
from dcgm_simulator.identities import instance_uuid, seeded
from dcgm_simulator.layouts import LAYOUTS, RECORDED_CUT, Layout
from dcgm_simulator.likeness import resemble
from dcgm_simulator.models import Profile
from dcgm_simulator.versions import Behaviour

SUFFIX = " (simulated)"
WHOLE_GPU = 0xFFFFFFFF

SWITCH_LINKS = 64
LINK_DOWN = 2
LINK_UP = 3
"""dcgmNvLinkLinkState_t."""
CORES_PER_CPU = 72


class Entity(NamedTuple):
    """What a value belongs to."""

    group: int
    id: int


@dataclass(frozen=True)
class Instance:
    """A GPU instance that holds one compute instance; both have the same entity id.

    It is gpuId * slices + n (observed on H100, all versions; maxGpcs in DcgmCacheManager.cpp).
    """

    id: int
    gpu: int
    name: str
    profile: Profile
    nvml_id: int


@dataclass
class Machine:
    """A simulated machine; cutting GPUs into instances and breaking links change it."""

    scenario: str
    behaviour: Behaviour
    seed: int = 0
    layout: Layout = field(init=False)
    recording: dict[str, Any] = field(init=False)
    instances: dict[int, list[Instance]] = field(default_factory=dict)
    down_links: set[tuple[int, int]] = field(default_factory=set)
    """GPU and number of each NvLink that was taken down."""
    unsupported: frozenset[int] = frozenset()
    """GPUs that DCGM finds but does not support."""

    def __post_init__(self) -> None:
        """Build the machine; raises KeyError for an unknown scenario."""
        self.layout = LAYOUTS[self.scenario]
        version = "4.6.0" if self.behaviour.is_46 else self.behaviour.version
        if self.layout.recording == "a100" and not self.behaviour.is_46:
            version = "4.2.3"
        recorded = load(f"{self.layout.recording}-{version}.json")
        if self.layout.model is not None:
            fields = field_table(version)
            recorded = resemble(recorded, self.layout.model, fields)
        self.recording = seeded(recorded, self.seed)
        self.restore()

    # --- what there is ---------------------------------------------------------------

    def gpus(self) -> list[int]:
        """Return the ids of the GPUs.

        Raises StatusError -56 without the driver (observed).
        """
        if not self.layout.nvml:
            raise StatusError(Status.NVML_NOT_LOADED)
        return list(range(self.layout.gpus))

    def entities(self, group: int) -> list[int]:
        """Return the ids of all entities of a kind.

        Raises StatusError as an engine does for kinds the machine cannot have.
        """
        if group == EntityGroup.GPU:
            return self.gpus()
        if group in (EntityGroup.GPU_I, EntityGroup.GPU_CI):
            self.gpus()
            return sorted(instance.id for cut in self.instances.values() for instance in cut)
        if group == EntityGroup.SWITCH:
            return list(range(self.layout.switches))
        if group == EntityGroup.LINK and self.layout.switches:
            return [self.link_id(switch, link) for switch, link in self._switch_links()]
        if group in (EntityGroup.CPU, EntityGroup.CPU_CORE):
            return self._processors(group)
        if group == EntityGroup.CONNECTX and self.behaviour.major >= 4:
            return list(range(self.layout.adapters))
        raise StatusError(Status.NOT_SUPPORTED)

    def _processors(self, group: int) -> list[int]:
        if not self.layout.cpus:
            raise StatusError(Status.MODULE_NOT_LOADED)
        cores = 1 if group == EntityGroup.CPU else CORES_PER_CPU
        return list(range(self.layout.cpus * cores))

    def _switch_links(self) -> list[tuple[int, int]]:
        return [
            (switch, link) for switch in range(self.layout.switches) for link in range(SWITCH_LINKS)
        ]

    def link_id(self, switch: int, link: int) -> int:
        """Return the entity id of a link of an NvSwitch (facts: packing per version)."""
        shift = self.behaviour.link_id_shift
        return EntityGroup.SWITCH | link << 8 | (0 if shift is None else switch << shift)

    def has(self, entity: Entity) -> bool:
        """Return whether an entity exists."""
        try:
            return entity.id in self.entities(entity.group)
        except StatusError:
            return False

    def gpu_of(self, entity: Entity) -> int | None:
        """Return the GPU an entity is, or is a part of."""
        if entity.group == EntityGroup.GPU:
            return entity.id
        if entity.group in (EntityGroup.GPU_I, EntityGroup.GPU_CI):
            return entity.id // self.layout.slices
        return None

    def instance(self, entity: Entity) -> Instance | None:
        """Return the instance behind a GPU_I or GPU_CI entity."""
        cut = self.instances.get(entity.id // self.layout.slices, [])
        return next((instance for instance in cut if instance.id == entity.id), None)

    @property
    def architecture(self) -> str:
        """Return the engine's architecture, which is that of Grace CPUs if there are any."""
        return "aarch64" if self.layout.cpus else "x86_64"

    # --- cutting GPUs ----------------------------------------------------------------

    def restore(self) -> None:
        """Cut the GPUs as the scenario has them."""
        self.instances.clear()
        for gpu in self.layout.cut:
            self.cut(gpu, RECORDED_CUT)

    def cut(self, gpu: int, names: tuple[str, ...]) -> None:
        """Cut a GPU into instances, or make it whole again with no names.

        Raises ValueError if the GPU or a profile does not exist, or they do not fit.
        """
        if gpu not in range(self.layout.gpus):
            message = f"there is no GPU {gpu}"
            raise ValueError(message)
        profiles, slices = self.layout.profiles, self.layout.slices
        unknown = [name for name in names if name not in profiles]
        if unknown and not profiles:
            raise ValueError("the GPUs of this machine cannot be cut into instances")
        if unknown:
            message = f"unknown MIG profile {unknown[0]}, known: {', '.join(profiles)}"
            raise ValueError(message)
        if sum(profiles[name].slices for name in names) > slices:
            message = f"{','.join(names)} needs more than the {slices} slices of a GPU"
            raise ValueError(message)
        self.instances[gpu] = self._instances(gpu, names)
        if not names:
            del self.instances[gpu]

    def _instances(self, gpu: int, names: tuple[str, ...]) -> list[Instance]:
        taken: set[int] = set()
        instances = []
        profiles, first = self.layout.profiles, gpu * self.layout.slices
        # The engine lists the smallest profiles first (recorded).
        for number, name in enumerate(sorted(names, key=lambda name: profiles[name].slices)):
            profile = profiles[name]
            nvml_id = next(i for i in (*profile.instance_ids, *range(14, 32)) if i not in taken)
            taken.add(nvml_id)
            instances.append(Instance(first + number, gpu, name, profile, nvml_id))
        return instances

    # --- identities ------------------------------------------------------------------

    def attributes(self, gpu: int) -> dict[str, Any]:
        """Return what dcgmGetDeviceAttributes reports about a GPU.

        Raises StatusError -1 if there is none.
        """
        if gpu not in self.gpus():
            raise StatusError(Status.BADPARAM)
        recorded: dict[str, Any] = self.recording["attributes"][gpu]
        identifiers = recorded["identifiers"]
        name = {"deviceName": identifiers["deviceName"] + SUFFIX}
        return recorded | {"identifiers": identifiers | name}

    def uuid(self, gpu: int) -> str:
        """Return the UUID of a GPU."""
        return str(self.recording["attributes"][gpu]["identifiers"]["uuid"])

    def instance_uuid(self, instance: Instance) -> str:
        """Return the UUID of a GPU instance."""
        return instance_uuid(self.seed, instance.gpu, instance.nvml_id)

    @property
    def has_nvlinks(self) -> bool:
        """Return whether a GPU supports any NvLink."""
        return any(any(self.link_states(gpu)) for gpu in self.gpus())

    def link_states(self, gpu: int) -> list[int]:
        """Return the state of each NvLink of a GPU; none are supported under MIG (recorded)."""
        states = [
            LINK_DOWN if (gpu, link) in self.down_links else state
            for link, state in enumerate(self.recording["nvlink"][gpu])
        ]
        if gpu in self.instances:
            states = [0] * len(states)
        return states + [0] * (self.behaviour.nvlinks_per_gpu - len(states))
