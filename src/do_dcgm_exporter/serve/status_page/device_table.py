"""Draw the table of GPUs and their instances."""

from __future__ import annotations

from collections.abc import Iterator

from do_dcgm_exporter.collect.machine import (
    GPU_TEMPERATURE,
    MEMORY_TOTAL,
    MEMORY_USED,
    POWER,
    POWER_LIMIT,
    SLOWDOWN_TEMPERATURE,
)
from do_dcgm_exporter.collect.plan import CLOCK_EVENTS_FIELD
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Gpu
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.diagnosis import Diagnosis, Severity
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.serve.status_page.markup import (
    NOTHING,
    bar,
    headings,
    measure,
    sign,
    temperature,
    text,
)
from do_dcgm_exporter.serve.status_page.sparkline import Sparklines

_COLUMNS = ("Device", "Utilization, 15 minutes", "Memory", "Temperature", "Power", "Clocks")


def device_table(view: View, diagnosis: Diagnosis) -> str:
    """Return the table, a row per GPU and per instance; empty if no GPU is known."""
    if not view.machine.roster.gpus:
        return ""
    return DeviceTable(view, diagnosis).html()


class DeviceTable:
    """Draws the rows of one view."""

    def __init__(self, view: View, diagnosis: Diagnosis) -> None:
        self._view = view
        self._machine = view.machine
        self._diagnosis = diagnosis
        self._lines = Sparklines(view.status.history, view.now, view.settings.collect_interval)
        # If all GPUs are alike, the head of the page names their model.
        self._has_models = len({gpu.model for gpu in self._machine.roster.gpus}) > 1
        result = view.status.result
        self._links = result.nvlink_states if result else {}

    def html(self) -> str:
        """Return the whole table."""
        bodies = "".join(
            f"<tbody>{''.join(self._rows(gpu))}</tbody>" for gpu in self._machine.roster.gpus
        )
        head = headings(*_COLUMNS, *["NVLinks"] * bool(self._links))
        return f'<table class="devices"><caption>GPUs</caption>{head}{bodies}</table>'

    def _rows(self, gpu: Gpu) -> Iterator[str]:
        parts = self._machine.roster.parts.get(gpu.id, ())
        instances = sorted(
            (part for part in parts if part.kind is EntityKind.GPU_INSTANCE),
            key=lambda part: self._view.topology.gpu_instance(part.id).instance_id,
        )
        yield self._gpu_row(gpu, gpu.entity in parts, len(instances))
        for instance in instances:
            yield self._instance_row(instance)

    def _gpu_row(self, gpu: Gpu, is_whole: bool, instances: int) -> str:
        name = f"GPU {gpu.id}"
        model = f' <span class="quiet">{text(gpu.model)}</span>' if self._has_models else ""
        state = self._diagnosis.by_device.get(gpu.entity, Severity.GOOD)
        kind = "" if is_whole else ' class="cut"'
        head = (
            f'<tr{kind}><th scope="row" title="{text(gpu.uuid)} at {text(gpu.pci_bus_id)}">'
            f"{sign(state)} {name}{model}</th>"
        )
        if gpu.id in self._machine.lost_gpus:
            columns = 6 if self._links else 5
            return f'{head}<td class="fault wide" colspan="{columns}">lost to the driver</td></tr>'
        if is_whole:
            use = self._use(gpu.entity, name) + self._memory(gpu.entity)
        else:
            # Without either, only compute instances are selected, which the page does not show.
            parts = words.counted(instances, "instance") if instances else "compute instances"
            use = f'<td class="use quiet">{parts}</td><td></td>'
        return f"{head}{use}{self._of_board(gpu)}</tr>"

    def _of_board(self, gpu: Gpu) -> str:
        """Return the cells that a GPU has once, however it is partitioned."""
        heat, slowdown, power, limit, mask = (
            self._machine.number_of_gpu(gpu, field_id)
            for field_id in (
                GPU_TEMPERATURE,
                SLOWDOWN_TEMPERATURE,
                POWER,
                POWER_LIMIT,
                CLOCK_EVENTS_FIELD,
            )
        )
        events = NOTHING if mask is None else words.clock_events(int(mask))
        cells = (
            f'<td class="temperature">{temperature(heat, slowdown)}</td>'
            f'<td class="power">{measure(power, limit, "W")}</td>'
            f'<td class="events">{events}</td>'
        )
        return cells + (f'<td class="links">{self._link_states(gpu)}</td>' if self._links else "")

    def _instance_row(self, instance: Entity) -> str:
        topology = self._view.topology
        known = topology.gpu_instance(instance.id)
        state = self._diagnosis.by_device.get(instance)
        mark = f"{sign(state)} " if state else ""
        if topology.gpu_id_of(instance) in self._machine.lost_gpus:
            cells = "<td></td><td></td>"
        else:
            device = words.device_name(instance, topology)
            cells = self._use(instance, device) + self._memory(instance)
        rest = "<td></td>" * (4 if self._links else 3)
        profile = f'<span class="quiet">{text(known.profile)}</span>'
        return (
            f'<tr class="part"><th scope="row">{mark}<span class="word">instance </span>'
            f"{known.instance_id} {profile}</th>{cells}{rest}</tr>"
        )

    def _use(self, device: Entity, name: str) -> str:
        percent = self._machine.utilization(device)
        value = NOTHING if percent is None else f"{percent} %"
        line = self._lines.of(device, name)
        return f'<td class="use">{line}<span class="percent">{value}</span></td>'

    def _memory(self, device: Entity) -> str:
        used = self._machine.number(device, MEMORY_USED)
        total = self._machine.number(device, MEMORY_TOTAL)
        if used is None or not total:
            return f'<td class="memory">{NOTHING}</td>'
        sizes = f"{words.gibibytes(used)} / {words.gibibytes(total)} GiB"
        return f'<td class="memory">{bar(used / total)}{sizes}</td>'

    def _link_states(self, gpu: Gpu) -> str:
        states = [state for (gpu_id, _), state in self._links.items() if gpu_id == gpu.id]
        named = (("up", 3), ("down", 2), ("disabled", 1))
        counts = [f"{states.count(state)} {word}" for word, state in named if state in states]
        return ", ".join(counts) or NOTHING
