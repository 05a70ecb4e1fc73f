"""Read counters CSVs: the counters of a page, and a verdict for every line.

A field may be given by any name it ever had, in any case, or by its id; a type in any case. A
bad line is judged and skipped; it never stops the exporter. ``csv_lines`` splits the lines.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from do_dcgm_exporter.config.csv_lines import MalformedLineError, numbered_lines, split_columns
from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.dcgm.fields import EntityLevel, Field, ValueType, all_fields, field_by_name
from do_dcgm_exporter.errors import hint


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
    P2P_STATUS = "DCGM_EXP_P2P_STATUS"


class Verdict(Enum):
    """How a line was judged; only OK gives a counter."""

    OK = "ok"
    UNKNOWN = "unknown"
    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Counter:
    """A line of a counters CSV that was judged OK; either ``field`` or ``special`` is set."""

    name: str
    type: CounterType
    help: str
    field: Field | None
    special: Special | None
    path: Path
    line: int


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

# 449 is a rate and 856 and 857 are error numbers, whatever other exporters call them.
_ALWAYS_GAUGES = frozenset({449, 856, 857})


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
    first = {_subject(counter): counter for counter in earlier}
    counters: list[Counter] = []
    judgements: list[Judgement] = []
    for number, line in numbered_lines(content):
        verdict = Verdict.OK
        try:
            counter = _counter(line, path, number)
            _reject_duplicate(counter, first)
        except MalformedLineError as error:
            verdict, name, message = Verdict.MALFORMED, error.name, str(error)
        except _RejectedError as error:
            verdict, name, message = error.verdict, error.name, str(error)
        else:
            first[_subject(counter)] = counter
            counters.append(counter)
            name, message = counter.name, _describe(counter)
        judgements.append(Judgement(path, number, verdict, name, message))
    return CounterSet(tuple(counters), tuple(judgements))


def _counter(line: bytes, path: Path, number: int) -> Counter:
    columns = split_columns(line)
    name, field, special = _resolve(columns.name)
    type_ = _TYPES.get(columns.type.lower())
    if type_ is None:
        message = f"type {columns.type!r} is not one of {', '.join(_TYPES)}"
        raise _RejectedError(Verdict.MALFORMED, name, message)
    reason = _why_unsupported(type_, field)
    if reason:
        raise _RejectedError(Verdict.UNSUPPORTED, name, reason)
    if field and field.id in _ALWAYS_GAUGES and type_ is not CounterType.LABEL:
        type_ = CounterType.GAUGE
    return Counter(name, type_, columns.help, field, special, path, number)


def _resolve(name: str) -> tuple[str, Field | None, Special | None]:
    """Return the name to print, in its established case, and what it means."""
    special = _SPECIALS.get(name.upper())
    if special:
        return special.value, None, special
    field = field_by_name(name)
    if field is None:
        message = f"no DCGM field has this name or id{_suggestion(name)}"
        raise _RejectedError(Verdict.UNKNOWN, name, message)
    known = {spelling.upper(): spelling for spelling in field.names}
    return known.get(name.upper(), field.name), field, None


def _suggestion(name: str) -> str:
    # Comparing with all spellings takes a while: only what could be a name is worth it.
    if not name.upper().startswith("DCGM_"):
        return ""
    spellings = [*_SPECIALS, *(spelling for field in all_fields() for spelling in field.names)]
    return hint(name.upper(), spellings, cutoff=0.8)


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


def _reject_duplicate(counter: Counter, first: dict[object, Counter]) -> None:
    previous = first.get(_subject(counter))
    if previous is None:
        return
    place = f"{previous.path}:{previous.line}"
    spelling = "" if previous.name == counter.name else f" as {previous.name}"
    rule = (
        "the first line counts"
        if previous.path == counter.path
        else "a file cannot redefine a counter of an earlier one"
    )
    message = f"already defined at {place}{spelling}; {rule}"
    raise _RejectedError(Verdict.DUPLICATE, counter.name, message)


def _subject(counter: Counter) -> object:
    """Return what a counter shows, which is the same for every spelling of a field."""
    return counter.field.id if counter.field else counter.special


def _describe(counter: Counter) -> str:
    if counter.field is None:
        return f"{counter.type.value} made by the exporter"
    policy = ", always a gauge" if counter.field.id in _ALWAYS_GAUGES else ""
    return f"{counter.type.value} of field {counter.field.id} ({counter.field.level.value}{policy})"
