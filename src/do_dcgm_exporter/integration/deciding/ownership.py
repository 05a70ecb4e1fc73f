"""Whose the drop-in of a unit is, by the record of what was written."""

from __future__ import annotations

from do_dcgm_exporter.integration.changing import drop_in
from do_dcgm_exporter.integration.changing.drop_in import Owner
from do_dcgm_exporter.integration.changing.state import UnitRecord
from do_dcgm_exporter.integration.host import Host


def owner_of(host: Host, unit: str, record: UnitRecord | None) -> Owner:
    """Say whose the drop-in on the disk is."""
    written = record.drop_in if record else None
    owner = drop_in.owner(host, unit, written)
    if owner is Owner.NOBODY and written and record and record.settled:
        return Owner.DELETED
    return owner
