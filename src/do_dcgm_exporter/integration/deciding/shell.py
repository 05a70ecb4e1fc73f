"""Words and commands of shell text, with as much of its quoting as wrapper scripts use.

shlex(3) forgets what was quoted and takes a ``#`` in a word for a comment, so that it cannot
tell ``'$X'`` from ``$X``. What is not read here is refused, never guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Stands in a word for what only shows when the script runs.
UNKNOWN = "\0"

# Programs in $( ) that change nothing.
_HARMLESS = frozenset(
    {"basename", "cat", "dirname", "echo", "hostname", "nproc", "printf", "pwd", "readlink",
     "realpath", "uname"}
)  # fmt: skip
_SUBSTITUTION = r"""\$\((?!\()(?:[^()"'`|;&<>]|"(?:[^"\\`]|\\.)*"|'[^']*')*\)"""
_BRACES = r"""\$\{\w+(?::?-[^{}$"'`]*)?\}"""
_VARIABLE = r"\$(?:\w+|[@*#?$!-])"
_PART = rf"""'[^']*'|"(?:[^"\\$`]|\\.|{_SUBSTITUTION}|{_BRACES}|{_VARIABLE})*"|\\[^\n]"""
_PART += rf"""|{_SUBSTITUTION}|{_BRACES}|{_VARIABLE}|[^\s;&|()<>'"\\`$]"""
_TOKEN = re.compile(
    rf"""(?:[ \t\r]|\\\n)+|\#[^\n]*
    |(?P<redirection>(?:\d*|&)(?:>>|>&|<&|>|<)(?!<))
    |(?P<operator>&&|\|\||;;|[\n;&|()])
    |(?P<word>(?:{_PART})+)""",
    re.VERBOSE | re.DOTALL,
)
_PARTS = re.compile(_PART, re.DOTALL)
_EXPANSIONS = re.compile(rf"{_SUBSTITUTION}|{_BRACES}|{_VARIABLE}|\\(.)", re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)

Lookup = Callable[[str], str]


class NotUnderstood(Exception):
    """Raised for shell text that is more than a plain wrapper."""


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command: its words as they are written, and the operator that follows it."""

    words: tuple[str, ...]
    redirections: tuple[tuple[str, str], ...]
    operator: str

    def without_first(self) -> Command:
        """Return what follows the first word."""
        return Command(self.words[1:], self.redirections, self.operator)


def commands(text: str) -> Iterator[Command]:
    """Yield the simple commands of a script. Raises NotUnderstood where it cannot go on."""
    words: list[str] = []
    redirections: list[tuple[str, str]] = []
    waiting = ""
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise NotUnderstood(text[position:].partition("\n")[0])
        position = token.end()
        if token["redirection"]:
            waiting = token["redirection"]
        elif token["word"] and waiting:
            redirections.append((waiting, token["word"]))
            waiting = ""
        elif token["word"]:
            words.append(token["word"])
        elif token["operator"]:
            yield Command(tuple(words), tuple(redirections), token["operator"])
            words, redirections = [], []
    yield Command(tuple(words), tuple(redirections), "\n")


def assignment(word: str) -> tuple[str, str] | None:
    """Return name and value, as written, of a word that assigns a variable."""
    match = _ASSIGNMENT.fullmatch(word)
    return (match[1], match[2]) if match else None


def value(word: str, lookup: Lookup) -> str:
    """Return what a word is without being split: the value of an assignment, a file's name."""
    return "".join(_text(part[0], lookup) for part in _PARTS.finditer(word))


def fields(word: str, lookup: Lookup, positional: tuple[str, ...] = ()) -> list[str]:
    """Return the words that a word becomes. Raises NotUnderstood if that cannot be known."""
    if word == '"$@"':
        return list(positional)
    if "$@" in word and word != "$@":
        raise NotUnderstood(word)
    found, is_open = [""], False
    for part in _PARTS.finditer(word):
        text = _text(part[0], lookup)
        if part[0][0] == "$":
            if UNKNOWN in text:
                raise NotUnderstood(part[0])
            pieces = re.split(r"\s+", text)
            found[-1] += pieces[0]
            found += pieces[1:]
            is_open = is_open or bool(text.strip())
        else:
            found[-1] += text
            is_open = True
    return [one for one in found if one] if len(found) > 1 or not is_open else found


def _text(part: str, lookup: Lookup) -> str:
    if part[0] == "'":
        return part[1:-1]
    if part[0] == "\\":
        return part[1:]
    inner = part[1:-1] if part[0] == '"' else part
    return _EXPANSIONS.sub(lambda match: _expansion(match, lookup, part[0] == '"'), inner)


def _expansion(match: re.Match[str], lookup: Lookup, in_quotes: bool) -> str:
    text = match[0]
    if text[0] == "\\":
        # In double quotes a backslash takes the meaning from these only.
        return text[1:] if not in_quotes or text[1] in '$`"\\' else text.replace("\\\n", "")
    if text.startswith("$("):
        return _substituted(text[2:-1], lookup)
    name, dash, default = text.strip("${}").partition("-")
    if dash and name:
        return lookup(name.rstrip(":")) or default
    return lookup(name or text[1:])


def _substituted(text: str, lookup: Lookup) -> str:
    """Return what a harmless command in $( ) prints, as far as that can be known."""
    (command,) = commands(text)
    words = [value(word, lookup) for word in command.words]
    if not words or words[0] not in _HARMLESS:
        raise NotUnderstood(text)
    if words[0] == "dirname" and len(words) == 2 and UNKNOWN not in words[1]:
        return os.path.dirname(words[1]) or "."
    return UNKNOWN
