"""Counters of what happened between two pages: the lowest, highest and mean value of a field.

Their names are those of the field with _MIN, _MAX or _AVG. A name that DCGM itself gives to a
field, as it does POWER_MGMT_LIMIT_MAX, always means that field.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from do_dcgm_exporter.dcgm.fields import EntityLevel, Field, ValueType, field_by_name

_LEVELS = (EntityLevel.GPU, EntityLevel.GPU_I, EntityLevel.GPU_CI)
_XID_FIELD = 230


class Statistic(Enum):
    """What samples are summarised to, by how it ends a name."""

    MIN = "lowest"
    MAX = "highest"
    AVG = "mean"


@dataclass(frozen=True, slots=True)
class Peak:
    """A statistic of the samples of ``field``."""

    field: Field
    statistic: Statistic


def peak_by_name(text: str) -> tuple[str, Peak] | None:
    """Return the name to print, in its established case, and what it means."""
    base, _, ending = text.rpartition("_")
    field = field_by_name(base)
    if field is None or ending.upper() not in Statistic.__members__:
        return None
    spelling = {name.upper(): name for name in field.names}.get(base.upper(), field.name)
    statistic = Statistic[ending.upper()]
    return f"{spelling}_{statistic.name}", Peak(field, statistic)


def why_no_peak(peak: Peak) -> str:
    """Return why samples of a field are not summarised, empty if they can be."""
    field = peak.field
    if field.value_type not in (ValueType.INTEGER, ValueType.DOUBLE):
        return f"field {field.id} holds no number"
    if field.internal_only:
        return f"field {field.id} is internal to DCGM and cannot be read"
    if field.level not in _LEVELS or field.is_global:
        return f"only fields of GPUs are summarised, and field {field.id} is one of another device"
    return f"field {field.id} is the number of an error" if field.id == _XID_FIELD else ""
