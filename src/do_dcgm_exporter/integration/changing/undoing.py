"""Put units back as they were: files and links, and what ran runs again.

The drop-in is hidden from systemd first and removed last. In between it is the record by
which a run that was killed is brought to its end. Nothing has to be written, so that a full
disk is no obstacle.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.running import Level, Means, in_parallel
from do_dcgm_exporter.integration.deciding.records import Foreign, Records, records_in, with_record
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.our_files import OLD_STATE, look_at_our_files, path_of
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.looking.units import log_of


def put_back(means: Means, records: Records, units: Iterable[str]) -> None:
    """Undo what the records say was done to units; every step may be repeated."""
    units = [unit for unit in units if put_files_back(means, records, unit)]
    if means.host.runs_systemd and units:
        means.reload()
        in_parallel([partial(_finish, means, records, unit) for unit in units])
    else:
        for unit in units:
            _forget(means, records, unit)


def put_files_back(means: Means, records: Records, unit: str) -> bool:
    """Hide the drop-in and make the links; return whether that worked."""
    ours, stopped = records.ours.get(unit), records.stopped.get(unit)
    if ours and not means.attempt(unit, files.withdraw, ours.text):
        return False
    return stopped is None or means.attempt(unit, files.enable, stopped)


def _finish(means: Means, records: Records, unit: str) -> None:
    if run_as_before(means, records, unit):
        means.tell(Level.INFO, f"{unit}: is as it was")


def run_as_before(means: Means, records: Records, unit: str) -> bool:
    """Have a unit whose files are back run if it did; return whether it does what it did."""
    runs = not _is_to_run(records, means.systemd.view(unit)) or _starts(means, unit)
    _forget(means, records, unit)
    return runs


def _starts(means: Means, unit: str) -> bool:
    if not means.may_restart(unit):
        return means.fail(f"{unit}: policy-rc.d forbids to restart it")
    try:
        means.ask(partial(means.systemd.restart, unit))
        means.sleep(means.settle_seconds)
        view = means.systemd.view(unit)
        if view.is_running:
            return True
        why = f"it ends at once: {log_of(means.host, view)}"
    except CommandFailed as error:
        why = str(error)
    return means.fail(f"{unit}: does not run as before: {why}")


def _is_to_run(records: Records, view: UnitView) -> bool:
    """Return whether a unit has to be started, or started anew, to be as it was.

    One that the admin has stopped meanwhile is left alone, and so is one that has not been
    started since it got its drop-in.
    """
    ours, stopped = records.ours.get(view.name), records.stopped.get(view.name)
    if not view.is_there:
        return False  # it is gone, or masked
    if ours and (view.is_running or view.is_in_trouble):
        ran_with_it = view.invocation != ours.record.invocation
        return ran_with_it and (ours.record.was_active or view.active_state != "failed")
    return stopped is not None and stopped.was_active and not view.is_running


def _forget(means: Means, records: Records, unit: str) -> None:
    """Remove the records: there is nothing to undo any more."""
    if ours := records.ours.get(unit):
        means.attempt(unit, files.remove, ours.record.made_folder)
    means.attempt(unit, files.forget)


def restore(means: Means) -> bool:
    """Undo everything; return whether nothing of ours is left. The caller holds the lock."""
    files.sweep(means.host)
    records = records_in(look_at_our_files(means.host))
    put_back(means, records, records.units)
    for unit in records.refused:
        means.attempt(unit, files.forget)
    _forget_old_state(means, records)
    left = [
        why.value.format(path_of(unit))
        for unit, why in records.foreign.items()
        if why is not Foreign.FORBIDDEN
    ]
    left += [f"{complaint}; what it was about stays as it is" for complaint in records.complaints]
    for sentence in left:
        means.tell(Level.WARNING, sentence)
    return not (left or means.failed)


def carry_over(means: Means, records: Records) -> bool:
    """Write down what version 0.1.0 remembered as we do; return whether there was anything."""
    if records.is_old:
        for unit, ours in records.ours.items():
            if not ours.withdrawn:
                files.install(means.host, unit, with_record(ours.text, ours.record))
        for unit, stopped in records.stopped.items():
            files.disable(means.host, unit, stopped)
        _forget_old_state(means, records)
    return records.is_old


def _forget_old_state(means: Means, records: Records) -> None:
    """Remove the state of version 0.1.0, unless only a person can undo what it says."""
    place = means.host.path(OLD_STATE)
    if records.by_hand:
        kept = place.replace(place.with_suffix(".0.1.0")).name
        why = f"how they were stands in {OLD_STATE.with_name(kept)}"
        means.tell(Level.WARNING, f"version 0.1.0 stopped {records.by_hand}, and they stay: {why}")
    elif records.is_old:
        place.unlink()
