"""Turns the data of a recorded machine into that of one with GPUs of another model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcgm_simulator.codes import Status, is_sentinel
from dcgm_simulator.fields import Field
from dcgm_simulator.models import Fact, Model

MARGIN = 153
"""By how much a GPU is cooler than its operating temperature."""
SCALED = {
    92: Fact.BAR1,
    93: Fact.BAR1,
    100: Fact.SM_CLOCK_LIMIT,
    102: Fact.VIDEO_CLOCK_LIMIT,
    155: Fact.GREATEST_POWER_LIMIT,
    157: Fact.GREATEST_POWER_LIMIT,
    252: Fact.MEMORY,
}
"""Fields whose values are to a fact as those of the recorded GPUs are to theirs."""
ATTRIBUTES = {
    "identifiers": {
        "deviceName": Fact.NAME,
        "vbios": Fact.VBIOS,
        "inforomImageVersion": Fact.INFOROM_IMAGE,
        "pciDeviceId": Fact.PCI_DEVICE,
        "pciSubSystemId": Fact.PCI_SUBSYSTEM,
        "driverVersion": Fact.DRIVER,
    },
    "powerLimits": {
        "curPowerLimit": Fact.POWER_LIMIT,
        "defaultPowerLimit": Fact.DEFAULT_POWER_LIMIT,
        "enforcedPowerLimit": Fact.ENFORCED_POWER_LIMIT,
        "minPowerLimit": Fact.LEAST_POWER_LIMIT,
        "maxPowerLimit": Fact.GREATEST_POWER_LIMIT,
    },
    "thermalSettings": {
        "slowdownTemp": Fact.SLOWDOWN_TEMPERATURE,
        "shutdownTemp": Fact.SHUTDOWN_TEMPERATURE,
    },
    "memoryUsage": {"bar1Total": Fact.BAR1, "fbTotal": Fact.MEMORY},
}
FACTS = frozenset(Fact)
INT32_NOT_SUPPORTED, STRING_NOT_SUPPORTED = 0x7FFFFFF2, "<<<NOT_SUPPORTED>>>"

Row = list[Any]
Rows = dict[str, Row]


def resemble(
    recording: dict[str, Any], model: Model, fields: Mapping[int, Field]
) -> dict[str, Any]:
    """Return a machine's data with GPUs of a model in the place of those recorded."""
    recorded: Rows = recording["answers"]["gpu"]
    answers = {
        kind: {
            number: row
            for number, old in rows.items()
            if (row := _row(int(number), old, recorded, model, fields)) is not None
        }
        for kind, rows in recording["answers"].items()
    }
    attributes = [_attributes(told, model) for told in recording["attributes"]]
    links = recording["nvlink"] if model.nvlinks else [[] for _ in recording["nvlink"]]
    return recording | {"answers": answers, "attributes": attributes, "nvlink": links}


def _row(
    number: int, row: Row, recorded: Rows, model: Model, fields: Mapping[int, Field]
) -> Row | None:
    """Return how the model answers for a field; None if it does not support it."""
    name = fields[number].name
    if fields[number].is_profiling and not model.profiling:
        return [row[0], int(Status.NOT_WATCHED)]
    if not model.nvlinks and ("NVLINK" in name or "FABRIC" in name):
        return None
    if number in model.others:
        value = model.others[number]
        return None if value is None else [row[0], 0, "constant", value]
    if number in FACTS:
        return _told(Fact(number), row, recorded, model)
    if number == MARGIN:
        return _shifted(row, Fact.OPERATING_TEMPERATURE, recorded, model)
    if number in SCALED:
        return _scaled(row, SCALED[number], recorded, model)
    return row


def _told(fact: Fact, row: Row, recorded: Rows, model: Model) -> Row | None:
    """Return the fact, unless the row is an instance's and says something of its own."""
    if row != recorded[str(fact.value)]:
        return row
    return [row[0], 0, "constant", model.facts[fact]] if fact in model.facts else None


def _shifted(row: Row, fact: Fact, recorded: Rows, model: Model) -> Row | None:
    if fact not in model.facts or _is_blank(row):
        return None
    by = float(model.facts[fact]) - recorded[str(fact.value)][3]
    kind, status, shape, first, second = row
    return [kind, status, shape, first + by, second if shape == "linear" else second + by]


def _scaled(row: Row, fact: Fact, recorded: Rows, model: Model) -> Row | None:
    if fact not in model.facts:
        return None
    ratio = float(model.facts[fact]) / recorded[str(fact.value)][3]
    kind, status, shape, *numbers = row
    if shape == "identity":
        return row
    scaled = [number * ratio for number in numbers]
    whole = kind == "i" and shape != "linear"
    return [kind, status, shape, *(map(round, scaled) if whole else scaled)]


def _is_blank(row: Row) -> bool:
    return row[2] == "constant" and is_sentinel(row[3])


def _attributes(told: dict[str, Any], model: Model) -> dict[str, Any]:
    """Return what dcgmGetDeviceAttributes tells of a GPU of the model."""
    parts = {
        part: told[part]
        | {name: _attribute(told[part][name], fact, model) for name, fact in names.items()}
        for part, names in ATTRIBUTES.items()
    }
    memory, total = told["memoryUsage"], float(model.facts[Fact.MEMORY])
    used = round(memory["fbUsed"] * total / memory["fbTotal"])
    free = round(total - used - float(model.facts[Fact.RESERVED_MEMORY]))
    return told | parts | {"memoryUsage": parts["memoryUsage"] | {"fbUsed": used, "fbFree": free}}


def _attribute(old: int | str, fact: Fact, model: Model) -> int | str:
    unknown = STRING_NOT_SUPPORTED if isinstance(old, str) else INT32_NOT_SUPPORTED
    return type(old)(model.facts.get(fact, unknown))
