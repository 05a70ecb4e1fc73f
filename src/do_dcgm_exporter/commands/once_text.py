"""The page of ``--once`` for a person: what is wrong, the GPUs, then every family."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from do_dcgm_exporter.collect.machine import (
    GPU_TEMPERATURE,
    MEMORY_TOTAL,
    MEMORY_USED,
    POWER,
    POWER_LIMIT,
    SLOWDOWN_TEMPERATURE,
)
from do_dcgm_exporter.collect.plan import CLOCK_EVENTS_FIELD
from do_dcgm_exporter.commands.terminal import Cell, Terminal, flowed, printable, table
from do_dcgm_exporter.config.counters import CounterSet, CounterType
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.explain import words
from do_dcgm_exporter.explain.diagnosis import Diagnosis, Severity
from do_dcgm_exporter.explain.findings import diagnosis_of
from do_dcgm_exporter.explain.view import View

_SIGNS = {Severity.GOOD: ("✓", "ok"), Severity.WARNING: ("!", "!"), Severity.FAULT: ("✗", "x")}
_STYLES = {Severity.GOOD: "green", Severity.WARNING: "yellow", Severity.FAULT: "red"}

# The labels that make the name of a device, in this order.
_PARTS = (
    ("gpu", "GPU"),
    ("GPU_I_ID", "instance"),
    ("nvswitch", "NvSwitch"),
    ("nvlink", "link"),
    ("cpu", "CPU"),
    ("cpucore", "core"),
)
# What that name says already.
_IDENTITY = {name for name, _ in _PARTS}
_IDENTITY |= {"UUID", "pci_bus_id", "device", "modelName", "GPU_I_PROFILE"}

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# So many series that are all the same are one line.
_MANY = 16

_HEAD = ("", "Utilization", "Memory", "Temperature", "Power", "Clocks")


def once_text(terminal: Terminal, view: View, counters: CounterSet) -> str:
    """The whole text."""
    diagnosis = diagnosis_of(view)
    hidden = {c.name for c in counters.counters if c.type is CounterType.LABEL}
    hidden |= {view.settings.hostname_label}
    return "\n".join(
        (
            _verdict(terminal, diagnosis),
            _devices(terminal, view, diagnosis),
            *_families(terminal, view.page.text.plain.decode(), hidden),
        )
    )


def _verdict(terminal: Terminal, diagnosis: Diagnosis) -> str:
    sentences = (diagnosis.first, *diagnosis.others)
    return "".join(
        f"{_sign(terminal, sentence.severity)} {printable(sentence.text)}\n"
        for sentence in sentences
    )


def _sign(terminal: Terminal, severity: Severity) -> str:
    return terminal.styled(terminal.sign(*_SIGNS[severity]), _STYLES[severity])


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
    mask = machine.number(entity, CLOCK_EVENTS_FIELD)
    memory = ""
    if used is not None and total:
        memory = f"{words.gibibytes(used)} / {words.gibibytes(total)} GiB"
    return [
        name,
        ("" if percent is None else f"{percent} %", ""),
        (memory, ""),
        (_measure(view, entity, GPU_TEMPERATURE, SLOWDOWN_TEMPERATURE, "°C"), ""),
        (_measure(view, entity, POWER, POWER_LIMIT, "W"), ""),
        ("" if mask is None else words.clock_events(int(mask)), ""),
    ]


def _measure(view: View, entity: Entity, field_id: int, limit_id: int, unit: str) -> str:
    value = view.machine.number(entity, field_id)
    limit = view.machine.number(entity, limit_id)
    if value is None:
        return ""
    return f"{value:.0f} / {limit:.0f} {unit}" if limit else f"{value:.0f} {unit}"


def _families(terminal: Terminal, page: str, hidden: set[str]) -> Iterator[str]:
    for family in re.split("^# HELP ", page, flags=re.MULTILINE)[1:]:
        head, _, *series = family.splitlines()
        name, _, text = head.partition(" ")
        samples = [_sample(line, hidden) for line in series]
        values = {value for _, value in samples}
        if len(samples) > _MANY and len(values) == 1:
            samples = [(f"all {len(samples)}", values.pop())]
        cells = [((subject, "dim"), (value, "")) for subject, value in samples]
        title = f"{terminal.styled(name, 'bold')}  {printable(text)}\n"
        yield title + (flowed(terminal, cells) if cells else "")


def _sample(line: str, hidden: set[str]) -> tuple[str, str]:
    """What a sample is of, that is the device and the family's own labels, and its value."""
    series, _, value = line.rpartition(" ")
    labels = {name: _unescaped(text) for name, text in _LABEL.findall(series)}
    own = [
        f"{name}={printable(text)}"
        for name, text in labels.items()
        if name not in hidden and name not in _IDENTITY
    ]
    subject = " ".join(filter(None, (_device_of(labels), *own)))
    return subject, _value(series.partition("{")[0], value)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text)


def _device_of(labels: Mapping[str, str]) -> str:
    found = ((word, labels[name]) for name, word in _PARTS if name in labels)
    return " ".join(f"{word} {printable(text.removeprefix('nvswitch'))}" for word, text in found)


def _value(name: str, value: str) -> str:
    """The value as the page has it, but for times and zeros at the end."""
    if name.endswith("_timestamp_seconds") and float(value):
        return f"{words.utc(float(value))} UTC"
    return value.rstrip("0").rstrip(".") if "." in value and "e" not in value else value
