"""Bring units to what was decided, and back: files, one reload, then each unit in parallel.

Every step looks at what is there and may be repeated. A record is saved before its files
change and marked as settled once its unit runs as it should.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration import drop_in, enablement, state
from do_dcgm_exporter.integration.commands import CommandFailed
from do_dcgm_exporter.integration.exporters import UnitExporter
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.plan import Decision, Goal
from do_dcgm_exporter.integration.proof import SHORTEST_WAIT, Watched
from do_dcgm_exporter.integration.state import Change, State, UnitRecord
from do_dcgm_exporter.integration.systemd import Systemd, UnitView


class Level(Enum):
    """How important a message is."""

    INFO = "info"
    WARNING = "warning"


Tell = Callable[[Level, str], None]
MayRestart = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all work on units needs."""

    host: Host
    systemd: Systemd
    state: State
    tell: Tell
    engine: str = "localhost:5555"
    engine_port: int = 5555
    may_restart: MayRestart = lambda _: True
    shortest_wait: float = SHORTEST_WAIT

    def save(self) -> None:
        """Save the state."""
        state.save(self.host, self.state)


@dataclass(frozen=True, slots=True)
class _Task:
    """One unit on its way from what the record ``before`` says to a goal."""

    exporter: UnitExporter
    goal: Goal
    before: UnitRecord | None
    text: str

    @property
    def unit(self) -> str:
        return self.exporter.name

    @property
    def view(self) -> UnitView:
        return self.exporter.view


