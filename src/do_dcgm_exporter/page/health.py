"""Judge whether a page is complete, in words for /health."""

from __future__ import annotations

from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.dcgm.topology import Gpu, Topology
from do_dcgm_exporter.page.publication import Health


def health_of(result: CycleResult, topology: Topology) -> Health:
    """Judge a successful cycle. Missing GPUs make it unhealthy.

    If only single fields are missing, it stays healthy and a note says so.
    """
    if not topology.gpus:
        return Health(False, "the engine knows no GPU")
    if not result.gpus_up:
        return Health(False, "the device selection (-d) matches no GPU of this machine")
    down = {gpu for gpu, up in result.gpus_up.items() if not up}
    lost = [_name(topology.gpu(gpu)) for gpu in sorted(down - result.stalled_gpus)]
    if len(lost) == len(result.gpus_up) > 1:
        # After a kernel-log XID 119 the engine stops asking the driver (observed).
        return Health(
            False,
            "the engine gets no answer about any GPU: look at the XIDs, then restart nvidia-dcgm",
        )
    stalled = [_name(topology.gpu(gpu)) for gpu in sorted(result.stalled_gpus)]
    missing = []
    if lost:
        missing.append(f"the driver has lost GPU {', '.join(lost)}")
    if stalled:
        names, seconds = ", ".join(stalled), result.stale_after
        missing.append(
            f"the engine has no value of GPU {names} that is less than {seconds:g} s old"
        )
    if missing:
        return Health(False, "; ".join(missing), tuple(_notes(result)))
    return Health(True, notes=tuple(_notes(result)))


def _name(gpu: Gpu) -> str:
    return f"{gpu.id} ({gpu.uuid or 'UUID not known'})"


def _notes(result: CycleResult) -> list[str]:
    notes = []
    if result.profiling_reason:
        notes.append(result.profiling_reason)
    if result.unwatched_gpus:
        gpus = ", ".join(map(str, result.unwatched_gpus))
        notes.append(f"the engine refuses to watch all of GPU {gpus}; trying again")
    if result.poisoned_fields:
        fields = ", ".join(str(field_id) for field_id in sorted(result.poisoned_fields))
        notes.append(f"fields left out for now because the engine fails on them: {fields}")
    failed = [outcome.name for outcome in result.outcomes if not outcome.succeeded]
    if failed:
        notes.append(f"collectors that failed: {', '.join(failed)}")
    return notes
