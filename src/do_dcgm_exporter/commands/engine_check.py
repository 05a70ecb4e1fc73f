"""Ask a live engine which counters this machine does not have, and which have to be computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from do_dcgm_exporter.collect.plan import carries
from do_dcgm_exporter.commands.one_shot import OneShot, read_once
from do_dcgm_exporter.commands.progress import Tell
from do_dcgm_exporter.config.counters import Counter, Special
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.conversions import conversion_to
from do_dcgm_exporter.dcgm.fields import EntityLevel, Field
from do_dcgm_exporter.dcgm.topology import Topology

# Which option selects what has a field.
_OPTIONS = {
    EntityLevel.SWITCH: "-s",
    EntityLevel.LINK: "-s",
    EntityLevel.CPU: "-p",
    EntityLevel.CPU_CORE: "-p",
}


@dataclass(frozen=True, slots=True)
class EngineFindings:
    """What an engine says to counters, by their names.

    ``unsupported`` has the reason why a counter has no value here, ``computed`` how the
    value of one comes about that the engine does not know.
    """

    unsupported: Mapping[str, str] = field(default_factory=dict)
    computed: Mapping[str, str] = field(default_factory=dict)


def engine_findings(configuration: Configuration, tell: Tell | None = None) -> EngineFindings:
    """Read the machine once and compare it with what was asked for.

    ``tell`` takes what is being waited for. Raises ExporterError when no engine answers.
    """
    found = read_once(configuration, CallCount(), tell=tell)
    present = {family.name for family in found.result.snapshot.families}
    present |= found.session.labels.present
    counters = configuration.counters.counters
    return EngineFindings(
        {
            counter.name: _why_absent(counter, found)
            for counter in counters
            if counter.name not in present and _should_be_present(counter)
        },
        {
            counter.name: _how_computed(asked.id, found)
            for counter in counters
            if (asked := counter.peak.field if counter.peak else counter.field)
            and asked.id in found.session.stand_ins
        },
    )


def _should_be_present(counter: Counter) -> bool:
    """Families about XIDs may wait for the first XID."""
    always = (Special.P2P_STATUS, Special.GPU_HEALTH_STATUS, Special.FABRIC_HEALTH_STATUS)
    return bool(counter.field or counter.peak) or counter.special in always


def _how_computed(field_id: int, found: OneShot) -> str:
    conversion = conversion_to(field_id)
    assert conversion, "only such fields have a stand-in"
    factor = conversion.factor
    how = f"times {factor}" if factor > 1 else f"divided by {1 / factor}"
    source, unit = conversion.source, conversion.source.unit
    return f"{_engine(found)} lacks it: computed from field {source.id} ({unit}) {how}"


def _why_absent(counter: Counter, found: OneShot) -> str:
    if counter.special is Special.FABRIC_HEALTH_STATUS:
        return "this host has no NvSwitch, ConnectX adapter or IMEX that its DCGM checks"
    if counter.peak:
        counter = replace(counter, field=counter.peak.field)
    if counter.field is None:
        return "this machine or its DCGM does not have it"
    wanted, session = counter.field, found.session
    if wanted.id in session.unknown_fields and wanted.id not in session.stand_ins:
        return f"{_engine(found)} does not know this field"
    if wanted.level is EntityLevel.NONE:
        return "this host has no value for it"
    if not _has_any(session.topology, wanted):
        return f"this host has no {wanted.level.word}"
    if not any(carries(entity.kind, counter) for entity in session.selection.entities):
        return f"no {wanted.level.word} is selected ({_OPTIONS.get(wanted.level, '-d')})"
    if wanted.is_profiling and found.result.profiling_reason:
        return found.result.profiling_reason
    return f"no {wanted.level.word} of this host has a value for it"


def _has_any(topology: Topology, wanted: Field) -> bool:
    """Return whether the host has what the field belongs to; a vGPU is part of a GPU."""
    there = {
        EntityLevel.SWITCH: topology.switches,
        EntityLevel.LINK: topology.links,
        EntityLevel.CPU: topology.cpus,
        EntityLevel.CPU_CORE: topology.cores,
    }
    return bool(there.get(wanted.level, topology.gpus))


def _engine(found: OneShot) -> str:
    return f"DCGM {found.session.engine.versions.engine or 'here'}"
