"""Find what is wrong with GPUs and NvSwitches from their values and XIDs."""

from __future__ import annotations

from collections.abc import Iterator

from do_dcgm_exporter.collect.clock_log import events_in
from do_dcgm_exporter.collect.machine import (
    ENGINE_ACTIVE,
    FATAL_SXID,
    GPU_TEMPERATURE,
    GPU_UTILIZATION,
    LINK_RECOVERIES,
    LINK_STATUS,
    MEMORY_USED,
    OTHER_SXID,
    POWER,
    ROW_REMAP_FAILURE,
    SLOWDOWN_TEMPERATURE,
    SWITCH_SLOWDOWN_TEMPERATURE,
    SWITCH_TEMPERATURE,
    UNCORRECTABLE_ERRORS,
)
from do_dcgm_exporter.collect.plan import CLOCK_EVENTS_FIELD
from do_dcgm_exporter.collect.xid_log import SeenXid
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Gpu
from do_dcgm_exporter.dcgm.xid_texts import xid_text
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.clocks import holding_down
from do_dcgm_exporter.explain.diagnosis import Finding, Severity
from do_dcgm_exporter.explain.view import View

# XIDs after which a GPU must be reset or replaced at once, according to NVIDIA's Xid catalog.
# The others come from a program, report a repair, or can wait.
GRAVE_XIDS = frozenset(
    {46, 48, 54, 62, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, *range(143, 152), 155, 156, 158}
)
_RECENT = 15 * 60.0
# Nothing reports that a GPU was reset or replaced, so these are shown for a day.
_RECENT_GRAVE = 24 * 3600.0

_GPU_LOST_XID = 79
# °C below the slowdown temperature.
_NEAR_LIMIT = 3

# The clock events that people must know of. The others are how a GPU works.
THROTTLING = {
    "hw_thermal": "{is} slowed down by heat (hw_thermal)",
    "sw_thermal": "{is} slowed down by heat (sw_thermal)",
    "hw_power_brake": "{is} held down by the power brake of the machine (hw_power_brake)",
    "hw_slowdown": "{is} slowed down by the hardware (hw_slowdown)",
    "board_limit": "{is} held down by the voltage limit of the board (board_limit)",
    "reliability": "{is} held down by the reliability limit (reliability)",
}

_LINK_DOWN, _LINK_UP = 2, 3  # dcgmNvLinkLinkState_t
_SWITCH_LINK_ERROR = 3  # field 870

_WATCHED_FOR_AGE = (
    (GPU_TEMPERATURE, "temperature"),
    (POWER, "power"),
    (GPU_UTILIZATION, "utilization"),
    (ENGINE_ACTIVE, "utilization"),
    (MEMORY_USED, "memory use"),
    (CLOCK_EVENTS_FIELD, "clock events"),
)


def device_findings(view: View) -> Iterator[Finding]:
    """Yield what is wrong with devices, the gravest of each severity first."""
    yield from _lost(view)
    yield from _xids(view)
    for gpu in view.machine.roster.gpus:
        yield from _memory(view, gpu)
    yield from _links_down(view)
    yield from _switches(view)
    for gpu in view.machine.roster.gpus:
        yield from _throttling(view, gpu)
        yield from _heat(view, gpu)
        yield from _link_recoveries(view, gpu)
    yield from _stale(view)


def _lost(view: View) -> Iterator[Finding]:
    lost = view.machine.lost_gpus
    if lost and len(lost) == len(view.machine.roster.gpus) > 1:
        cause = next(_recent_grave(view), None)
        if cause is None:
            yield Finding(Severity.FAULT, view.page.health.reason)
        else:
            predicate = (
                f"reported {_named(cause)}, and the engine gets no answer about any GPU since:"
                " restart nvidia-dcgm"
            )
            yield Finding(Severity.FAULT, predicate, (cause.entity,))
        return
    for gpu_id in sorted(lost):
        device = Entity(EntityKind.GPU, gpu_id)
        seen = next((xid for xid in _recent_grave(view) if xid.entity == device), None)
        if seen is None:
            uuid = view.topology.gpu(gpu_id).uuid or "UUID not known"
            yield Finding(Severity.FAULT, "{is} lost to the driver", (device,), f" ({uuid})")
        elif seen.xid == _GPU_LOST_XID:
            ago = f" {words.ago(view.age(seen.timestamp))}"
            yield Finding(Severity.FAULT, "fell off the bus (XID 79)", (device,), ago)
        else:
            predicate = f"{{is}} lost to the driver after {_named(seen)}"
            yield Finding(Severity.FAULT, predicate, (device,))


def _xids(view: View) -> Iterator[Finding]:
    """Yield recent XIDs of GPUs that are present; for the others the loss was reported."""
    for seen in view.xids:
        gpu_id = view.topology.gpu_id_of(seen.entity)
        if gpu_id not in view.machine.lost_gpus and _is_news(view, seen):
            severity = Severity.FAULT if seen.xid in GRAVE_XIDS else Severity.WARNING
            device = view.topology.shown_entity(seen.entity)
            ago = f" {words.ago(view.age(seen.timestamp))}"
            yield Finding(severity, f"reported {_named(seen)}", (device,), ago)


def _recent_grave(view: View) -> Iterator[SeenXid]:
    """Return the XIDs that may explain a loss, the newest first."""
    return (seen for seen in view.xids if seen.xid in GRAVE_XIDS and _is_news(view, seen))


def _is_news(view: View, seen: SeenXid) -> bool:
    recent = _RECENT_GRAVE if seen.xid in GRAVE_XIDS else _RECENT
    return view.age(seen.timestamp) < recent


