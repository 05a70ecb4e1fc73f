"""Draw the table of GPUs, with their instances in a grid."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Sequence

from do_dcgm_exporter.collect.machine import (
    ENGINE_ACTIVE,
    GPU_TEMPERATURE,
    GPU_UTILIZATION,
    MEMORY_TOTAL,
    MEMORY_USED,
    POWER,
    POWER_LIMIT,
    SLOWDOWN_TEMPERATURE,
    SM_CLOCK,
)
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Gpu
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.clocks import clocks_of
from do_dcgm_exporter.explain.device_findings import THROTTLING
from do_dcgm_exporter.explain.diagnosis import Diagnosis, Severity
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.serve.status_page.instance_grid import InstanceGrid
from do_dcgm_exporter.serve.status_page.markup import (
    CLASSES,
    NOTHING,
    bar,
    heading,
    measure,
    metric,
    sign,
    temperature,
    text,
)
from do_dcgm_exporter.serve.status_page.sparkline import Sparklines, axis


class DeviceTable:
    """Draws a row per GPU."""

    def __init__(self, view: View, diagnosis: Diagnosis, lines: Sparklines) -> None:
        self._view = view
        self._machine = view.machine
        self._diagnosis = diagnosis
        self._lines = lines
        self._grid = InstanceGrid(view, diagnosis, lines)
        # If all GPUs are alike, the head of the page names their model.
        self._has_models = len({gpu.model for gpu in self._machine.roster.gpus}) > 1
        result = view.status.result
        self._links = result.nvlink_states if result else {}
        devices = self._machine.roster.devices
        # A whole GPU's utilization and memory have a column each, instances have one for both.
        self._columns_of_use = 2 if any(d.kind is EntityKind.GPU for d in devices) else 1

    def html(self) -> str:
        """Return the whole table."""
        rows = "".join(map(self._row, self._machine.roster.gpus))
        return (
            f'<table class="devices"><caption>GPUs</caption>{self._head()}'
            f"<tbody>{rows}</tbody></table>"
        )

    def _head(self) -> str:
        cells = heading("GPU") + self._heading_of_use() + "".join(map(heading, self._columns()))
        return f"<thead><tr>{cells}</tr></thead>"

    def _heading_of_use(self) -> str:
        roster = self._machine.roster
        memory = metric("Memory", roster.metrics.get(MEMORY_USED))
        if self._columns_of_use == 2:
            use = metric("Utilization", roster.metrics.get(GPU_UTILIZATION))
            return heading(use + axis(self._lines)) + heading(memory)
        use = metric("Utilization", roster.metrics.get(ENGINE_ACTIVE))
        span = f'<i aria-hidden="true" data-at=" over {self._lines.minutes}"></i>'
        return heading(f"Instances: {use}{span}, {memory}")

    def _columns(self) -> Iterator[str]:
        """Yield the headings of what a GPU has once."""
        names = self._machine.roster.metrics
        yield metric("Temperature", names.get(GPU_TEMPERATURE))
        yield metric("Power", names.get(POWER))
        yield metric("Clock", names.get(SM_CLOCK))
        if self._links:
            yield metric("NVLinks", "do_dcgm_exporter_nvlink_state")

    def _row(self, gpu: Gpu) -> str:
        parts = self._machine.roster.parts.get(gpu.id, ())
        instances = [part for part in parts if part.kind is EntityKind.GPU_INSTANCE]
        state = self._diagnosis.by_device.get(gpu.entity, Severity.GOOD)
        kinds = " ".join([CLASSES[state]] + ["cut"] * (gpu.entity not in parts))
        head = f'<tr class="{kinds}">{self._name(gpu, state, instances)}'
        if gpu.id in self._machine.lost_gpus:
            columns = self._columns_of_use + len(tuple(self._columns()))
            return f'{head}<td class="lost" colspan="{columns}">lost to the driver</td></tr>'
        if gpu.entity in parts:
            use = self._use(gpu.entity, f"GPU {gpu.id}") + self._memory(gpu.entity)
        else:
            span = self._columns_of_use
            use = f'<td class="parts" colspan="{span}">{self._parts(instances)}</td>'
        return f"{head}{use}{self._of_board(gpu, parts)}</tr>"

    def _parts(self, instances: Sequence[Entity]) -> str:
        # Without instances only compute instances are selected, which the page does not show.
        return self._grid.of(instances) or '<span class="quiet">compute instances</span>'

    def _name(self, gpu: Gpu, state: Severity, instances: Sequence[Entity]) -> str:
        model = f' <span class="quiet">{text(gpu.model)}</span>' if self._has_models else ""
        topology = self._view.topology
        profiles = Tally(topology.gpu_instance(instance.id).profile for instance in instances)
        cut = ", ".join(f"{count} × {text(profile)}" for profile, count in profiles.items())
        return (
            f'<th scope="row" title="{text(gpu.uuid)} at {text(gpu.pci_bus_id)}">'
            f"{sign(state)} GPU {gpu.id}{model}"
            f"{f' <small>{cut}</small>' if cut else ''}</th>"
        )

    def _of_board(self, gpu: Gpu, parts: Sequence[Entity]) -> str:
        """Return the cells that a GPU has once, however it is partitioned."""
        heat, slowdown, power, limit = (
            self._machine.number_of_gpu(gpu, field_id)
            for field_id in (GPU_TEMPERATURE, SLOWDOWN_TEMPERATURE, POWER, POWER_LIMIT)
        )
        cells = (
            f'<td class="temperature">{temperature(heat, slowdown)}</td>'
            f'<td class="power">{measure(power, limit, "W")}</td>'
            f'<td class="clock">{self._clock(parts)}</td>'
        )
        if not self._links:
            return cells
        states = [state for (gpu_id, _), state in self._links.items() if gpu_id == gpu.id]
        return f'{cells}<td class="links">{words.link_states(states) or NOTHING}</td>'

    def _clock(self, parts: Sequence[Entity]) -> str:
        clocks = clocks_of(self._machine, parts)
        if not clocks.reason:
            return clocks.speed or NOTHING
        kind = "quiet" if THROTTLING.keys().isdisjoint(clocks.events or ()) else "warning"
        return f'{clocks.speed} <span class="{kind}">{clocks.reason}</span>'

    def _use(self, device: Entity, name: str) -> str:
        percent = self._machine.utilization(device)
        value = NOTHING if percent is None else f"{percent} %"
        return f'<td class="use">{self._lines.of(device, name)}<b>{value}</b></td>'

    def _memory(self, device: Entity) -> str:
        used = self._machine.number(device, MEMORY_USED)
        total = self._machine.number(device, MEMORY_TOTAL)
        if used is None or not total:
            return f'<td class="memory">{NOTHING}</td>'
        sizes = f"{words.gibibytes(used)} / {words.gibibytes(total)} GiB"
        return f'<td class="memory">{bar(used / total)}{sizes}</td>'
