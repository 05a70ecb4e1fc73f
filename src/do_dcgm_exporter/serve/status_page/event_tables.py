"""Draw the tables of XIDs and of NvSwitches."""

from __future__ import annotations

from do_dcgm_exporter.collect.machine import (
    FATAL_SXID,
    LINK_STATUS,
    OTHER_SXID,
    SWITCH_SLOWDOWN_TEMPERATURE,
    SWITCH_TEMPERATURE,
)
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.xid_texts import xid_text
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.diagnosis import Diagnosis, Severity
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.serve.status_page.markup import (
    NOTHING,
    headings,
    moment,
    sign,
    temperature,
    text,
)

_ACTIVE = 2  # field 870
_LINK_STATES = {-1: "unknown", 0: "off", 1: "safe", 2: "active", 3: "in error", 4: "inactive"}


def xid_table(view: View) -> str:
    """Return the table of the last XIDs, the newest first."""
    if not view.xids:
        return (
            "<section><h2>Driver errors (XIDs)</h2>"
            '<p class="quiet">None seen since the exporter started.</p></section>'
        )
    rows = "".join(
        f'<tr><th scope="row">{seen.xid}</th>'
        f"<td>{text(words.device_name(seen.entity, view.topology))}</td>"
        f'<td class="wide">{text(xid_text(seen.xid))}'
        f"{f' ({seen.total} times)' if seen.total > 1 else ''}</td>"
        f'<td class="wide">{moment(seen.timestamp / 1e6, view.now)}</td></tr>'
        for seen in view.xids
    )
    return (
        "<table><caption>Last driver errors (XIDs)</caption>"
        f"{headings('XID', 'Device', 'Meaning', 'Last seen')}<tbody>{rows}</tbody></table>"
    )


def switch_table(view: View, diagnosis: Diagnosis) -> str:
    """Return the table of NvSwitches; empty if there are none or they are not read."""
    switches = view.machine.roster.topology.switches
    if not any(key[0].kind is EntityKind.SWITCH for key in view.machine.values):
        return ""
    rows = "".join(_switch_row(view, diagnosis, switch) for switch in switches)
    return (
        "<table><caption>NvSwitches</caption>"
        f"{headings('Switch', 'Links', 'Temperature', 'Last SXid')}<tbody>{rows}</tbody></table>"
    )


def _switch_row(view: View, diagnosis: Diagnosis, switch_id: int) -> str:
    machine = view.machine
    switch = Entity(EntityKind.SWITCH, switch_id)
    state = diagnosis.by_device.get(switch, Severity.GOOD)
    heat = machine.number(switch, SWITCH_TEMPERATURE)
    limit = machine.number(switch, SWITCH_SLOWDOWN_TEMPERATURE)
    fatal, other = (machine.number(switch, field) for field in (FATAL_SXID, OTHER_SXID))
    errors = [f"{fatal} (fatal)"] * bool(fatal) + [f"{other}"] * bool(other)
    return (
        f'<tr><th scope="row">{sign(state)} NvSwitch {switch_id}</th>'
        f"<td>{_links(view, switch_id)}</td>"
        f"<td>{temperature(heat, limit)}</td>"
        f"<td>{', '.join(errors) or 'none'}</td></tr>"
    )


def _links(view: View, switch_id: int) -> str:
    links = [link for link in view.topology.links if link.switch_id == switch_id]
    states = [view.machine.number(Entity(EntityKind.LINK, link.id), LINK_STATUS) for link in links]
    counts = {state: states.count(state) for state in (_ACTIVE, 3, 1, 4, 0, -1)}
    told = [f"{count} {_LINK_STATES[state]}" for state, count in counts.items() if count]
    return ", ".join(told) or NOTHING
