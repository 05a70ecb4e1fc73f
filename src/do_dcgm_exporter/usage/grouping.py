"""Sum up what processes hold, by what they belong to; pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.usage.nvml import GpuProcess
from do_dcgm_exporter.usage_report import Use, Workload, WorkloadKind

# The largest uses that a page shows one by one: two series each.
MOST_USES = 100
OTHERS = "(others)"
_OTHERS = (Workload(WorkloadKind.UNIT, OTHERS), OTHERS)

# Workload and user.
Identity = tuple[Workload, str]


@dataclass(slots=True)
class _Sum:
    """What is held in all; ``memory`` is None until some of it is known."""

    pids: set[int] = field(default_factory=set)
    memory: int | None = None

    def add(self, pids: Iterable[int], memory: int | None) -> None:
        self.pids.update(pids)
        if memory is not None:
            self.memory = (self.memory or 0) + memory


def uses_of(
    processes: Iterable[GpuProcess], identities: Mapping[int, Identity], most: int = MOST_USES
) -> tuple[Use, ...]:
    """Return who uses what.

    ``identities`` are by process id; a process without one has ended. Of each
    device, what goes beyond the ``most`` largest uses of all is summed up as others.
    """
    sums: dict[tuple[str, int | None, Identity], _Sum] = {}
    for process in processes:
        if identity := identities.get(process.pid):
            key = (process.gpu, process.instance, identity)
            sums.setdefault(key, _Sum()).add({process.pid}, process.memory)
    ranked = sorted(sums, key=lambda key: (-(sums[key].memory or 0), -len(sums[key].pids), key[0]))
    for key in ranked[most:]:
        gpu, instance, _ = key
        rest = sums.pop(key)
        sums.setdefault((gpu, instance, _OTHERS), _Sum()).add(rest.pids, rest.memory)
    return tuple(
        Use(gpu, instance, workload, user, len(found.pids), found.memory)
        for (gpu, instance, (workload, user)), found in sums.items()
    )
