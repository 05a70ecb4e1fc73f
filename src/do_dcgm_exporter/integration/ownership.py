"""Whose the drop-in of a unit is, by the record of what was written."""

from __future__ import annotations

from do_dcgm_exporter.integration import drop_in
from do_dcgm_exporter.integration.drop_in import Owner
from do_dcgm_exporter.integration.exporters import UnitExporter
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.state import State
from do_dcgm_exporter.settings import EngineAddress


def owner_of(host: Host, exporter: UnitExporter, known: State, engine: EngineAddress) -> Owner:
    """Say whose the drop-in on the disk is.

    One that says exactly what ours would is ours, should its record be lost.
    """
    record, command = known.units.get(exporter.name), exporter.command
    text = drop_in.text_for(exporter.view, command, str(engine)) if command else ""
    written = record.drop_in if record else None
    owner = drop_in.owner(host, exporter.name, written, text)
    if owner is Owner.NOBODY and written and record and record.settled:
        return Owner.DELETED
    return owner
