"""``status``: what is changed on this machine now."""

from __future__ import annotations

import json
from dataclasses import asdict

from do_dcgm_exporter.integration.changing import drop_in, state
from do_dcgm_exporter.integration.changing.drop_in import Owner
from do_dcgm_exporter.integration.changing.state import Change, State, UnitRecord
from do_dcgm_exporter.integration.host import COMMAND, Host
from do_dcgm_exporter.output import write

_WORDS = {
    Change.REWRITTEN: "is a client of {engine}, by {path}",
    Change.STOPPED: "is stopped and disabled",
    Change.REFUSED: "was put back, for it did not come back as a client: {reason}",
}


def status(host: Host, *, as_json: bool) -> int:
    """Print what is changed."""
    known = state.load(host)
    if as_json:
        write(json.dumps(_data(known), indent=2) + "\n")
        return 0
    lines = [_unit_line(host, record) for record in known.units.values()]
    lines += [
        f"container {record.name} ({record.engine}): was recreated; the old one is {record.kept_as}"
        for record in known.containers.values()
    ]
    if known.snap:
        lines.append("snap dcgm: its engine is stood down")
    write("\n".join(lines or ["nothing is changed"]) + "\n")
    return 0


def _unit_line(host: Host, record: UnitRecord) -> str:
    path = record.drop_in.path if record.drop_in else ""
    words = _WORDS[record.change].format(engine=record.engine, path=path, reason=record.reason)
    if not record.settled:
        words += f" - interrupted, run {COMMAND} apply or restore"
    elif record.drop_in:
        owner = drop_in.owner(host, record.unit, record.drop_in)
        if owner is not Owner.OURS:
            words += f" - which is {owner.value} now"
    return f"{record.unit}: {words}"


def _data(known: State) -> dict[str, object]:
    return {
        "units": [{**asdict(r), "change": r.change.value} for r in known.units.values()],
        "containers": [asdict(record) for record in known.containers.values()],
        "snap": asdict(known.snap) if known.snap else None,
    }
