"""Define the values that engine calls return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from do_dcgm_exporter.dcgm.entities import Entity


class DeviceIdentity(NamedTuple):
    """The identity of a GPU, from its device attributes."""

    uuid: str
    pci_bus_id: str
    model: str


class MigNode(NamedTuple):
    """One line of the MIG hierarchy; the parent is a GPU or a GPU instance.

    ``instance_id`` and ``compute_id`` are NVML's numbers of the GPU instance and, in it, of the
    compute instance. ``profile_id`` is NVML's number for the profile, because an instance of
    another profile may reuse the same entity and instance id.
    """

    entity: Entity
    parent: Entity
    instance_id: int
    profile_id: int
    compute_id: int


class HealthIncident(NamedTuple):
    """One incident of a health check; ``health`` is 0 pass, 10 warning, 20 failure."""

    entity: Entity
    system: int
    health: int
    error_code: int


@dataclass(frozen=True, slots=True)
class Watch:
    """A field group watched on an entity group. Both last as long as the connection."""

    group: Any
    field_group: Any
    entities: tuple[Entity, ...]
    field_ids: tuple[int, ...]
