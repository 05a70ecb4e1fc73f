"""``--list-fields``: what a user needs to write a counters file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from do_dcgm_exporter.commands.terminal import Cell, Terminal, table
from do_dcgm_exporter.config.counters import Special
from do_dcgm_exporter.dcgm.fields import Field, all_fields
from do_dcgm_exporter.errors import ExporterError

_EMPTY: Cell = ("", "")
# Wide enough for most.
_OTHER_NAME = 48

_HEADER = ("ID", "NAME", "TYPE", "ENTITY", "UNIT", "OTHER NAMES")


# What has a family of the exporter's own, if it is not GPUs.
_ENTITIES = {Special.FABRIC_HEALTH_STATUS: "fabric"}


def list_fields(pattern: str, terminal: Terminal | None = None) -> str:
    """Return a table of the matching fields and of the exporter's own families.

    A pattern is part of a name or id, in any case, or a glob for all of it (``*``, ``?``,
    ``[]``); an empty one matches everything. On a ``terminal`` each other name gets its own
    line. Raises ExporterError if nothing matches.
    """
    rows = [_row(field) for field in all_fields()]
    rows += [
        ("-", special.value, "-", _ENTITIES.get(special, "GPU"), "-", "") for special in Special
    ]
    found = [row for row in rows if _matches(pattern.upper(), row)]
    if not found:
        raise ExporterError(
            f"no field has {pattern!r} in a name or its id, or matches it as a glob"
        )
    return _aligned([_HEADER, *found]) if terminal is None else _wrapped(terminal, found)


def _row(field: Field) -> tuple[str, ...]:
    return (
        str(field.id),
        field.name,
        field.value_type.name.lower(),
        field.level.word,
        field.unit or "-",
        " ".join(field.names[1:]),
    )


def _matches(pattern: str, row: Sequence[str]) -> bool:
    identifiers = (row[0], *row[1].upper().split(), *row[5].upper().split())
    return any(pattern in text or _globs(pattern, text) for text in identifiers)


def _globs(pattern: str, text: str) -> bool:
    try:
        return fnmatchcase(text, pattern)
    except re.error:  # [z-a], before Python 3.12
        return False


def _wrapped(terminal: Terminal, rows: Sequence[Sequence[str]]) -> str:
    """Put other names beside their field, or below it if there is no room."""
    *widths, _ = (max(map(len, column)) for column in zip(_HEADER, *rows))
    has_room = sum(widths) + 2 * len(widths) + _OTHER_NAME <= terminal.width
    lines: list[list[Cell]] = [[(name, "dim") for name in _HEADER[: 6 if has_room else 5]]]
    for number, name, *facts, others in rows:
        line = [(number, "dim"), (name, "bold"), *((fact, "") for fact in facts)]
        names: list[Cell] = [(other, "dim") for other in others.split()]
        if has_room:
            first, *more = names or [("", "")]
            lines += [[*line, first], *([*[_EMPTY] * 5, other] for other in more)]
        else:
            lines += [line, *([_EMPTY, (f"  {other}", style)] for other, style in names)]
    return table(terminal, lines)


def _aligned(rows: Iterable[Sequence[str]]) -> str:
    rows = list(rows)
    *widths, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "".join(
        "  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() + "\n" for row in rows
    )
