"""Put units back as they were: files and links, and what ran runs again.

The drop-in is hidden from systemd first and removed last. In between it is the record by
which a run that was killed is brought to its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from do_dcgm_exporter.integration.changing import drop_in_files, refusals, stopped_units
from do_dcgm_exporter.integration.changing.drop_in_files import CannotChange
from do_dcgm_exporter.integration.changing.means import Level, Means
from do_dcgm_exporter.integration.changing.parallel import in_parallel
from do_dcgm_exporter.integration.deciding.record import Record, StoppedUnit
from do_dcgm_exporter.integration.deciding.records import Records
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.systemd import UnitView


class Undoing:
    """Undoes what the records say; every step may be repeated."""

    def __init__(self, means: Means, records: Records) -> None:
        self._means = means
        self._host = means.host
        self._records = records
        self._failed: set[str] = set()

    def put_back(self, units: Iterable[str]) -> bool:
        """Undo what was done to units; return whether all of them are as before."""
        units = [unit for unit in units if self.put_files_back(unit)]
        if self._host.runs_systemd and units:
            self._means.reload()
            in_parallel([partial(self._finish, unit) for unit in units], self._means.pace)
        else:
            for unit in units:
                self._forget(unit)
                self._means.tell(Level.INFO, f"{unit}: its files are as they were")
        return not self._failed

    def put_files_back(self, unit: str) -> bool:
        """Hide the drop-in and make the links; return whether that worked."""
        try:
            if unit in self._records.ours:
                drop_in_files.withdraw(self._host, unit, self._records.ours[unit].text)
            if unit in self._records.stopped:
                stopped_units.enable(self._host, unit, self._records.stopped[unit])
        except CannotChange as error:
            self._fail(unit, str(error))
            return False
        return True

    def _finish(self, unit: str) -> None:
        if self.run_as_before(unit):
            self._means.tell(Level.INFO, f"{unit}: is as it was")

    def run_as_before(self, unit: str) -> bool:
        """Have a unit whose files are back run if it did; return whether it does what it did."""
        runs = self._is_back(self._means.systemd.view(unit))
        self._forget(unit)
        return runs

    def _is_back(self, view: UnitView) -> bool:
        ours, stopped = self._records.ours.get(view.name), self._records.stopped.get(view.name)
        if not _is_to_run(view, ours.record if ours else None, stopped):
            return True
        if not self._means.may_restart(view.name):
            return self._fail(view.name, f"{view.name}: policy-rc.d forbids to restart it")
        try:
            self._means.restart(view)
            self._means.pace.sleep(self._means.settle_seconds)
            if not self._means.systemd.view(view.name).is_running:
                why = f"it ends at once: journalctl -u {view.name}"
                return self._fail(view.name, f"{view.name}: does not run as before: {why}")
        except CommandFailed as error:
            return self._fail(view.name, f"{view.name}: does not start as before: {error}")
        return True

    def _forget(self, unit: str) -> None:
        """Remove the records: there is nothing to undo any more."""
        try:
            if unit in self._records.ours:
                record = self._records.ours[unit].record
                drop_in_files.remove(self._host, unit, with_folder=record.made_folder)
            stopped_units.forget(self._host, unit)
            refusals.forget(self._host, unit)
        except CannotChange as error:
            self._fail(unit, str(error))

    def _fail(self, unit: str, what: str) -> bool:
        self._failed.add(unit)
        self._means.tell(Level.WARNING, what)
        return False


def _is_to_run(view: UnitView, record: Record | None, stopped: StoppedUnit | None) -> bool:
    """Whether a unit has to be started, or started anew, to be as it was.

    One that the admin has stopped meanwhile is left alone, and so is one that has not been
    started since it got its drop-in.
    """
    if not view.is_there:
        return False  # it is gone, or masked
    if record is not None and (view.is_running or view.is_in_trouble):
        ran_with_it = view.invocation != record.invocation
        return ran_with_it and (record.was_active or view.active_state != "failed")
    return stopped is not None and stopped.was_active and not view.is_running
