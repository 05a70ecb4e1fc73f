"""Restore units: their files and links, and whether they run.

The drop-in is hidden from systemd first and removed last. In between it is the record from
which the next run completes one that was killed. Nothing has to be written, so a full disk
is no obstacle.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.running import Level, Means
from do_dcgm_exporter.integration.deciding.records import (
    DropIn,
    Foreign,
    Records,
    StoppedUnit,
    records_in,
)
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import CommandFailed, run
from do_dcgm_exporter.integration.looking.our_files import OLD_STATE, look_at_our_files, path_of
from do_dcgm_exporter.integration.looking.units import log_of

# Asks the machine's policy, which applies to maintainer scripts but not to an admin.
_MAY_ACT = "/usr/share/do-dcgm-exporter/bin/may-act"
_POLICY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Undoing:
    """A unit, and the records of what was changed. Every step may be repeated."""

    means: Means
    unit: str
    ours: DropIn | None
    stopped: StoppedUnit | None

    def write(self) -> None:
        """Hide the drop-in and restore the links. Raises CannotChange or OSError."""
        if self.ours:
            files.withdraw(self.means.host, self.unit, self.ours.text)
        if self.stopped:
            files.enable(self.means.host, self.unit, self.stopped)

    def run_as_before(self) -> bool:
        """Start the unit, whose files are restored, if it ran; return whether that worked."""
        runs = not self._is_to_run() or self._starts()
        self.forget()
        return runs

    def finish(self) -> None:
        """Make the unit run as before, now that the manager has read its files, and say so."""
        if self.run_as_before():
            self.means.tell(Level.INFO, f"{self.unit}: restored")

    def forget(self) -> None:
        """Remove the records, since there is nothing left to undo."""
        host, unit, attempt = self.means.host, self.unit, self.means.attempt
        if self.ours:
            attempt(unit, files.remove, host, unit, self.ours.record.made_folder)
        attempt(unit, files.forget, host, unit)

    def _is_to_run(self) -> bool:
        # Left alone if the admin has stopped it in the meantime, or if it has not been started
        # since it got its drop-in.
        view = systemd.view(self.unit)
        if not view.is_there:
            return False  # gone or masked
        if self.ours and (view.is_running or view.is_in_trouble):
            record = self.ours.record
            ran_with_it = view.invocation != record.invocation
            return ran_with_it and (record.was_active or view.active_state != "failed")
        return self.stopped is not None and self.stopped.was_active and not view.is_running

    def _starts(self) -> bool:
        means, unit = self.means, self.unit
        try:
            if is_run_by_dpkg():
                run(str(means.host.path(_MAY_ACT)), "restart", unit, timeout=_POLICY_SECONDS)
            systemd.restart(unit)
            means.sleep(means.settle_seconds)
            view = systemd.view(unit)
            if view.is_running:
                return True
            why = f"it exits at once: {log_of(means.host, view)}"
        except CommandFailed as error:
            why = error.reason
        return means.fail(f"{unit}: does not run as before: {why}")


def is_run_by_dpkg() -> bool:
    """Return whether a maintainer script runs us: dpkg(1), internal environment variables."""
    return "DPKG_MAINTSCRIPT_PACKAGE" in os.environ


def carry_out(means: Means, works: Sequence[Undoing]) -> bool:
    """Write the files of all units, then finish all in parallel; return whether there were any.

    Raises the first error, once all are done.
    """
    written = [one for one in works if means.attempt(one.unit, one.write)]
    if means.host.runs_systemd and written:
        means.reload()
        with ThreadPoolExecutor(len(written)) as pool:
            for started in [pool.submit(one.finish) for one in written]:
                started.result()
    else:
        for one in written:
            one.forget()
    return bool(written)


def restore(means: Means) -> None:
    """Undo everything, and report what cannot be undone. The caller holds the lock."""
    files.sweep(means.host)
    records = records_in(look_at_our_files(means.host))
    carry_out(means, [Undoing(means, unit, *records.of(unit)) for unit in records.units])
    files.forget_refusals(means.host)
    if not means.failed:
        _forget_old_state(means, records)
    for unit, why in records.foreign.items():
        if why is not Foreign.FORBIDDEN:
            means.fail(why.value.format(path_of(unit)))
    for complaint in records.complaints:
        means.fail(f"{complaint}; nothing it refers to is changed")


def carry_over(means: Means, records: Records) -> None:
    """Convert the records of version 0.1.0 to ours. Raises OSError, with nothing lost."""
    if records.is_old:
        for unit, stopped in records.stopped.items():
            files.disable(means.host, unit, stopped)
        _forget_old_state(means, records)


def _forget_old_state(means: Means, records: Records) -> None:
    """Remove the state of version 0.1.0, unless it lists changes that only a person can undo."""
    place = means.host.path(OLD_STATE)
    if records.by_hand:
        kept = place.replace(place.with_suffix(".0.1.0")).name
        why = f"how they were stands in {OLD_STATE.with_name(kept)}"
        means.tell(Level.WARNING, f"version 0.1.0 stopped {records.by_hand}, and they stay: {why}")
    elif records.is_old:
        place.unlink()
