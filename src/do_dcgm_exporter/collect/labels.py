"""Render the label blocks of every entity.

A block consists of the entity's own labels, the host name, the ``label`` counters and,
last, attributes such as ``hpc_job``. From cycle to cycle only the values of label counters
and the jobs change, so a block is rendered again only when one of those does.

With ``--label-fields-as-info`` the label counters of GPUs move to a separate series
(sources/gpu_info.py), so that a change in one of them ends no other series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.plan import carries
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_text import Label, label_block
from do_dcgm_exporter.config.counters import Counter
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Topology


@dataclass(frozen=True, slots=True)
class _Block:
    label_values: tuple[Label, ...]
    info_values: tuple[Label, ...]
    jobs: tuple[str, ...]
    plain: tuple[str, ...]


@dataclass(slots=True)
class LabelBlocks:
    """The label blocks of one topology.

    ``identities`` are the entities' own labels with the host name, ``label_counters``
    the counters of type label, ``jobs`` job names by ``gpu`` or ``gpu.instance``.
    ``as_info`` keeps label counters that GPUs carry out of every block but ``info_of``.
    ``host`` is the host name's label, if it is shown.
    """

    topology: Topology
    identities: Mapping[Entity, tuple[Label, ...]]
    label_counters: Sequence[Counter]
    as_info: bool = False
    host: tuple[Label, ...] = ()
    _blocks: dict[Entity, _Block] = field(default_factory=dict)

    def update(self, readings: Readings, jobs: Mapping[str, tuple[str, ...]]) -> None:
        """Take on this cycle's label counter values and jobs.

        Everything on a lost GPU keeps its labels, so that its XIDs stay in their series.
        """
        for entity, identity in self.identities.items():
            if entity in self._blocks and self._is_lost(entity, readings):
                continue
            values, info = self._label_values(entity, readings)
            names = jobs.get(self._job_key(entity), ()) if jobs else ()
            block = self._blocks.get(entity)
            if block is None or (block.label_values, block.info_values, block.jobs) != (
                values,
                info,
                names,
            ):
                plain = _render(identity + values, names)
                self._blocks[entity] = _Block(values, info, names, plain)

    @property
    def present(self) -> frozenset[str]:
        """The label counters that have a value anywhere."""
        return frozenset(
            name
            for block in self._blocks.values()
            for name, _ in (*block.label_values, *block.info_values)
        )

    def of(self, entity: Entity) -> tuple[str, ...]:
        """Return the blocks of ``entity``: one, or one per job."""
        return self._blocks[entity].plain

    def with_labels(
        self, entity: Entity, labels: Sequence[Label] = (), attributes: Sequence[Label] = ()
    ) -> tuple[str, ...]:
        """Return the blocks of ``entity`` with more ``labels`` and ``attributes`` (both sorted)."""
        block = self._blocks[entity]
        own = self.identities[entity] + tuple(sorted((*block.label_values, *labels)))
        return _render((*own, *attributes), block.jobs)

    def of_host(self, own: Sequence[Label], labels: Sequence[Label]) -> str:
        """Return the block of something of this host that is no entity of the topology."""
        return label_block((*own, *self.host, *labels))

    def info_of(self, entity: Entity) -> str:
        """Return the block of the info series of ``entity``, which carries no jobs."""
        return label_block(self.identities[entity] + self._blocks[entity].info_values)

    def _label_values(
        self, entity: Entity, readings: Readings
    ) -> tuple[tuple[Label, ...], tuple[Label, ...]]:
        """Return the label counters on all series of ``entity``, and those on its info series."""
        found: list[Label] = []
        info: list[Label] = []
        for counter in self.label_counters:
            if counter.field is not None and carries(entity.kind, counter):
                value = readings.get(entity, counter.field.id)
                if isinstance(value, Absence):
                    readings.drop(value)
                else:
                    of_gpus = self.as_info and carries(EntityKind.GPU, counter)
                    (info if of_gpus else found).append((counter.name, str(value)))
        return tuple(sorted(found)), tuple(sorted(info))

    def _is_lost(self, entity: Entity, readings: Readings) -> bool:
        return bool(readings.lost_gpus) and self.topology.gpu_id_of(entity) in readings.lost_gpus

    def _job_key(self, entity: Entity) -> str:
        if entity.kind in (EntityKind.GPU_INSTANCE, EntityKind.COMPUTE_INSTANCE):
            instance = self.topology.gpu_instance(self.topology.shown_entity(entity).id)
            return f"{instance.gpu_id}.{instance.instance_id}"
        return str(entity.id) if entity.kind is EntityKind.GPU else ""


def _render(labels: tuple[Label, ...], jobs: Sequence[str]) -> tuple[str, ...]:
    block = label_block(labels)
    if not jobs:
        return (block,)
    return tuple(f"{block},{label_block((('hpc_job', job),))}" for job in jobs)
