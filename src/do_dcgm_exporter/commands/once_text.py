"""The result of ``--once`` for a person: what is wrong, the GPUs, then every family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from do_dcgm_exporter.collect.machine import (
    GPU_TEMPERATURE,
    MEMORY_TOTAL,
    MEMORY_USED,
    POWER,
    POWER_LIMIT,
    SLOWDOWN_TEMPERATURE,
)
from do_dcgm_exporter.collect.samples import Family, Sample
from do_dcgm_exporter.commands.terminal import Cell, Terminal, flowed, printable, table
from do_dcgm_exporter.config.counters import CounterSet, CounterType
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.clocks import clocks_of
from do_dcgm_exporter.explain.diagnosis import Diagnosis, Severity
from do_dcgm_exporter.explain.findings import diagnosis_of
from do_dcgm_exporter.explain.view import View

_PLAIN_SIGNS = {Severity.GOOD: "ok", Severity.WARNING: "!", Severity.FAULT: "x"}
_STYLES = {Severity.GOOD: "green", Severity.WARNING: "yellow", Severity.FAULT: "red"}

# The labels that name a device, in this order, and the word for each.
_DEVICE = (
    ("gpu", "GPU"),
    ("GPU_I_ID", "instance"),
    ("GPU_CI_ID", "compute instance"),
    ("connectx", "ConnectX adapter"),
    ("nvswitch", "NvSwitch"),
    ("nvlink", "link"),
    ("cpu", "CPU"),
    ("cpucore", "core"),
)
# Labels that this name already covers.
_IDENTITY = {name for name, _ in _DEVICE}
_IDENTITY |= {"UUID", "pci_bus_id", "device", "modelName", "GPU_I_PROFILE"}

# One label in the rendered block of a sample.
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# If all are equal, more series than this are one line.
_MANY = 16

_HEAD = ("", "Utilization", "Memory", "Temperature", "Power", "Clocks")


def once_text(
    terminal: Terminal, view: View, families: Iterable[Family], counters: CounterSet
) -> str:
    """Return the whole text; ``families`` are those of the page, made of ``counters``."""
    diagnosis = diagnosis_of(view)
    hidden = {c.name for c in counters.counters if c.type is CounterType.LABEL}
    hidden |= {view.settings.hostname_label, *_IDENTITY}
    return "\n".join(
        (
            _verdict(terminal, diagnosis),
            _devices(terminal, view, diagnosis),
            *(_family(terminal, family, hidden) for family in families),
        )
    )


def _verdict(terminal: Terminal, diagnosis: Diagnosis) -> str:
    sentences = (diagnosis.first, *diagnosis.others)
    return "".join(
        f"{_sign(terminal, sentence.severity)} {printable(sentence.text)}\n"
        for sentence in sentences
    )


def _sign(terminal: Terminal, severity: Severity) -> str:
    return terminal.styled(terminal.sign(severity.sign, _PLAIN_SIGNS[severity]), _STYLES[severity])


def _devices(terminal: Terminal, view: View, diagnosis: Diagnosis) -> str:
    rows: list[list[Cell]] = [[(name, "dim") for name in _HEAD]]
    for gpu in view.machine.roster.gpus:
        for entity in view.machine.roster.parts.get(gpu.id, ()):
            rows.append(_device(view, entity, diagnosis))
    return table(terminal, rows) if len(rows) > 1 else ""


def _device(view: View, entity: Entity, diagnosis: Diagnosis) -> list[Cell]:
    machine, topology = view.machine, view.topology
    severity = diagnosis.by_device.get(entity, Severity.GOOD)
    name = (words.device_name(entity, topology), _STYLES[severity])
    if topology.gpu_id_of(entity) in machine.lost_gpus:
        return [name, ("lost to the driver", "red")]
    percent = machine.utilization(entity)
    used, total = (machine.number(entity, field) for field in (MEMORY_USED, MEMORY_TOTAL))
    clocks = clocks_of(machine, (entity,))
    memory = ""
    if used is not None and total:
        memory = f"{words.gibibytes(used)} / {words.gibibytes(total)} GiB"
    return [
        name,
        ("" if percent is None else f"{percent} %", ""),
        (memory, ""),
        (_measure(view, entity, GPU_TEMPERATURE, SLOWDOWN_TEMPERATURE, "°C"), ""),
        (_measure(view, entity, POWER, POWER_LIMIT, "W"), ""),
        (", ".join(filter(None, (clocks.speed, clocks.reason))), ""),
    ]


def _measure(view: View, entity: Entity, field_id: int, limit_id: int, unit: str) -> str:
    value = view.machine.number(entity, field_id)
    limit = view.machine.number(entity, limit_id)
    if value is None:
        return ""
    return f"{value:.0f} / {limit:.0f} {unit}" if limit else f"{value:.0f} {unit}"


def _family(terminal: Terminal, family: Family, hidden: set[str]) -> str:
    samples = [(_subject(sample, hidden), _value(family, sample)) for sample in family.samples]
    values = {value for _, value in samples}
    if len(samples) > _MANY and len(values) == 1:
        samples = [(f"all {len(samples)}", values.pop())]
    cells = [((subject, "dim"), (value, "")) for subject, value in samples]
    title = f"{terminal.styled(family.name, 'bold')}  {printable(family.help)}\n"
    return title + (flowed(terminal, cells) if cells else "")


def _subject(sample: Sample, hidden: set[str]) -> str:
    """Return what a sample is of: the device, then the labels that are the family's own."""
    labels = _labels(sample.labels)
    own = [f"{name}={printable(text)}" for name, text in labels.items() if name not in hidden]
    return " ".join(filter(None, (_device_of(labels), *own)))


def _labels(block: str) -> dict[str, str]:
    """Take a label block apart: the inverse of ``label_block``."""
    return {name: _unescaped(text) for name, text in _LABEL.findall(block)}


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def _device_of(labels: Mapping[str, str]) -> str:
    found = ((word, labels[name]) for name, word in _DEVICE if name in labels)
    return " ".join(f"{word} {printable(text.removeprefix('nvswitch'))}" for word, text in found)


def _value(family: Family, sample: Sample) -> str:
    """Return the value as the page has it, except for times and trailing zeros."""
    value = sample.value
    if family.name.endswith("_timestamp_seconds") and float(value):
        return f"{words.utc(float(value))} UTC"
    return value.rstrip("0").rstrip(".") if "." in value and "e" not in value else value
