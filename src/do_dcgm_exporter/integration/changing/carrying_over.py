"""Carry over what version 0.1.0 remembered, once."""

from __future__ import annotations

from do_dcgm_exporter.integration.changing import drop_in_files, refusals, stopped_units
from do_dcgm_exporter.integration.changing.drop_in_files import CannotChange
from do_dcgm_exporter.integration.changing.means import Level, Means
from do_dcgm_exporter.integration.deciding.record import with_record
from do_dcgm_exporter.integration.deciding.records import Records
from do_dcgm_exporter.integration.looking.our_files import OLD_STATE


def carry_over(means: Means, records: Records) -> bool:
    """Write the old records where they belong now, and remove the old file last.

    Return whether there was anything to do.
    """
    if records.old is None:
        return False
    try:
        for unit, ours in records.ours.items():
            if ours.is_old:
                drop_in_files.install(means.host, unit, with_record(ours.text, ours.record))
        for unit, stopped in records.old.stopped.items():
            stopped_units.remember(means.host, unit, stopped)
    except CannotChange as error:
        means.tell(Level.WARNING, str(error))
        return True
    for unit, refusal in records.old.refused.items():
        refusals.remember(means.host, unit, refusal)
    forget_old_state(means, records)
    return True


def forget_old_state(means: Means, records: Records) -> None:
    """Remove the old file; what only a person can undo is said before."""
    if records.old is not None:
        for sentence in records.old.by_hand:
            means.tell(Level.WARNING, sentence)
        try:
            means.host.path(OLD_STATE).unlink(missing_ok=True)
        except OSError as error:
            means.tell(Level.WARNING, f"{OLD_STATE} cannot be removed: {error.strerror}")
