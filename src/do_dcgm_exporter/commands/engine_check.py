"""Ask a live engine which counters this machine's GPUs do not have."""

from __future__ import annotations

from collections.abc import Mapping

from do_dcgm_exporter.commands.one_shot import OneShot, read_once
from do_dcgm_exporter.commands.progress import Tell
from do_dcgm_exporter.config.counters import Counter, CounterType, Special
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.call_count import CallCount


def unsupported_fields(configuration: Configuration, tell: Tell | None = None) -> Mapping[str, str]:
    """Return why each counter that gave no sample gave none, by the counter's name.

    ``tell`` takes what is being waited for. Raises ExporterError when no engine answers.
    """
    found = read_once(configuration, CallCount(), tell=tell)
    present = {family.name for family in found.result.snapshot.families}
    return {
        counter.name: _reason(counter, found)
        for counter in configuration.counters.counters
        if counter.name not in present and _should_be_present(counter)
    }


def _should_be_present(counter: Counter) -> bool:
    """Labels are not families, and XID families may only appear with the first XID."""
    if counter.field is None:
        return counter.special in (Special.P2P_STATUS, Special.GPU_HEALTH_STATUS)
    return counter.type is not CounterType.LABEL


def _reason(counter: Counter, found: OneShot) -> str:
    if counter.field is None:
        return "this machine or its DCGM does not have it"
    unknown = found.session.unknown_fields.get(counter.field.id)
    if unknown:
        return unknown
    return f"no {counter.field.level.value} entity of this machine has a value for it"
