"""Read counters CSVs: the counters of a page, and a verdict for every line.

A field may be given by any name it ever had, in any case, or by its id; a type in any case.
The family gets the name that was written, so two names of one field are two families. A bad
line is judged and skipped; it never stops the exporter. ``csv_lines`` splits the lines,
``similar_names`` knows what a misspelt name may have meant.
"""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from do_dcgm_exporter.config.csv_lines import (
    Columns,
    MalformedLineError,
    numbered_lines,
    split_columns,
)
from do_dcgm_exporter.config.peaks import Peak, peak_by_name, why_no_peak
from do_dcgm_exporter.config.similar_names import similar_name
from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.dcgm.fields import (
    GPU_UTILIZATION_RATIO,
    EntityLevel,
    Field,
    ValueType,
    field_by_name,
)


class CounterType(Enum):
    """What a counter is on the page: the TYPE of its family, or a label."""

    GAUGE = "gauge"
    COUNTER = "counter"
    LABEL = "label"
    UNTYPED = "untyped"


class Special(Enum):
    """The families that the exporter derives from what the engine reports."""

    XID_ERRORS_COUNT = "DCGM_EXP_XID_ERRORS_COUNT"
    CLOCK_EVENTS_COUNT = "DCGM_EXP_CLOCK_EVENTS_COUNT"
    XID_ERRORS_TOTAL = "DCGM_EXP_XID_ERRORS_TOTAL"
    CLOCK_EVENTS_TOTAL = "DCGM_EXP_CLOCK_EVENTS_TOTAL"
    XID_LAST_TIMESTAMP_SECONDS = "DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS"
    GPU_HEALTH_STATUS = "DCGM_EXP_GPU_HEALTH_STATUS"
    FABRIC_HEALTH_STATUS = "DCGM_EXP_FABRIC_HEALTH_STATUS"
    P2P_STATUS = "DCGM_EXP_P2P_STATUS"
    SAMPLED_ENERGY = "DCGM_EXP_SAMPLED_ENERGY_JOULES_TOTAL"


