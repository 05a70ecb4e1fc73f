"""Make the engine sample fields: groups, field groups and watches of one connection.

A connection has one watch per entity and field, so callers must put each field of an
entity into one watch only. Disconnecting ends all watches.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.bisection import split_off_culprits
from do_dcgm_exporter.dcgm.connection import FIELDS_PER_CALL, HostEngine
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused, GpuIsLost, ReturnCode

_log = logging.getLogger(__name__)

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, order=True)
class Retention:
    """How much the engine keeps of a watch: so many seconds or so many samples, if that is more."""

    seconds: float
    samples: int


# Enough for the latest value. Without a limit, the engine's memory would grow for ever.
LATEST_ONLY = Retention(0.0, 2)


@dataclass(slots=True)
class Watcher:
    """Starts watches on one connection.

    ``known`` and ``unknown`` are the fields the engine has been asked about, ``need_root`` those
    it refuses to watch because it does not run as root. ``missed`` are the entities on which
    some field is not watched; those among them that the engine called ``lost`` are not tried
    again. ``resting`` are lost GPUs and instances that are no longer sampled, ``ended`` single
    fields of others.
    """

    engine: HostEngine
    known: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    need_root: set[int] = field(default_factory=set)
    missed: set[Entity] = field(default_factory=set)
    lost: set[Entity] = field(default_factory=set)
    resting: set[Entity] = field(default_factory=set)
    ended: set[tuple[Entity, int]] = field(default_factory=set)

    def watch(
        self,
        entities: Sequence[Entity],
        field_ids: Sequence[int],
        interval: float,
        retention: Retention = LATEST_ONLY,
    ) -> list[Watch]:
        """Sample ``field_ids`` on ``entities`` every ``interval`` seconds.

        Fields that the engine does not know are added to ``unknown``. Fields that it refuses
        to watch on these entities will read as not watched.
        """
        unknown = self.unknown_of(field_ids)
        wanted = [field_id for field_id in field_ids if field_id not in unknown]
        present = [entity for entity in entities if entity not in self.lost]
        return [
            watch
            for some_entities in _chunks(present, self.engine.entities_per_call)
            for some_fields in _chunks(wanted, FIELDS_PER_CALL)
            for watch in self._watch_batch(some_entities, some_fields, interval, retention)
        ]

    def unknown_of(self, field_ids: Collection[int]) -> frozenset[int]:
        """Return which of ``field_ids`` the engine does not know, asking once about each."""
        # New fields have the highest ids: sorted, the unknown ones are adjacent, and found in
        # fewer attempts.
        new = sorted(set(field_ids) - self.known - self.unknown)
        for some in _chunks(new, FIELDS_PER_CALL):
            known, unknown = split_off_culprits(some, self._takes)
            self.known.update(known)
            self.unknown.update(unknown)
            if unknown:
                _log.info("fields unknown to this engine: %s", ", ".join(map(str, unknown)))
        return frozenset(self.unknown.intersection(field_ids))

    def rest(self, entities: Iterable[Entity], watches: Sequence[Watch]) -> None:
        """Stop sampling ``watches`` on ``entities``, which the driver has lost.

        Up to 4.4, the engine would log an error for each sample of a profiling field. Later
        releases log nothing, and take no lost GPU into a group.
        """
        chosen = set(entities) - self.resting
        if not chosen:
            return
        self.resting |= chosen
        self.missed.update(self._unwatch(chosen, watches))

    def keep_at_rest(self, watch: Watch) -> None:
        """Stop again what is resting, after ``watch`` was begun anew with all its entities."""
        if chosen := self.resting.intersection(watch.entities):
            self.missed.update(self._unwatch(chosen, [watch]))

    def end(self, entities: Iterable[Entity], field_id: int) -> None:
        """Stop sampling one field of some entities; its last values stay readable."""
        chosen = tuple(entity for entity in entities if (entity, field_id) not in self.ended)
        if not chosen:
            return
        try:
            field_group = self.engine.create_field_group([field_id])
            try:
                taken = self._unwatch(chosen, [Watch(None, field_group, chosen, (field_id,))])
                self.ended.update((entity, field_id) for entity in taken)
            finally:
                self.engine.destroy_field_group(field_group)
        except CallRefused as error:
            _log.info("field %d is still sampled in vain: %s", field_id, error)

    def release(self, watch: Watch) -> None:
        """Destroy the groups of ``watch``, which continues without them.

        An engine has 64 of each, for all its clients together.
        """
        self.engine.destroy_field_group(watch.field_group)
        self.engine.destroy_group(watch.group)

    def _unwatch(
        self, entities: Collection[Entity], watches: Iterable[Watch]
    ) -> tuple[Entity, ...]:
        """End ``watches`` on ``entities``; return those that the engine took into a group."""
        taken: tuple[Entity, ...] = ()
        try:
            group, taken = self.engine.create_group(sorted(entities))
            try:
                for watch in watches:
                    if not set(taken).isdisjoint(watch.entities):
                        self.engine.unwatch(replace(watch, group=group))
            finally:
                self.engine.destroy_group(group)
        except CallRefused as error:
            _log.info("what has no values is still sampled: %s", error)
        return taken

    def _watch_batch(
        self,
        entities: Sequence[Entity],
        field_ids: Sequence[int],
        interval: float,
        retention: Retention,
    ) -> list[Watch]:
        """Watch with as few groups as possible: before 4.5, one lost GPU fails its whole group.

        That is, unless somebody watches that GPU already (DcgmCacheManager.cpp, NvmlPreWatch).
        """
        watches: list[Watch] = []

        def works(some: Sequence[Entity]) -> bool:
            group, taken = self.engine.create_group(some)
            self.missed.update(set(some).difference(taken))
            try:
                watches.extend(self._watch_group(group, taken, field_ids, interval, retention))
            except GpuIsLost:
                self.engine.destroy_group(group)
                return False
            return True

        _, lost = split_off_culprits(entities, works)
        self.lost.update(lost)
        self.missed.update(lost)
        return watches

    def _watch_group(
        self,
        group: object,
        entities: tuple[Entity, ...],
        field_ids: Sequence[int],
        interval: float,
        retention: Retention,
    ) -> list[Watch]:
        watches: list[Watch] = []

        def works(some: Sequence[int]) -> bool:
            try:
                watches.append(self._start(group, entities, some, interval, retention))
            except GpuIsLost:
                raise
            except CallRefused as error:
                if len(some) == 1:
                    self._note_refusal(some[0], error)
                return False
            return True

        if entities:
            split_off_culprits(field_ids, works)
        return watches

    def _note_refusal(self, field_id: int, error: CallRefused) -> None:
        _log.info("field %d is not watched: %s", field_id, error)
        if error.code == ReturnCode.REQUIRES_ROOT:
            self.need_root.add(field_id)

    def _takes(self, field_ids: Sequence[int]) -> bool:
        """Return whether the engine knows all of ``field_ids``, and so can group them.

        This is asked before watching, so that many unknown fields leave no field groups behind.
        """
        try:
            self.engine.destroy_field_group(self.engine.create_field_group(field_ids))
        except CallRefused as error:
            # Known, only refused to an engine without root; watching them will say so.
            return error.code == ReturnCode.REQUIRES_ROOT
        return True

    def _start(
        self,
        group: object,
        entities: tuple[Entity, ...],
        field_ids: Sequence[int],
        interval: float,
        retention: Retention,
    ) -> Watch:
        field_group = self.engine.create_field_group(field_ids)
        watch = Watch(group, field_group, entities, tuple(field_ids))
        try:
            self.engine.watch(watch, interval, retention.seconds, retention.samples)
        except CallRefused:
            self.engine.destroy_field_group(field_group)
            raise
        return watch


def _chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
