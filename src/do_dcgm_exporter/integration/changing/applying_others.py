"""What ``apply`` does about containers and the snap."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence

from do_dcgm_exporter.integration.changing import container_copy
from do_dcgm_exporter.integration.changing.container_work import Containers, why_not_recreated
from do_dcgm_exporter.integration.changing.snap_work import SnapWork
from do_dcgm_exporter.integration.changing.workshop import Level, Workshop
from do_dcgm_exporter.integration.host import COMMAND
from do_dcgm_exporter.integration.looking.commands import CommandFailed, is_installed
from do_dcgm_exporter.integration.looking.configuration import Choice
from do_dcgm_exporter.integration.looking.containers import (
    ENGINES,
    Container,
    find_containers,
    with_makers,
)
from do_dcgm_exporter.integration.looking.engine_probe import EngineAnswer
from do_dcgm_exporter.integration.looking.exporters import UnitExporter
from do_dcgm_exporter.integration.looking.processes import Processes, scan
from do_dcgm_exporter.integration.looking.snap import SNAP, Snap, find_snap


class ContainersAndSnap:
    """One run over both."""

    def __init__(
        self,
        workshop: Workshop,
        choice: Choice,
        ask: Callable[[], EngineAnswer],
        units: Sequence[UnitExporter],
        chosen_by: str,
    ) -> None:
        self._shop = workshop
        self._choice = choice
        self._ask = ask
        self._units = units
        self._chosen_by = chosen_by

    def apply(self, *, recreate: bool) -> bool:
        """Change what is to be changed; return whether nothing is left against the choice."""
        clean = self._apply_to_snap()
        work = Containers(self._shop)
        undone = work.interrupted()
        if self._choice is not Choice.REWRITE:
            undone = list(self._shop.state.containers.values())
        clean = work.put_back(undone) and clean
        for engine in ENGINES:
            clean = self._apply_to_containers(engine, work, recreate=recreate) and clean
        return clean or self._choice is Choice.LEAVE

    def plan(self, *, recreate: bool) -> Iterator[str]:
        """Say what would be changed, without changing anything."""
        for engine in ENGINES:
            for container in self._embedded(engine):
                yield f"container {container.name} ({engine}): {self._planned(container, recreate)}"
        if is_installed("snap"):
            snap = find_snap(self._shop.host, self._processes())
            if snap and snap.has_second_engine and self._choice is not Choice.LEAVE:
                yield f"snap {SNAP}: its engine would be stood down, if ours can be used"

    def _planned(self, container: Container, recreate: bool) -> str:
        why = why_not_recreated(container, self._shop.engine)
        if not why and recreate and self._choice is Choice.REWRITE:
            lines = container_copy.commands(container, self._shop.engine)
            return "would be recreated\n\n" + "\n".join(map(shlex.join, lines)) + "\n"
        return f"stays as it is ({why or 'recreated on request only'})"

    # Containers

    def _embedded(self, engine: str) -> list[Container]:
        if not is_installed(engine):
            return []
        found = find_containers(engine, self._shop.systemd, self._processes())
        units = {unit.name for unit in self._units}  # which are dealt with already
        return [
            one
            for one in with_makers(found, self._units)
            if one.has_embedded_engine and one.maker not in units
        ]

    def _apply_to_containers(self, engine: str, work: Containers, *, recreate: bool) -> bool:
        try:
            embedded = self._embedded(engine)
        except CommandFailed as error:
            self._shop.tell(Level.WARNING, f"containers cannot be looked at: {error}")
            return True  # that is no exporter; "check" says that it could not look
        changed = [self._apply_to_container(one, work, recreate) for one in embedded]
        return all(changed)

    def _apply_to_container(self, container: Container, work: Containers, recreate: bool) -> bool:
        why = why_not_recreated(container, self._shop.engine)
        if not why and recreate and self._choice is Choice.REWRITE:
            why = why_not_usable(self._ask(), container.library_major)
            if not why:
                return work.recreate(container)
        elif not why:
            why = f"{COMMAND} check tells how to recreate it, apply --recreate-containers does it"
        name = f"container {container.name} ({container.engine})"
        self._shop.tell(Level.WARNING, f"{name} keeps a DCGM of its own: {why}")
        return False

    # The snap

    def _apply_to_snap(self) -> bool:
        known = self._shop.state.snap
        if not (known or is_installed("snap")):
            return True
        try:
            snap = find_snap(self._shop.host, self._processes())
        except CommandFailed as error:
            self._shop.tell(Level.WARNING, f"the snap {SNAP} cannot be looked at: {error}")
            return True
        work = SnapWork(self._shop)
        if snap is None:
            if known:
                self._shop.state.snap = None
                self._shop.save()
            return True
        if known and (self._choice is Choice.LEAVE or not known.settled):
            work.put_back(known)
            if self._choice is not Choice.LEAVE:
                return self._apply_to_snap()
        return self._apply_to_second_engine(snap, work)

    def _apply_to_second_engine(self, snap: Snap, work: SnapWork) -> bool:
        if not snap.has_second_engine:
            return True
        if self._choice is Choice.STOP:
            return work.stop(snap)
        why = f"{self._chosen_by} is leave"
        if self._choice is Choice.REWRITE:
            why = why_not_usable(self._ask(), snap.library_major)
            if not why:
                return work.stand_down(snap)
        self._shop.tell(Level.WARNING, f"the snap {SNAP} keeps an engine of its own: {why}")
        return False

    def _processes(self) -> Processes:
        return scan(self._shop.host, self._shop.engine_port, with_engines=True)


def why_not_usable(engine: EngineAnswer, major: int) -> str:
    """Say why an exporter that speaks a major release cannot use an engine."""
    if not engine.answers:
        return f"the engine cannot be used: {engine.reason}"
    if not major:
        return "which DCGM it speaks is not known"
    if engine.major != major:
        return f"it speaks DCGM {major}, the engine is DCGM {engine.engine or 'of another release'}"
    return ""
