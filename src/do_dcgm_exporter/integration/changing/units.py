"""Make units clients of the engine, or stop them: files, one reload, then all in parallel.

Every step looks at what is there and may be repeated. A record is saved before its files
change and marked as settled once its unit runs as it should.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from do_dcgm_exporter.integration.changing import drop_in
from do_dcgm_exporter.integration.changing.proof import Watched
from do_dcgm_exporter.integration.changing.state import Change, UnitRecord
from do_dcgm_exporter.integration.changing.unit_undo import UnitUndo
from do_dcgm_exporter.integration.changing.workshop import Level, Workshop, in_parallel
from do_dcgm_exporter.integration.deciding.plan import Decision, Goal
from do_dcgm_exporter.integration.looking import enablement
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.exporters import UnitExporter
from do_dcgm_exporter.integration.looking.systemd import UnitView


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
        self._undo = UnitUndo(workshop)
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
        self._undo.put_back((self._records[made.unit] for made in originals), keep_refusals=True)
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
        in_parallel([partial(self._finish, task, watched[task.unit]) for task in tasks])

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
            self._undo.remove_drop_in(record)
            enablement.remove(self._host, record.links)

    def _finish(self, task: _Task, watched: Watched) -> None:
        record = self._records[task.unit]
        if task.goal is Goal.REWRITTEN:
            self._make_client(task, record, watched)
        else:
            self._stop(record, task.view.triggered_by)

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
        obstacle = self._restart_as_client(task.view, watched)
        if obstacle:
            self._roll_back(record, obstacle, watched)
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

    def _restart_as_client(self, view: UnitView, watched: Watched) -> str:
        try:
            self._systemd.restart(view)
            return watched.wait()
        except CommandFailed as error:
            return str(error)

    def _roll_back(self, record: UnitRecord, obstacle: str, watched: Watched) -> None:
        refused = replace(record, change=Change.REFUSED, reason=obstacle, settled=False)
        self._shop.save_unit(refused)
        self._undo.put_files_back(refused)
        self._shop.reload()
        view = self._systemd.view(refused.unit)
        runs = self._undo.run_as_before(refused, view, changed=True)
        watched.wait_as_before()
        self._settle(replace(refused, drop_in=None, links=()))
        self._tell(
            Level.WARNING,
            f"{refused.unit}: {obstacle}; it was put back"
            f" {'and runs as before' if runs else 'but does not run'}, with a DCGM of its own."
            f" To stop it: systemctl disable --now {refused.unit}",
        )

    # Stopping

    def _stop(self, record: UnitRecord, triggers: tuple[str, ...]) -> None:
        if not self._shop.may_restart(record.unit):
            self._tell(Level.WARNING, f"{record.unit}: policy-rc.d forbids to stop it")
            return
        try:
            self._systemd.stop(record.unit)
        except CommandFailed as error:
            self._tell(Level.WARNING, f"{record.unit}: cannot be stopped: {error}")
            return  # not settled: the next run tries again
        self._settle(replace(record, drop_in=None))
        self._tell(Level.INFO, f"{record.unit}: is stopped and disabled")
        if triggers:
            names = " ".join(triggers)
            self._tell(
                Level.WARNING,
                f"{record.unit}: {names} may start it again: systemctl disable --now {names}",
            )

    def _settle(self, record: UnitRecord) -> None:
        self._shop.save_unit(replace(record, settled=True))
