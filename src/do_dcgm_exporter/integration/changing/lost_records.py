"""Drop-ins of ours that no record speaks of: the state was lost, or cannot be read."""

from __future__ import annotations

import re

from do_dcgm_exporter.integration.changing import drop_in
from do_dcgm_exporter.integration.changing.drop_in import WrittenFile
from do_dcgm_exporter.integration.changing.state import Change, State, UnitRecord
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import Host

_ENGINE = re.compile(rf'^Environment="?{REMOTE_VARIABLE}=([^"\n]*)', re.MULTILINE)


def add_lost_records(host: Host, known: State) -> None:
    """Add a record for every unit that has a drop-in of ours and none.

    What the drop-in does not tell is taken for the usual: the exporter ran, and there was
    no directory of drop-ins.
    """
    for unit in drop_in.units_with_one(host):
        text = host.text(drop_in.path_of(unit))
        if unit not in known.units and drop_in.is_as_written(unit, text):
            engine = _ENGINE.search(text)
            known.units[unit] = UnitRecord(
                unit,
                Change.REWRITTEN,
                was_active=True,
                drop_in=WrittenFile(
                    drop_in.path_of(unit), drop_in.sha256(text), made_directory=True
                ),
                engine=engine[1] if engine else "",
                settled=True,
            )
