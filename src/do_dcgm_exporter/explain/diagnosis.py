"""Put findings into sentences that name the device and the cause, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.explain import words


class Severity(IntEnum):
    """How bad it is; the worst sorts last."""

    GOOD = 0
    WARNING = 1
    FAULT = 2

    @property
    def sign(self) -> str:
        """A sign that needs no colour."""
        return "✓!✗"[self]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    ``predicate`` follows the names of ``devices``; its ``{is}`` and ``{has}`` agree with their
    number. Without devices it is a whole sentence. ``detail``, which brings its own
    punctuation, is added if the sentence is about a single device.
    """

    severity: Severity
    predicate: str
    devices: tuple[Entity, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One or more findings of a kind, in words."""

    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``first`` is what people must know first; ``others`` follow, the worst first."""

    first: Sentence
    others: tuple[Sentence, ...]
    by_device: dict[Entity, Severity]

    @property
    def severity(self) -> Severity:
        """How bad it is as a whole."""
        return self.first.severity


def diagnose(findings: Iterable[Finding], topology: Topology, all_is_well: str) -> Diagnosis:
    """Put ``findings`` into words, or say ``all_is_well`` if there are none."""
    # Sorting is stable: within a severity, findings keep their order.
    ordered = sorted(findings, key=lambda finding: -finding.severity)
    by_device: dict[Entity, Severity] = {}
    for finding in ordered:
        for device in finding.devices:
            by_device.setdefault(device, finding.severity)
    sentences = [_sentence(group, topology) for group in _grouped(ordered)]
    first, *others = sentences or [Sentence(Severity.GOOD, all_is_well)]
    return Diagnosis(first, tuple(others), by_device)


def _grouped(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    """Group findings that say the same about several devices of one kind."""
    groups: dict[object, list[Finding]] = {}
    for finding in findings:
        kind = finding.devices[0].kind if finding.devices else None
        groups.setdefault((finding.severity, finding.predicate, kind), []).append(finding)
    return iter(groups.values())


def _sentence(group: list[Finding], topology: Topology) -> Sentence:
    devices = sorted({device for finding in group for device in finding.devices})
    predicate = group[0].predicate
    if not devices:
        return Sentence(group[0].severity, words.capitalized(predicate))
    single = len(devices) == 1
    agreeing = predicate.replace("{is}", "is" if single else "are")
    agreeing = agreeing.replace("{has}", "has" if single else "have")
    detail = group[0].detail if single else ""
    text = f"{words.names(devices, topology)} {agreeing}{detail}"
    return Sentence(group[0].severity, words.capitalized(text))