def _named(seen: SeenXid) -> str:
    return f"XID {seen.xid} ({xid_text(seen.xid)})"


def _memory(view: View, gpu: Gpu) -> Iterator[Finding]:
    if view.machine.number_of_gpu(gpu, ROW_REMAP_FAILURE):
        predicate = "{has} failed to remap a memory row: reset it, and replace it if that persists"
        yield Finding(Severity.FAULT, predicate, (gpu.entity,))
    errors = view.machine.number_of_gpu(gpu, UNCORRECTABLE_ERRORS)
    if errors:
        predicate = "{has} had uncorrectable ECC errors since the driver was loaded"
        detail = f" ({words.counted(int(errors), 'double bit error')})"
        yield Finding(Severity.FAULT, predicate, (gpu.entity,), detail)


def _links_down(view: View) -> Iterator[Finding]:
    """Yield GPUs with NVLinks down while others are up. If all are down, none is connected."""
    result = view.status.result
    states = result.nvlink_states if result else {}
    if _LINK_UP not in states.values():
        return
    down: dict[int, list[int]] = {}
    for (gpu_id, link), state in states.items():
        if state == _LINK_DOWN:
            down.setdefault(gpu_id, []).append(link)
    for gpu_id, links in sorted(down.items()):
        which = f"NVLink{'s' * (len(links) > 1)} {words.numbers(sorted(links))} down"
        yield Finding(Severity.FAULT, f"{{has}} {which}", (Entity(EntityKind.GPU, gpu_id),))


def _switches(view: View) -> Iterator[Finding]:
    machine, topology = view.machine, view.topology
    for link in topology.links:
        if machine.number(Entity(EntityKind.LINK, link.id), LINK_STATUS) == _SWITCH_LINK_ERROR:
            switch = Entity(EntityKind.SWITCH, link.switch_id)
            yield Finding(Severity.FAULT, f"{{has}} link {link.index} in error", (switch,))
    for switch_id in topology.switches:
        switch = Entity(EntityKind.SWITCH, switch_id)
        fatal, other = (machine.number(switch, field) for field in (FATAL_SXID, OTHER_SXID))
        if fatal:
            yield Finding(Severity.FAULT, f"reported the fatal SXid {fatal}", (switch,))
        if other:
            yield Finding(Severity.WARNING, f"reported SXid {other}", (switch,))
        temperature = machine.number(switch, SWITCH_TEMPERATURE)
        limit = machine.number(switch, SWITCH_SLOWDOWN_TEMPERATURE)
        if temperature is not None and limit and temperature >= limit - _NEAR_LIMIT:
            yield Finding(
                Severity.WARNING, _NEARLY_TOO_HOT, (switch,), _degrees(temperature, limit)
            )


_NEARLY_TOO_HOT = "{is} close to the slowdown temperature"


def _throttling(view: View, gpu: Gpu) -> Iterator[Finding]:
    mask = view.machine.number_of_gpu(gpu, CLOCK_EVENTS_FIELD)
    events = holding_down(int(mask or 0), is_busy=False)
    for event, predicate in THROTTLING.items():
        if event in events:
            yield Finding(Severity.WARNING, predicate, (gpu.entity,), _heat_of(view, gpu, event))


def _heat_of(view: View, gpu: Gpu, event: str) -> str:
    temperature = view.machine.number_of_gpu(gpu, GPU_TEMPERATURE)
    limit = view.machine.number_of_gpu(gpu, SLOWDOWN_TEMPERATURE)
    if "thermal" not in event or temperature is None or limit is None:
        return ""
    return _degrees(temperature, limit)


def _heat(view: View, gpu: Gpu) -> Iterator[Finding]:
    temperature = view.machine.number_of_gpu(gpu, GPU_TEMPERATURE)
    limit = view.machine.number_of_gpu(gpu, SLOWDOWN_TEMPERATURE)
    events = events_in(int(view.machine.number_of_gpu(gpu, CLOCK_EVENTS_FIELD) or 0))
    if any("thermal" in event for event in events):
        return  # it has slowed down already, which was reported
    if temperature is not None and limit and temperature >= limit - _NEAR_LIMIT:
        hot = "{has} reached the slowdown temperature"
        predicate = hot if temperature >= limit else _NEARLY_TOO_HOT
        detail = _degrees(temperature, limit)
        yield Finding(Severity.WARNING, predicate, (gpu.entity,), detail)


def _degrees(temperature: float, limit: float) -> str:
    return f", at {temperature:.0f} °C of {limit:.0f} °C"


def _link_recoveries(view: View, gpu: Gpu) -> Iterator[Finding]:
    recoveries = view.machine.number_of_gpu(gpu, LINK_RECOVERIES)
    if recoveries:
        predicate = "{has} an NVLink that had to recover since the driver was loaded"
        detail = f" ({words.counted(int(recoveries), 'recovery error')})"
        yield Finding(Severity.WARNING, predicate, (gpu.entity,), detail)


def tells_stale_devices(view: View) -> bool:
    """Return whether some device's stale value was reported."""
    return any(next(view.machine.stale(id_), None) for id_, _ in _WATCHED_FOR_AGE)


def _stale(view: View) -> Iterator[Finding]:
    told: set[tuple[str, Entity]] = set()
    for field_id, name in _WATCHED_FOR_AGE:
        for device in view.machine.stale(field_id):
            if (name, device) not in told:
                told.add((name, device))
                predicate = (
                    f"{{has}} no current {name}: the engine has not updated it for"
                    f" {view.machine.stale_after:g} s"
                )
                yield Finding(Severity.WARNING, predicate, (device,))
