"""Put units back as they were: files and links, and what ran runs again.

The drop-in is hidden from systemd first and removed last. In between it is the record by
which a run that was killed is brought to its end. Nothing has to be written, so that a full
disk is no obstacle.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.files import CannotChange
from do_dcgm_exporter.integration.changing.running import Level, Means, in_parallel
from do_dcgm_exporter.integration.deciding.records import Foreign, Records, records_in, with_record
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.our_files import OLD_STATE, look_at_our_files, path_of
from do_dcgm_exporter.integration.looking.systemd import UnitView


class Undoing:
    """Undoes what the records say; every step may be repeated."""

    def __init__(self, means: Means, records: Records) -> None:
        self._means = means
        self._host = means.host
        self._records = records
        self.failed: set[str] = set()

    def put_back(self, units: Iterable[str]) -> None:
        """Undo what was done to units."""
        units = [unit for unit in units if self.put_files_back(unit)]
        if self._host.runs_systemd and units:
            self._means.reload()
            in_parallel([partial(self._finish, unit) for unit in units])
        else:
            for unit in units:
                self._forget(unit)

    def put_files_back(self, unit: str) -> bool:
        """Hide the drop-in and make the links; return whether that worked."""
        try:
            if unit in self._records.ours:
                files.withdraw(self._host, unit, self._records.ours[unit].text)
            if unit in self._records.stopped:
                files.enable(self._host, unit, self._records.stopped[unit])
        except CannotChange as error:
            return self._fail(unit, str(error))
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
        means, unit = self._means, view.name
        if not self._is_to_run(view):
            return True
        if not means.may_restart(unit):
            return self._fail(unit, f"{unit}: policy-rc.d forbids to restart it")
        try:
            means.ask(partial(means.systemd.restart, unit))
            means.pace.sleep(means.settle_seconds)
            if means.systemd.view(unit).is_running:
                return True
            why = f"it ends at once: journalctl -u {unit}"
        except CommandFailed as error:
            why = str(error)
        return self._fail(unit, f"{unit}: does not run as before: {why}")

    def _is_to_run(self, view: UnitView) -> bool:
        """Whether a unit has to be started, or started anew, to be as it was.

        One that the admin has stopped meanwhile is left alone, and so is one that has not
        been started since it got its drop-in.
        """
        ours, stopped = self._records.ours.get(view.name), self._records.stopped.get(view.name)
        if not view.is_there:
            return False  # it is gone, or masked
        if ours and (view.is_running or view.is_in_trouble):
            ran_with_it = view.invocation != ours.record.invocation
            return ran_with_it and (ours.record.was_active or view.active_state != "failed")
        return stopped is not None and stopped.was_active and not view.is_running

    def _forget(self, unit: str) -> None:
        """Remove the records: there is nothing to undo any more."""
        try:
            if unit in self._records.ours:
                record = self._records.ours[unit].record
                files.remove(self._host, unit, with_folder=record.made_folder)
            files.forget(self._host, unit)
        except CannotChange as error:
            self._fail(unit, str(error))

    def _fail(self, unit: str, what: str) -> bool:
        self.failed.add(unit)
        self._means.tell(Level.WARNING, what)
        return False


def restore(means: Means) -> bool:
    """Undo everything; return whether nothing of ours is left. The caller holds the lock."""
    files.sweep(means.host)
    records = records_in(look_at_our_files(means.host))
    undoing = Undoing(means, records)
    undoing.put_back(records.units)
    for unit in records.refused:
        files.forget(means.host, unit)
    forget_old_state(means, records)
    left = [
        why.value.format(path_of(unit))
        for unit, why in records.foreign.items()
        if why is not Foreign.FORBIDDEN
    ]
    left += [f"{complaint}; what it was about stays as it is" for complaint in records.complaints]
    for sentence in left:
        means.tell(Level.WARNING, sentence)
    return not (left or undoing.failed)


def carry_over(means: Means, records: Records) -> bool:
    """Write down what version 0.1.0 remembered as we do; return whether there was anything."""
    if records.is_old:
        for unit, ours in records.ours.items():
            if not ours.withdrawn:
                files.install(means.host, unit, with_record(ours.text, ours.record))
        for unit, stopped in records.stopped.items():
            files.remember(means.host, unit, stopped)
        forget_old_state(means, records)
    return records.is_old


def forget_old_state(means: Means, records: Records) -> None:
    """Remove the state of version 0.1.0, unless only a person can undo what it says."""
    place = means.host.path(OLD_STATE)
    if records.by_hand:
        kept = place.replace(place.with_suffix(".0.1.0")).name
        why = f"how they were stands in {OLD_STATE.with_name(kept)}"
        means.tell(Level.WARNING, f"version 0.1.0 stopped {records.by_hand}, and they stay: {why}")
    elif records.is_old:
        place.unlink()