class Units:
    """Changes units, several at once."""

    def __init__(self, workshop: Workshop) -> None:
        self._shop = workshop
        self._host = workshop.host
        self._systemd = workshop.systemd
        self._tell = workshop.tell
        self._records = workshop.state.units
        self._mutex = threading.Lock()
        # Units that are clients and whose drop-in is off the disk for a moment.
        self._withdrawn: set[str] = set()

    # What is decided

    def withdraw(self, units: Iterable[str]) -> None:
        """Take drop-ins off the disk for a moment, to see the units as they are without."""
        withdrawn = [record for unit in units if (record := self._records[unit]).drop_in]
        if not withdrawn:
            return
        self._withdrawn = {record.unit for record in withdrawn if record.settled}
        for record in withdrawn:
            self._records[record.unit] = replace(record, settled=False)
        self._shop.save()
        for record in withdrawn:
            if record.drop_in:
                # Its directory stays: it is needed again, or removed at the end.
                drop_in.remove(self._host, replace(record.drop_in, made_directory=False))
        self._systemd.reload()

    def carry_out(
        self, decisions: Iterable[Decision], exporters: Mapping[str, UnitExporter]
    ) -> None:
        """Bring every unit to its goal."""
        decided = [made for made in decisions if self._needs_work(made, exporters[made.unit].view)]
        originals = [made for made in decided if made.goal is Goal.ORIGINAL]
        self.put_back((self._records[made.unit] for made in originals), keep_refusals=True)
        tasks = [
            _Task(exporters[made.unit], made.goal, self._records.get(made.unit), made.text)
            for made in decided
            if made.goal is not Goal.ORIGINAL
        ]
        if not tasks:
            return
        watched = {task.unit: self._watch(task) for task in tasks}
        for task in tasks:
            self._records[task.unit] = self._record_of(task)
        self._shop.save()
        for task in tasks:
            self._change_files(task)
        self._systemd.reload()
        _in_parallel([partial(self._finish, task, watched[task.unit]) for task in tasks])

    def _needs_work(self, made: Decision, view: UnitView) -> bool:
        record = self._records.get(made.unit)
        if made.goal is Goal.REWRITTEN:
            return bool(made.text)
        if made.goal is Goal.ORIGINAL:
            return record is not None
        if made.goal is Goal.UNTOUCHED:
            return False
        begun = record is not None and (record.change is Change.REWRITTEN or not record.settled)
        return begun or view.is_running or any(enablement.links_of(self._host, made.unit))

    def _watch(self, task: _Task) -> Watched:
        watched = Watched(
            self._host,
            self._systemd,
            task.exporter,
            self._shop.engine_port,
            shortest_wait=self._shop.shortest_wait,
        )
        if task.goal is Goal.REWRITTEN and task.view.is_running:
            watched.note()
        return watched

    def _record_of(self, task: _Task) -> UnitRecord:
        """Return what will be true of a unit, with all that is needed to undo it."""
        before, unit, view = task.before, task.unit, task.view
        was_active = view.is_running
        if before and (before.change is Change.STOPPED or not before.settled):
            was_active = before.was_active or was_active
        links = before.links if before else ()
        written = before.drop_in if before else None
        if task.goal is Goal.REWRITTEN:
            made = written.made_directory if written else False
            written = drop_in.announce(self._host, unit, task.text)
            written = replace(written, made_directory=written.made_directory or made)
        else:
            links = tuple(dict.fromkeys([*links, *enablement.links_of(self._host, unit)]))
        return UnitRecord(
            unit,
            Change.REWRITTEN if task.goal is Goal.REWRITTEN else Change.STOPPED,
            was_active,
            before.file_state if before else view.file_state,
            written,
            links,
            task.exporter.source,
            self._shop.engine,
        )

    def _change_files(self, task: _Task) -> None:
        record = self._records[task.unit]
        if task.goal is Goal.REWRITTEN and record.drop_in:
            enablement.put_back(self._host, record.links)
            drop_in.write(self._host, record.drop_in, task.text)
        else:
            self._remove_drop_in(record)
            enablement.remove(self._host, record.links)

    def _finish(self, task: _Task, watched: Watched) -> None:
        record = self._records[task.unit]
        if task.goal is Goal.REWRITTEN:
            self._make_client(task, record, watched)
        else:
            self._stop(record)

    # Clients

    def _make_client(self, task: _Task, record: UnitRecord, watched: Watched) -> None:
        unit, engine = record.unit, self._shop.engine
        if not (task.view.is_running or record.was_active):
            self._settle(replace(record, links=()))
            self._tell(Level.INFO, f"{unit}: will be a client of {engine} when it is started")
            return
        if self._has_not_changed(task, record) and (
            unit in self._withdrawn or self._is_back(watched)
        ):
            self._settle(replace(record, links=()))
            return
        if not self._shop.may_restart(unit):
            self._settle(replace(record, links=()))
            self._tell(
                Level.WARNING,
                f"{unit}: a client of {engine} from its next start on, for policy-rc.d"
                f" forbids to restart it: systemctl restart {unit}",
            )
            return
        obstacle = self._restart_as_client(unit, watched)
        if obstacle:
            self._roll_back(record, obstacle)
            return
        self._settle(replace(record, links=()))
        self._tell(Level.INFO, f"{unit}: is a client of {engine} now")

    def _has_not_changed(self, task: _Task, record: UnitRecord) -> bool:
        before = task.before.drop_in if task.before else None
        now = record.drop_in
        return before is not None and now is not None and before.sha256 == now.sha256

    def _is_back(self, watched: Watched) -> bool:
        try:
            return watched.is_back()
        except CommandFailed:
            return False  # restarting it will tell more

    def _restart_as_client(self, unit: str, watched: Watched) -> str:
        try:
            self._systemd.restart(unit)
            return watched.wait()
        except CommandFailed as error:
            return str(error)

    def _roll_back(self, record: UnitRecord, obstacle: str) -> None:
        refused = replace(record, change=Change.REFUSED, reason=obstacle, settled=False)
        self._save(refused)
        self._put_files_back(refused)
        self._reload()
        view = self._systemd.view(refused.unit)
        runs = self._run_as_before(refused, view, changed=True)
        self._settle(replace(refused, drop_in=None, links=()))
        self._tell(
            Level.WARNING,
            f"{refused.unit}: {obstacle}; it was put back"
            f" {'and runs as before' if runs else 'but does not run'}, with a DCGM of its own."
            f" To stop it: systemctl disable --now {refused.unit}",
        )

    # Stopping

    def _stop(self, record: UnitRecord) -> None:
        try:
            self._systemd.stop(record.unit)
        except CommandFailed as error:
            self._tell(Level.WARNING, f"{record.unit}: cannot be stopped: {error}")
            return  # not settled: the next run tries again
        self._settle(replace(record, drop_in=None))
        self._tell(Level.INFO, f"{record.unit}: is stopped and disabled")

    # Putting back

    def put_back(self, records: Iterable[UnitRecord], *, keep_refusals: bool = False) -> None:
        """Undo records: files and links as before, and what ran runs as before.

        That an exporter refused to be a client may be kept in mind.
        """
        undone = list(records)
        if not undone:
            return
        for record in undone:
            self._records[record.unit] = replace(record, settled=False)
        self._shop.save()
        changed = {record.unit: self._put_files_back(record) for record in undone}
        if not self._host.runs_systemd:
            for record in undone:
                self._forget(record, f"{record.unit}: its files are as they were")
            return
        self._systemd.reload()
        _in_parallel(
            [
                partial(self._finish_undo, record, changed[record.unit], keep_refusals)
                for record in undone
            ]
        )

    def _finish_undo(self, record: UnitRecord, changed: bool, keep_refusals: bool) -> None:
        view = self._systemd.view(record.unit)
        if not (view.is_there or view.is_masked):
            self._forget(record, f"{record.unit} is gone: what was changed of it is dropped")
            return
        runs = self._run_as_before(record, view, changed=changed)
        if keep_refusals and record.change is Change.REFUSED:
            self._settle(replace(record, drop_in=None, links=()))
        else:
            self._forget(record, f"{record.unit}: is as it was" if runs and changed else "")

    def _put_files_back(self, record: UnitRecord) -> bool:
        """Remove the drop-in, make the links; return whether the unit has to be restarted."""
        changed = self._remove_drop_in(record)
        if self._unit_file_exists(record):
            enablement.put_back(self._host, record.links)
        return changed or not record.settled

    def _remove_drop_in(self, record: UnitRecord) -> bool:
        if record.drop_in is None:
            return False
        was_there = self._host.path(record.drop_in.path).exists()
        if drop_in.remove(self._host, record.drop_in):
            return was_there
        self._tell(
            Level.WARNING, f"{record.drop_in.path} is not as it was written: it is yours and stays"
        )
        return False

    def _unit_file_exists(self, record: UnitRecord) -> bool:
        """Whether links to the unit's file lead anywhere; those of a removed one stay removed."""
        return any(
            self._host.path(_absolute(path, target)).exists() for path, target in record.links
        )

    def _run_as_before(self, record: UnitRecord, view: UnitView, *, changed: bool) -> bool:
        """Have a unit run if it did; return whether it does what it did."""
        if view.is_masked or not _ran(record, view):
            return True
        if view.is_running and not changed:
            return True
        unit = record.unit
        if not self._shop.may_restart(unit):
            self._tell(Level.WARNING, f"{unit}: policy-rc.d forbids to restart it")
            return False
        try:
            self._systemd.restart(unit)
        except CommandFailed as error:
            self._tell(Level.WARNING, f"{unit}: does not start as it did before: {error}")
            return False
        return True

    # Records

    def _settle(self, record: UnitRecord) -> None:
        self._save(replace(record, settled=True))

    def _save(self, record: UnitRecord) -> None:
        with self._mutex:
            self._records[record.unit] = record
            self._shop.save()

    def _forget(self, record: UnitRecord, message: str) -> None:
        with self._mutex:
            self._records.pop(record.unit, None)
            self._shop.save()
        if message:
            self._tell(Level.INFO, message)

    def _reload(self) -> None:
        with self._mutex:
            self._systemd.reload()


def _ran(record: UnitRecord, view: UnitView) -> bool:
    """Whether a unit shall run when it is put back.

    One that the admin has stopped meanwhile is left alone.
    """
    if view.is_running or view.sub_state == "auto-restart":
        return True
    interrupted = record.change is Change.STOPPED or not record.settled
    return record.was_active and (interrupted or view.active_state == "failed")


def _absolute(path: str, target: str) -> str:
    return os.path.normpath(os.path.join(os.path.dirname(path), target))


def _in_parallel(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs at once and wait for all; raises the first error, once all have ended."""
    errors: list[ExporterError] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except ExporterError as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
