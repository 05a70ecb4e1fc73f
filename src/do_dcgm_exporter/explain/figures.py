"""Pick the figures that tell how a machine is: those of its only device, or sums and extremes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.collect.machine import (
    GPU_TEMPERATURE,
    MEMORY_TOTAL,
    MEMORY_USED,
    POWER,
    POWER_LIMIT,
    SLOWDOWN_TEMPERATURE,
    SM_CLOCK,
    utilization_field,
)
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.clocks import clocks_of
from do_dcgm_exporter.explain.view import View

# From this share of its limit on, a temperature is marked.
HOT = 0.95


@dataclass(frozen=True, slots=True)
class Figure:
    """A value of a ``metric`` with notes, and its share (0 to 1) of a limit if it has one."""

    name: str
    metric: str
    value: str
    notes: Sequence[str] = ()
    share: float | None = None
    warns: bool = False


@dataclass(frozen=True, slots=True)
class _Measured:
    """A value of a device or GPU, and its limit if it has one."""

    name: str
    value: float
    limit: float | None = None

    @property
    def share(self) -> float | None:
        return self.value / self.limit if self.limit else None


def figures(view: View) -> tuple[Figure, ...]:
    """Return the figures, none of what is not known."""
    makers = (_utilization, _memory, _temperature, _power, _clock, _links)
    return tuple(figure for make in makers for figure in make(view))


def _utilization(view: View) -> Iterator[Figure]:
    machine, topology = view.machine, view.topology
    known = [
        _Measured(words.device_name(device, topology), percent)
        for device in machine.roster.devices
        if (percent := machine.utilization(device)) is not None
    ]
    if not known:
        return
    busiest = max(known, key=_value)
    name, notes = "Utilization", list[str]()
    if len(known) > 1:
        average = sum(map(_value, known)) / len(known)
        name, notes = "Busiest", [busiest.name, f"{average:.0f} % on average"]
    metric = _metric(view, utilization_field(machine.roster.devices[0]))
    yield Figure(name, metric, f"{busiest.value:.0f} %", notes, busiest.value / 100)


def _memory(view: View) -> Iterator[Figure]:
    machine, topology = view.machine, view.topology
    known = [
        _Measured(words.device_name(device, topology), used, total)
        for device in machine.roster.devices
        if (used := machine.number(device, MEMORY_USED)) is not None
        and (total := machine.number(device, MEMORY_TOTAL))
    ]
    if not known:
        return
    used, total = sum(map(_value, known)), sum(one.limit or 0 for one in known)
    notes = [f"of {words.gibibytes(total)} GiB"]
    if len(known) > 1:
        fullest = max(known, key=_share)
        notes.append(f"fullest: {fullest.name}, {100 * _share(fullest):.0f} %")
    metric = _metric(view, MEMORY_USED)
    yield Figure("Memory", metric, f"{words.gibibytes(used)} GiB", notes, used / total)


def _temperature(view: View) -> Iterator[Figure]:
    known = _of_gpus(view, GPU_TEMPERATURE, SLOWDOWN_TEMPERATURE)
    if not known:
        return
    hottest = max(known, key=_value)
    notes = [hottest.name] if len(known) > 1 else []
    if hottest.limit:
        notes.append(f"slows down at {hottest.limit:.0f} °C")
    name, metric = "Hottest" if len(known) > 1 else "Temperature", _metric(view, GPU_TEMPERATURE)
    share = hottest.share
    warns = share is not None and share >= HOT
    yield Figure(name, metric, f"{hottest.value:.0f} °C", notes, share, warns)


def _power(view: View) -> Iterator[Figure]:
    known = _of_gpus(view, POWER, POWER_LIMIT)
    if not known:
        return
    drawn, limits = sum(map(_value, known)), [one.limit for one in known if one.limit]
    limit = sum(limits) if len(limits) == len(known) else None
    notes = [f"of {words.watts(limit)}"] if limit else []
    if len(known) > 1:
        most = max(known, key=_value)
        notes.append(f"most: {most.name}, {most.value:.0f} W")
    share = drawn / limit if limit else None
    yield Figure("Power", _metric(view, POWER), words.watts(drawn), notes, share)


def _clock(view: View) -> Iterator[Figure]:
    """Yield the clock of the slowest GPU that works, or of the only one."""
    machine = view.machine
    parts = {gpu.id: machine.roster.parts.get(gpu.id, ()) for gpu in machine.roster.gpus}
    is_alone = len(parts) == 1
    known = [
        (clocks.megahertz, gpu_id, clocks)
        for gpu_id, devices in parts.items()
        if (clocks := clocks_of(machine, devices)).megahertz is not None
        and (is_alone or any(machine.utilization(device) for device in devices))
    ]
    if not known:
        return
    _, gpu_id, clocks = min(known, key=lambda one: one[:2])
    notes = [] if is_alone else [f"GPU {gpu_id}"]
    if clocks.events is not None:
        notes.append(clocks.reason or "nothing holds it down")
    name = "Clock" if is_alone else "Slowest clock"
    yield Figure(name, _metric(view, SM_CLOCK), clocks.speed, notes)


def _links(view: View) -> Iterator[Figure]:
    """Yield the NVLinks of the only GPU; those of several are in the table."""
    result = view.status.result
    states = list(result.nvlink_states.values()) if result else []
    if states and len(view.machine.roster.gpus) == 1:
        yield Figure("NVLinks", "do_dcgm_exporter_nvlink_state", words.link_states(states))


def _metric(view: View, field_id: int) -> str:
    return view.machine.roster.metrics.get(field_id, "")


def _of_gpus(view: View, field_id: int, limit_id: int) -> list[_Measured]:
    machine = view.machine
    return [
        _Measured(f"GPU {gpu.id}", value, machine.number_of_gpu(gpu, limit_id))
        for gpu in machine.roster.gpus
        if (value := machine.number_of_gpu(gpu, field_id)) is not None
    ]


def _value(measured: _Measured) -> float:
    return measured.value


def _share(measured: _Measured) -> float:
    return measured.share or 0.0
