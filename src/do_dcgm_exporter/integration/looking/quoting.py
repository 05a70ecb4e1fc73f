"""systemd's quoting, both ways: systemd.syntax(7), systemd.exec(5), systemd.service(5)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# What may stand in a word without quotes, and means nothing to systemd.
_PLAIN = re.compile(r"[A-Za-z0-9_@=:,./+-]+")
# Undecodable bytes of a path come as surrogates (PEP 383).
_ESCAPED = re.compile(r'[\\"]|([\x00-\x1f\x7f\ud800-\udfff])')
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)\})")
_SPECIALS = re.compile(r"\\(.)", re.DOTALL)


def command_line(words: Sequence[str]) -> str:
    """Write words of the manager's view as the value of an ``ExecStart=``.

    In that view specifiers are resolved and variables are not: ``%`` has to be escaped,
    and ``$`` keeps its meaning, be it ``${PORT}`` or ``$$``.
    """
    # A lone semicolon would end the command.
    return " ".join('";"' if word == ";" else quoted(word) for word in words)


def quoted(word: str) -> str:
    """Write one word with specifiers and quotes escaped."""
    word = word.replace("%", "%%")
    return word if _PLAIN.fullmatch(word) else f'"{_ESCAPED.sub(_escaped, word)}"'


def _escaped(match: re.Match[str]) -> str:
    if match[1] is None:
        return "\\" + match[0]
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))


def expanded(words: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Substitute variables as systemd does when it runs a command.

    ``${X}`` is put into its word; a word that is ``$X`` alone is split at blanks, into none
    if there is nothing.
    """
    found: list[str] = []
    for index, word in enumerate(words):
        alone = re.fullmatch(r"\$(\w+)", word)
        if alone and index:
            found += variables.get(alone[1], "").split()
        else:
            found.append(_VARIABLE.sub(lambda m: variables.get(m[1], "") if m[1] else "$", word))
    return found


def environment_file(text: str) -> dict[str, str]:
    """Read the assignments of an ``EnvironmentFile=``."""
    lines = (line.strip() for line in text.replace("\\\n", "").splitlines())
    assignments = (line.partition("=") for line in lines if not line.startswith(("#", ";")))
    return {name.strip(): _unquoted(value.strip()) for name, equals, value in assignments if equals}


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return _SPECIALS.sub(r"\1", value)
