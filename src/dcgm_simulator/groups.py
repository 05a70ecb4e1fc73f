"""Groups of entities and groups of fields, which all connections of an engine share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dcgm_simulator.codes import EntityGroup, Status, StatusError
from dcgm_simulator.faults import Faults
from dcgm_simulator.fields import field_table
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.versions import FIELDS_PER_GROUP, GROUPS_PER_ENGINE

ALL_GPUS = 0x7FFFFFFF
"""DCGM_GROUP_ALL_GPUS; the ids below it are groups of all entities of other kinds."""
FIXED_GROUPS = {
    ALL_GPUS: (EntityGroup.GPU,),
    ALL_GPUS - 1: (EntityGroup.SWITCH,),
    ALL_GPUS - 2: (EntityGroup.GPU_I,),
    ALL_GPUS - 3: (EntityGroup.GPU_CI,),
    ALL_GPUS - 4: (EntityGroup.GPU, EntityGroup.SWITCH, EntityGroup.GPU_I, EntityGroup.GPU_CI),
}
GROUP_TYPES: dict[int, tuple[EntityGroup, ...]] = {
    0: (EntityGroup.GPU,),
    1: (),
    2: (EntityGroup.SWITCH,),
    3: (EntityGroup.GPU_I,),
    4: (EntityGroup.GPU_CI,),
    5: FIXED_GROUPS[ALL_GPUS - 4],
}
"""The initial entities of a group of each DCGM_GROUP_* type."""
FIRST_GROUP = 2
"""Ids 0 and 1 belong to the engine's own groups."""
FIRST_FIELD_GROUP = 5


@dataclass
class Group:
    """A named list of entities."""

    name: str
    owner: int
    entities: list[Entity]
    health_systems: int = 0


@dataclass
class FieldGroup:
    """A named list of field ids."""

    name: str
    owner: int
    fields: list[int]


@dataclass
class Registry:
    """All groups of an engine."""

    machine: Machine
    faults: Faults
    clock: Callable[[], int]
    groups: dict[int, Group] = field(default_factory=dict)
    field_groups: dict[int, FieldGroup] = field(default_factory=dict)
    _next_group: int = FIRST_GROUP
    _next_field_group: int = FIRST_FIELD_GROUP

    # --- entities ------------------------------------------------------------------------

    def create_group(self, owner: int, kind: int, name: str) -> int:
        """Create a group with the entities of its type, and return its id.

        Raises StatusError -24 if the engine has no room for another, -1 for an unknown type.
        """
        if len(self.groups) >= GROUPS_PER_ENGINE:
            raise StatusError(Status.MAX_LIMIT)
        if kind not in GROUP_TYPES:
            raise StatusError(Status.BADPARAM)
        entities = self._all_entities(GROUP_TYPES[kind])
        number, self._next_group = self._next_group, self._next_group + 1
        self.groups[number] = Group(name, owner, entities)
        return number

    def _all_entities(self, kinds: tuple[EntityGroup, ...]) -> list[Entity]:
        return [Entity(kind, number) for kind in kinds for number in self.machine.entities(kind)]

    def group(self, number: int) -> Group:
        """Return a group.

        Raises StatusError -5 if there is none (DcgmGroupManager.cpp).
        """
        if number in FIXED_GROUPS:
            return Group("DCGM_ALL_SUPPORTED_GPUS", 0, self._all_entities(FIXED_GROUPS[number]))
        if number not in self.groups:
            raise StatusError(Status.NOT_CONFIGURED)
        return self.groups[number]

    def group_ids(self) -> list[int]:
        """Return the ids of all groups, the engine's own included."""
        return [*range(FIRST_GROUP), *self.groups]

    def group_info(self, number: int) -> tuple[str, list[Entity]]:
        """Return name and entities of a group."""
        group = self.group(number)
        return group.name, group.entities

    def destroy_group(self, number: int) -> None:
        """Destroy a group; its watches go on (observed)."""
        if number not in self.groups:
            raise StatusError(Status.NOT_CONFIGURED)
        del self.groups[number]

    def add_entity(self, number: int, entity: Entity) -> None:
        """Add an entity to a group.

        Raises StatusError for a full group, and for a duplicate, unknown or lost entity.
        """
        group = self.group(number)
        if number not in self.groups:
            raise StatusError(Status.BADPARAM)
        if entity in group.entities or not self._is_valid(entity):
            raise StatusError(Status.BADPARAM)
        noticed = self.faults.noticed_lost_since(self.machine.gpu_of(entity), self.clock())
        if noticed is not None and self.machine.behaviour.notices_lost_gpus:
            raise StatusError(Status.GPU_IS_LOST)
        if len(group.entities) >= self.machine.behaviour.entity_limit:
            raise StatusError(Status.MAX_LIMIT)
        group.entities.append(entity)

    def _is_valid(self, entity: Entity) -> bool:
        """Return whether an entity may be in a group.

        NvLinks of GPUs are entities only since 4.5 (observed).
        """
        if entity.group == EntityGroup.NONE:
            return True
        if entity.group == EntityGroup.LINK and entity.id & 0xFF == EntityGroup.GPU:
            return self.machine.behaviour.index >= 2
        return self.machine.has(entity)

    def remove_entity(self, number: int, entity: Entity) -> None:
        """Remove an entity from a group."""
        group = self.group(number)
        if entity not in group.entities:
            raise StatusError(Status.BADPARAM)
        group.entities.remove(entity)

    # --- fields --------------------------------------------------------------------------

    def create_field_group(self, owner: int, name: str, fields: list[int]) -> int:
        """Create a field group and return its id.

        Raises StatusError -1 for no, too many or unknown fields, -26 for a name that is
        taken on this engine, -24 if the engine has no room for another.
        """
        known = field_table(self.machine.behaviour.version)
        if not 0 < len(fields) <= FIELDS_PER_GROUP or any(number not in known for number in fields):
            raise StatusError(Status.BADPARAM)
        if any(group.name == name for group in self.field_groups.values()):
            raise StatusError(Status.DUPLICATE_KEY)
        if len(self.field_groups) >= GROUPS_PER_ENGINE:
            raise StatusError(Status.MAX_LIMIT)
        number, self._next_field_group = self._next_field_group, self._next_field_group + 1
        self.field_groups[number] = FieldGroup(name, owner, fields)
        return number

    def field_group(self, number: int) -> FieldGroup:
        """Return a field group.

        Raises StatusError -14 if there is none (DcgmFieldGroup.cpp).
        """
        if number not in self.field_groups:
            raise StatusError(Status.NO_DATA)
        return self.field_groups[number]

    def field_group_info(self, number: int) -> tuple[str, list[int]]:
        """Return name and fields of a field group."""
        group = self.field_group(number)
        return group.name, group.fields

    def all_field_groups(self) -> list[tuple[int, str, list[int]]]:
        """Return id, name and fields of each field group."""
        return [(number, group.name, group.fields) for number, group in self.field_groups.items()]

    def destroy_field_group(self, number: int) -> None:
        """Destroy a field group; its watches go on (observed)."""
        self.field_group(number)
        del self.field_groups[number]

    def drop_owner(self, owner: int) -> None:
        """Destroy all groups of a connection that is gone."""
        self.groups = {n: g for n, g in self.groups.items() if g.owner != owner}
        self.field_groups = {n: g for n, g in self.field_groups.items() if g.owner != owner}
