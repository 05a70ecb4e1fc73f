"""Draw the instances of a GPU side by side, each as wide as its share of the GPU."""

from __future__ import annotations

import re
from collections.abc import Sequence

from do_dcgm_exporter.collect.machine import MEMORY_TOTAL, MEMORY_USED
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.topology import GpuInstance
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.diagnosis import Diagnosis
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.serve.status_page.markup import CLASSES, NOTHING, bar, sign, text
from do_dcgm_exporter.serve.status_page.sparkline import Sparklines

# A profile begins with the number of slices: 3g.40gb.
_SLICES = re.compile(r"([1-7])g\.")


class InstanceGrid:
    """Draws a cell per instance."""

    def __init__(self, view: View, diagnosis: Diagnosis, lines: Sparklines) -> None:
        self._topology = view.topology
        self._machine = view.machine
        self._by_device = diagnosis.by_device
        self._lines = lines

    def of(self, instances: Sequence[Entity]) -> str:
        """Return the cells of one GPU's ``instances``, empty if there are none."""
        known = [self._topology.gpu_instance(instance.id) for instance in instances]
        known.sort(key=lambda instance: instance.instance_id)
        has_profiles = len({instance.profile for instance in known}) > 1
        cells = "".join(self._cell(instance, has_profiles) for instance in known)
        return f'<ul class="instances">{cells}</ul>' if cells else ""

    def _cell(self, instance: GpuInstance, has_profile: bool) -> str:
        device = instance.entity
        name = words.device_name(device, self._topology)
        state = self._by_device.get(device)
        mark = f"{sign(state)} " if state else ""
        slices = _SLICES.match(instance.profile)
        kinds = [
            "part",
            *([f"slices{slices[1]}"] if slices else []),
            *([CLASSES[state]] if state else []),
        ]
        profile = f" {text(instance.profile)}" if has_profile else ""
        percent = self._machine.utilization(device)
        value = NOTHING if percent is None else f"{percent} %"
        return (
            f'<li class="{" ".join(kinds)}" title="{name}, {text(instance.profile)}">'
            f'<span class="quiet">{mark}{instance.instance_id}{profile}</span> <b>{value}</b>'
            f"{self._lines.of(device, name)} {self._memory(device)}</li>"
        )

    def _memory(self, device: Entity) -> str:
        used = self._machine.number(device, MEMORY_USED)
        total = self._machine.number(device, MEMORY_TOTAL)
        if used is None or not total:
            return ""
        sizes = f"{words.gibibytes(used)} / {words.gibibytes(total)} GiB"
        return f"{bar(used / total)}<small>{sizes}</small>"
