"""What is wrong, in sentences that name the device and the cause, the worst first."""

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
        """A sign that tells it without colour."""
        return "✓!✗"[self]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    ``predicate`` follows the names of ``devices``, ``{is}`` and ``{has}`` in it agree with
    their number; without devices it is the whole sentence. ``detail`` follows where the
    sentence is about one device only, with its own punctuation.
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
    """``first`` is what has to be known before all else; ``others`` follow, the worst first."""

    first: Sentence
    others: tuple[Sentence, ...]
    by_device: dict[Entity, Severity]

    @property
    def severity(self) -> Severity:
        """How bad it is as a whole."""
        return self.first.severity


def diagnose(findings: Iterable[Finding], topology: Topology, all_is_well: str) -> Diagnosis:
    """Put ``findings`` in words; ``all_is_well`` is said where there is none."""
    # Sorting is stable: within a severity they stay in the order they were found.
    ordered = sorted(findings, key=lambda finding: -finding.severity)
    by_device: dict[Entity, Severity] = {}
    for finding in ordered:
        for device in finding.devices:
            by_device.setdefault(device, finding.severity)
    sentences = [_sentence(group, topology) for group in _grouped(ordered)]
    first, *others = sentences or [Sentence(Severity.GOOD, all_is_well)]
    return Diagnosis(first, tuple(others), by_device)


def _grouped(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    """Findings that say the same of different devices of one kind, together."""
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