class Verdict(Enum):
    """How a line was judged; only OK gives a counter."""

    OK = "ok"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Counter:
    """A line of a counters CSV that was judged OK.

    One of ``field``, ``special`` and ``peak`` is set.
    """

    name: str
    type: CounterType
    help: str
    field: Field | None
    special: Special | None
    path: Path
    line: int
    peak: Peak | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict for one line, with the reason in one sentence."""

    path: Path
    line: int
    verdict: Verdict
    name: str
    message: str

    def __str__(self) -> str:
        # The name can be anything: escape control characters and cap its length.
        name = self.name if self.name.isprintable() else ascii(self.name)
        subject = " ".join(filter(None, (self.verdict.value, name[:100])))
        return f"{self.path}:{self.line}: {subject}: {self.message}"


@dataclass(frozen=True, slots=True)
class CounterSet:
    """The counters in the order of the page, and a judgement for every line."""

    counters: tuple[Counter, ...] = ()
    judgements: tuple[Judgement, ...] = ()

    def tally(self) -> Tally[Verdict]:
        """Count the judgements by verdict."""
        return Tally(judgement.verdict for judgement in self.judgements)


_TYPES = {
    **{type_.value: type_ for type_ in CounterType},
    # NVIDIA's grammar has both, but a single number is neither.
    "histogram": CounterType.UNTYPED,
    "summary": CounterType.UNTYPED,
}
_SPECIALS = {special.value: special for special in Special}

# Words joined by underscores, as no type is.
_METRIC_NAME = re.compile("[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)+")

# XIDs of GPUs and SXids of NvSwitches: other exporters count them.
_ERROR_NUMBERS = frozenset({230, 856, 857})


class _RejectedError(Exception):
    """Raised when a well-formed line gives no counter."""

    def __init__(self, verdict: Verdict, name: str, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict
        self.name = name


def read_counter_set(default: Path, additional: Sequence[Path]) -> CounterSet:
    """Read the default counters, then the user's.

    Raises ConfigurationError when a file cannot be read. The first definition of a
    field counts, so the user's files cannot redefine a default counter.
    """
    counters: list[Counter] = []
    judgements: list[Judgement] = []
    for path in (default, *additional):
        part = parse_counters(read_file(path, "counters file", is_public=True), path, counters)
        counters += part.counters
        judgements += part.judgements
    return CounterSet(tuple(counters), tuple(judgements))


def parse_counters(content: str | bytes, path: Path, earlier: Sequence[Counter] = ()) -> CounterSet:
    """Judge every line of ``content``, which came from ``path``.

    ``earlier`` are the counters of the files before it, which it cannot redefine.
    """
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    first = {counter.name: counter for counter in earlier}
    counters: list[Counter] = []
    judgements: list[Judgement] = []
    for number, line in numbered_lines(content):
        verdict = Verdict.OK
        try:
            columns = split_columns(line)
            counter = _counter(columns, path, number)
            _reject_duplicate(counter, first)
        except MalformedLineError as error:
            verdict, name, message = Verdict.MALFORMED, error.name, str(error)
        except _RejectedError as error:
            verdict, name, message = error.verdict, error.name, str(error)
        else:
            name, message = counter.name, _describe(counter, columns.type, first.values())
            first[name] = counter
            counters.append(counter)
        judgements.append(Judgement(path, number, verdict, name, message))
    return CounterSet(tuple(counters), tuple(judgements))


def _counter(columns: Columns, path: Path, number: int) -> Counter:
    name, field, special, peak = _resolve(columns.name)
    type_ = _TYPES.get(columns.type.lower())
    if type_ is None:
        raise _RejectedError(Verdict.MALFORMED, name, _why_no_type(columns))
    reason = (peak and why_no_peak(peak)) or _why_unsupported(type_, field)
    if reason:
        raise _RejectedError(Verdict.UNSUPPORTED, name, reason)
    if peak or (field and _why_gauge(field) and type_ is not CounterType.LABEL):
        type_ = CounterType.GAUGE
    return Counter(name, type_, columns.help, field, special, path, number, peak)


def _resolve(name: str) -> tuple[str, Field | None, Special | None, Peak | None]:
    """Return the name to print, in its established case, and what it means."""
    special = _SPECIALS.get(name.upper())
    if special:
        return special.value, None, special, None
    field = field_by_name(name)
    if field is None and (found := peak_by_name(name)):
        return found[0], None, None, found[1]
    if field is None:
        similar = similar_name(name, _SPECIALS)
        suggestion = f"; did you mean {similar}?" if similar else ""
        message = f"no DCGM field has this name or id{suggestion}"
        raise _RejectedError(Verdict.UNKNOWN, name, message)
    known = {spelling.upper(): spelling for spelling in field.names}
    return known.get(name.upper(), field.name), field, None, None


def _why_no_type(columns: Columns) -> str:
    """Return what is wrong with the second column; other tools have a new name there."""
    third = columns.help.partition(",")[0].strip().lower()
    if third in _TYPES or _METRIC_NAME.fullmatch(columns.type):
        return (
            f"metrics cannot be renamed, here to {columns.type!r}:"
            " a line has the columns field, type, help"
        )
    return f"type {columns.type!r} is not one of {', '.join(_TYPES)}"


def _why_gauge(field: Field) -> str:
    """Return why a field is a gauge whatever a file says, empty if it need not be."""
    if field.is_rate:
        return "a rate per second does not only grow"
    return "the number of an error is no count" if field.id in _ERROR_NUMBERS else ""


def _why_unsupported(type_: CounterType, field: Field | None) -> str:
    """Return why a counter that exists cannot be exported this way, empty if it can."""
    if field is None:
        return "a family of several series cannot be a label" if type_ is CounterType.LABEL else ""
    if field.internal_only:
        return f"field {field.id} is internal to DCGM and cannot be read"
    if field.value_type is ValueType.BLOB:
        return f"field {field.id} holds a binary structure, not a number"
    if field.level is EntityLevel.CONNECTX:
        return f"field {field.id} belongs to ConnectX adapters, which are not collected"
    if field.value_type is ValueType.STRING and type_ is not CounterType.LABEL:
        return f"field {field.id} holds a text, not a number: use type label"
    return ""


def _reject_duplicate(counter: Counter, first: Mapping[str, Counter]) -> None:
    previous = first.get(counter.name)
    if previous is None:
        return
    rule = (
        "the first line counts"
        if previous.path == counter.path
        else "a file cannot redefine a counter of an earlier one"
    )
    message = f"already defined at {previous.path}:{previous.line}; {rule}"
    raise _RejectedError(Verdict.DUPLICATE, counter.name, message)


def _describe(counter: Counter, written_type: str, earlier: Iterable[Counter]) -> str:
    """Say what a good line gives, and what may surprise about it."""
    field = counter.field
    if counter.peak:
        summarised = counter.peak.field
        return f"{counter.peak.statistic.value} value of field {summarised.id} between two readings"
    if field is None:
        return f"{counter.type.value} made by the exporter"
    parts = [f"{counter.type.value} of field {field.id} ({field.level.word})"]
    if counter.type is CounterType.GAUGE and written_type.lower() != CounterType.GAUGE.value:
        parts.append(f"not {written_type.lower()}: {_why_gauge(field)}")
    if field.id == GPU_UTILIZATION_RATIO:
        parts.append("from 0 to 1: dcgm-exporter 4.8.3 and 4.8.4 have percent under this name")
    others = (f"{one.name} ({one.path}:{one.line})" for one in earlier if one.field is field)
    if also := ", ".join(others):
        parts.append(f"the page has it as {also} as well, which doubles its series")
    return "; ".join(parts)
