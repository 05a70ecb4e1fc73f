"""Words and commands of shell text, with as much of its quoting as wrapper scripts use.

shlex(3) forgets what was quoted and takes a ``#`` in a word for a comment, so that it cannot
tell ``'$X'`` from ``$X``. What is not read here is refused, never guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

# Stands in a word for what only shows when the script runs.
UNKNOWN = "\0"

_NAME = r"(?:[A-Za-z_]\w*|\d)"
_VARIABLE = rf"""\$(?:{_NAME}|[@*#?$!-]|\{{{_NAME}(?:-|:-[^{{}}$"'`\\]*)?\}})"""
# Programs that change nothing.
_SUBSTITUTION = (
    r"\$\((?:basename|cat|dirname|echo|hostname|nproc|printf|pwd|readlink|realpath|uname)"
    r"""(?:[ ]+(?:[^\s()"'`|;&<>\\]+|"[^()"`\\]*"|'[^']*'))*\)"""
)
_PART = rf"""'[^']*'|"(?:[^"\\$`]|\\.|{_SUBSTITUTION}|{_VARIABLE})*"|\\[^\n]"""
_PART += rf"""|{_SUBSTITUTION}|{_VARIABLE}|[^\s;&|()<>'"\\`$]"""
_FLAGS = re.VERBOSE | re.DOTALL | re.ASCII
_TOKEN = re.compile(
    rf"""(?:[ \t]|\\\n)+|\#[^\n]*
    |(?P<redirection>(?:\d*|&)(?:>>|>&|<&|>|<)(?!<))
    |(?P<operator>&&|\|\||;;|[\n;&|()])
    |(?P<word>(?:{_PART})+)""",
    _FLAGS,
)
_PARTS = re.compile(_PART, _FLAGS)
_EXPANSIONS = re.compile(rf"{_SUBSTITUTION}|{_VARIABLE}|\\.", _FLAGS)
_HARMLESS_TARGETS = frozenset({"/dev/null", "1", "2", "-"})
_OWN_DIRECTORY = re.compile(r'\$\(dirname +"?\$0"?\)')
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)

# Returns the value of a variable, nothing of one that is not set.
Lookup = Callable[[str], str]
# Returns the text of a file, nothing of one that is not there.
ReadText = Callable[[str], str]


class NotUnderstood(Exception):
    """Raised for a command that does more than to start a program."""


@dataclass(frozen=True, slots=True)
class Call:
    """A program and its arguments, its environment, and the directory that it starts in."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str = "/"


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command: its words as they are written, and the operator that follows it.

    ``is_redirected`` is whether it reads or writes a file.
    """

    words: tuple[str, ...]
    is_redirected: bool
    operator: str


def commands(text: str) -> Iterator[Command]:
    """Yield the simple commands of a script. Raises NotUnderstood where it cannot go on."""
    words: list[str] = []
    is_redirected = is_target = False
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise NotUnderstood(text[position:].partition("\n")[0])
        position = token.end()
        if token["redirection"]:
            is_target = True
        elif token["word"] and is_target:
            is_redirected = is_redirected or token["word"] not in _HARMLESS_TARGETS
            is_target = False
        elif token["word"]:
            words.append(token["word"])
        elif token["operator"]:
            yield Command(tuple(words), is_redirected, token["operator"])
            words, is_redirected = [], False
    yield Command(tuple(words), is_redirected, "\n")


def value(word: str, lookup: Lookup) -> str:
    """Return what a word is without being split: the value of an assignment, a file's name."""
    return "".join(_text(part[0], lookup) for part in _PARTS.finditer(word))


def fields(word: str, lookup: Lookup, positional: Sequence[str]) -> list[str]:
    """Return the words that a word becomes. Raises NotUnderstood if that cannot be known."""
    if word == '"$@"':
        return list(positional)
    if "$@" in word and word != "$@":
        raise NotUnderstood(word)
    found, is_quoted = [""], False
    for part in _PARTS.finditer(word):
        text = _text(part[0], lookup)
        if part[0][0] != "$":
            found[-1] += text
            is_quoted = True
        elif UNKNOWN in text:
            raise NotUnderstood(part[0])
        else:
            first, *others = re.split(r"\s+", text)
            found[-1] += first
            found += others
    return [one for one in found if one] or ([""] if is_quoted else [])


def _text(part: str, lookup: Lookup) -> str:
    if part[0] == "'":
        return part[1:-1]
    if part[0] == "\\":
        return part[1:]
    if part[0] == '"':
        return _EXPANSIONS.sub(lambda match: _expanded(match[0], lookup), part[1:-1])
    return _expanded(part, lookup) if part[0] == "$" else part


def _expanded(text: str, lookup: Lookup) -> str:
    """Expand a variable, a substitution, or a backslash in double quotes."""
    if text[0] == "\\":
        return text[1:] if text[1] in '$`"\\' else text.replace("\\\n", "")
    if text.startswith("$("):
        return os.path.dirname(lookup("0")) or "." if _OWN_DIRECTORY.fullmatch(text) else UNKNOWN
    name, dash, default = text.strip("${}").partition("-")
    if dash and name:
        return lookup(name.rstrip(":")) or default
    return lookup(name or text[1:])
