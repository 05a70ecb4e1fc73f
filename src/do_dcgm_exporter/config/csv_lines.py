"""Split the lines of a counters CSV into their three columns: ``field, type, help``.

The grammar is that of NVIDIA's dcgm-exporter, read generously: white space and quotes anywhere
around a column, comments after white space, commas and quotes in an unquoted help text, a byte
order mark, any line ending. A quoted text ends with its line, so a stray quote cannot swallow the
rest of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_LONGEST_LINE = 4096

# A column and the comma after it; quotes in a quoted column are doubled.
_COLUMN = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")*)"\s*|(?P<bare>[^",\s][^,]*)?)(?:,|$)')

# What a file's lines do not end with, and the lines of a page, to some programs that read them, do.
_OTHER_LINE_ENDS = re.compile("[\v\f\x1c-\x1e\x85\u2028\u2029]")


class Columns(NamedTuple):
    """The three columns of a line, without the white space and quotes around them."""

    name: str
    type: str
    help: str


class MalformedLineError(ValueError):
    """Raised when a line does not have three columns; ``name`` is the first, if it is known."""

    def __init__(self, reason: str, name: str = "") -> None:
        super().__init__(reason)
        self.name = name


def numbered_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are neither empty nor comments, with their numbers from 1."""
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith(b"#"):
            yield number, line


def split_columns(line: bytes) -> Columns:
    """Split one line into its columns; raises MalformedLineError."""
    text = _decode(line)
    name, end = _column(text, 0)
    if not name:
        raise MalformedLineError("the line names no field")
    type_, end = _column(text, end)
    if end == len(text) and not text.endswith(","):
        raise MalformedLineError("a line has three columns: field, type, help", name)
    return Columns(name, type_, _help(text[end:].strip(), name))


def _decode(line: bytes) -> str:
    if len(line) > _LONGEST_LINE:
        raise MalformedLineError(f"the line is longer than {_LONGEST_LINE} bytes")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedLineError(f"byte {error.start + 1} of the line is not UTF-8") from error
    if "\0" in text:
        raise MalformedLineError("the line holds a NUL, so it is not text")
    return text


def _column(text: str, start: int) -> tuple[str, int]:
    """Return the column that begins at ``start`` and where the next one begins."""
    match = _COLUMN.match(text, start)
    if match is None:
        raise MalformedLineError(f"the quotes of the column at character {start + 1} do not match")
    quoted = match["quoted"]
    column = (match["bare"] or "") if quoted is None else quoted.replace('""', '"')
    return column.strip(), match.end()


def _help(text: str, name: str) -> str:
    """Return the help text, which is the rest of the line, without line breaks."""
    return _OTHER_LINE_ENDS.sub(" ", _unquoted(text, name))


def _unquoted(text: str, name: str) -> str:
    if not text.startswith('"'):
        return text
    match = _COLUMN.match(text)
    if match is None:
        raise MalformedLineError("the quotes of the help text do not match", name)
    # What follows a quoted help text belongs to it, as what follows a comma does.
    return match["quoted"].replace('""', '"') if match.end() == len(text) else text
