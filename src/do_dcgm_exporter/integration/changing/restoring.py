"""``restore``: undo everything."""

from __future__ import annotations

from do_dcgm_exporter.integration.changing import drop_in_files, refusals
from do_dcgm_exporter.integration.changing.carrying_over import forget_old_state
from do_dcgm_exporter.integration.changing.drop_in_files import CannotChange
from do_dcgm_exporter.integration.changing.means import Level, Means
from do_dcgm_exporter.integration.changing.undoing import Undoing
from do_dcgm_exporter.integration.deciding.records import Owner, Records, hands_off, records_in
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files


def restore(means: Means) -> bool:
    """Undo what the records say; return whether nothing of ours is left.

    The caller holds the lock. Nothing is written, so that a full disk is no obstacle.
    """
    records = records_in(look_at_our_files(means.host))
    swept = _sweep(means)
    undone = Undoing(means, records).put_back(records.units)
    for unit in records.refused:
        refusals.forget(means.host, unit)
    forget_old_state(means, records)
    return not _name_what_stays(means, records) and undone and swept


def _sweep(means: Means) -> bool:
    try:
        drop_in_files.sweep(means.host)
    except CannotChange as error:
        means.tell(Level.WARNING, str(error))
        return False
    return True


def _name_what_stays(means: Means, records: Records) -> bool:
    """Name what is left of ours; return whether there is anything."""
    left = [
        hands_off(unit, drop_in)
        for unit, drop_in in records.drop_ins.items()
        if drop_in.owner in (Owner.ADMIN, Owner.NEWER)
    ]
    left += [f"{complaint}; what it was about stays as it is" for complaint in records.complaints]
    for sentence in left:
        means.tell(Level.WARNING, sentence)
    return bool(left)
