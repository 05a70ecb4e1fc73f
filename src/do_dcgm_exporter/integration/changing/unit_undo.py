"""Put units back as they were: files and links, and what ran runs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from do_dcgm_exporter.integration.changing import drop_in
from do_dcgm_exporter.integration.changing.state import Change, UnitRecord
from do_dcgm_exporter.integration.changing.workshop import Level, Workshop, in_parallel
from do_dcgm_exporter.integration.looking import enablement
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.systemd import UnitView


class UnitUndo:
    """Undoes what records say; every step may be repeated."""

    def __init__(self, workshop: Workshop) -> None:
        self._shop = workshop
        self._host = workshop.host
        self._systemd = workshop.systemd
        self._tell = workshop.tell
        self._records = workshop.state.units

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
        changed = {record.unit: self.put_files_back(record) for record in undone}
        if not self._host.runs_systemd:
            for record in undone:
                self._forget(record, f"{record.unit}: its files are as they were")
            return
        self._systemd.reload()
        in_parallel(
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
        runs = self.run_as_before(record, view, changed=changed)
        if keep_refusals and record.change is Change.REFUSED:
            self._shop.save_unit(replace(record, drop_in=None, links=(), settled=True))
        else:
            self._forget(record, f"{record.unit}: is as it was" if runs and changed else "")

    def put_files_back(self, record: UnitRecord) -> bool:
        """Remove the drop-in, make the links; return whether the unit has to be restarted."""
        changed = self.remove_drop_in(record)
        if self._unit_file_exists(record):
            enablement.put_back(self._host, record.links)
        return changed or not record.settled

    def remove_drop_in(self, record: UnitRecord) -> bool:
        """Remove the drop-in unless it was edited; return whether there was one to remove."""
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

    def run_as_before(self, record: UnitRecord, view: UnitView, *, changed: bool) -> bool:
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
            self._systemd.restart(view)
        except CommandFailed as error:
            self._tell(Level.WARNING, f"{unit}: does not start as it did before: {error}")
            return False
        return True

    def _forget(self, record: UnitRecord, message: str) -> None:
        self._shop.forget_unit(record.unit)
        if message:
            self._tell(Level.INFO, message)


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
