"""Pages as parsed by a strict scraper: anything but text format 0.0.4 fails the test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

_NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = re.compile(rf"# HELP ({_NAME}) ((?:[^\\]|\\[\\n])*)")
_TYPE = re.compile(rf"# TYPE ({_NAME}) (gauge|counter|untyped)")
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? ([-+]?(?:[0-9.]+(?:e[-+]?[0-9]+)?|Inf)|NaN)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
_ESCAPE = re.compile(r"\\.")
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass(frozen=True)
class Sample:
    """One series and its value."""

    labels: dict[str, str]
    value: float


@dataclass
class Family:
    """A family as declared by its header lines."""

    type: str
    samples: list[Sample] = field(default_factory=list)


class Page:
    """A whole page."""

    def __init__(self, text: str) -> None:
        assert text.endswith("\n") or not text
        self.text = text
        self.families: dict[str, Family] = {}
        lines = iter(text.split("\n")[:-1])
        name = ""
        for line in lines:
            if help_line := _HELP.fullmatch(line):
                name = help_line[1]
                assert name not in self.families, f"{name} is there twice"
                type_line = _TYPE.fullmatch(next(lines))
                assert type_line is not None, f"no TYPE follows: {line}"
                assert type_line[1] == name, f"the TYPE of another family follows: {line}"
                self.families[name] = Family(type_line[2])
            else:
                sample = _SAMPLE.fullmatch(line)
                assert sample is not None, f"not a sample: {line}"
                assert sample[1] == name, f"in the midst of {name}: {line}"
                labels = _labels(sample[2] or "")
                self.families[name].samples.append(Sample(labels, float(sample[3])))
        for name, family in self.families.items():
            series = [tuple(sorted(sample.labels.items())) for sample in family.samples]
            assert len(series) == len(set(series)), f"{name} has a series twice"

    def __contains__(self, name: str) -> bool:
        return name in self.families

    @property
    def dcgm(self) -> set[str]:
        """The names of the DCGM families."""
        return {name for name in self.families if name.startswith("DCGM_")}

    def samples(self, name: str, **labels: str) -> list[Sample]:
        """All samples of a family that have ``labels``."""
        found = self.families.get(name, Family("")).samples
        return [s for s in found if labels.items() <= s.labels.items()]

    def value(self, name: str, **labels: str) -> float:
        """The value of the only series of ``name`` with ``labels``."""
        found = self.samples(name, **labels)
        assert len(found) == 1, f"{len(found)} series of {name} with {labels}"
        return found[0].value

    def own(self, name: str, **labels: str) -> float:
        """The value of one of the exporter's own metrics."""
        return self.value(f"do_dcgm_exporter_{name}", **labels)

    def label_values(self, name: str, label: str) -> set[str]:
        """All values that ``label`` has in a family."""
        return {sample.labels[label] for sample in self.samples(name)}


@lru_cache(maxsize=4096)
def _labels(text: str) -> dict[str, str]:
    pairs = list(_pairs(text))
    labels = dict(pairs)
    assert len(labels) == len(pairs), f"a label is there twice: {text}"
    return labels


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    end = 0
    for match in _LABEL.finditer(text):
        assert match.start() == end, f"not labels: {text}"
        end = match.end()
        yield match[1], _ESCAPE.sub(lambda escape: _ESCAPES[escape[0]], match[2])
    assert end == len(text), f"not labels: {text}"
    assert not text.endswith(","), f"not labels: {text}"
