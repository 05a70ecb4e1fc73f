"""Change keys of the configuration file in place, for the Debian package's questions.

Everything the admin wrote is kept byte for byte: a key that already has the wanted value is not
touched, any other gets a new value on its line, and a new key goes below the commented line that
explains it. A value that the exporter refuses is kept too, with a message: only the admin knows
what was meant.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from do_dcgm_exporter import durable_files
from do_dcgm_exporter.config.option_values import BOOLEANS
from do_dcgm_exporter.config.options import OPTIONS
from do_dcgm_exporter.errors import ConfigurationError

# A choice must outlive a change of the default, so it is always written.
_ALWAYS_WRITTEN = frozenset({"engine"})
_OPTIONS = {option.name: option for option in OPTIONS}
_BOM = "\xef\xbb\xbf"  # in Latin-1


def main(arguments: Sequence[str]) -> int:
    """Run ``edit-config FILE TEMPLATE KEY=VALUE...``; FILE is made of TEMPLATE if missing."""
    path, template = Path(arguments[0]), Path(arguments[1])
    answers = dict(argument.split("=", 1) for argument in arguments[2:])
    try:
        edit_file(path, template, answers)
    except OSError as error:
        print(f"edit-config: cannot write {path}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def edit_file(path: Path, template: Path, answers: Mapping[str, str]) -> None:
    """Write the answers to the file at ``path``; its mode and owner stay. Raises OSError."""
    path = path.resolve()
    exists = path.exists()
    before = (path if exists else template).read_bytes()
    after = edited(before, answers)
    if exists and after == before:
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    durable_files.replace(path, after, os.stat(path) if exists else None)


def edited(content: bytes, answers: Mapping[str, str]) -> bytes:
    """Return ``content`` with the answers in it."""
    # Latin-1 preserves every byte, whatever the encoding of the file.
    text = content.decode("latin-1")
    mark = _BOM if text.startswith(_BOM) else ""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text[len(mark) :])
    for key, answer in answers.items():
        _set(lines, key, answer.encode().decode("latin-1"))
    return (mark + "".join(lines)).encode("latin-1")


def _set(lines: list[str], key: str, answer: str) -> None:
    for number, line in enumerate(lines):
        match = _setting(key).fullmatch(line)
        if match:
            value = match["value"] or ""
            if not _is_understood(key, value, inverted=bool(match["no"])):
                print(
                    f"do-dcgm-exporter: line {number + 1} of the configuration stays, although"
                    f" {key} cannot be {value.strip() or 'empty'}",
                    file=sys.stderr,
                )
            elif _meaning(value, inverted=bool(match["no"])) != _meaning(answer):
                lines[number] = _with_value(match, key, answer)
            return
    if key in _ALWAYS_WRITTEN or _meaning(answer) != _meaning(_default(key)):
        _insert(lines, key, f"{key} = {answer}")


def _setting(key: str) -> re.Pattern[str]:
    """Return the pattern of a line that sets ``key``, in all forms that ConfigArgParse reads."""
    return re.compile(
        rf"(?P<indent>\s*)(?P<dashes>(?:--)?)(?P<no>(?:no-)?){re.escape(key)}"
        r"(?P<equal>[ \t]*[:=][ \t]*|[ \t]+|(?=[\r\n]*$))(?P<value>[^\r\n]*?)"
        r"(?P<rest>(?:[ \t]+[;#][^\r\n]*)?[ \t]*[\r\n]*)",
        re.ASCII,
    )


def _is_understood(key: str, value: str, *, inverted: bool) -> bool:
    """Return whether the exporter accepts the value; if not, it says why itself."""
    text = value.strip(" \t").strip("'\"")
    option = _OPTIONS[key]
    if option.parse is None:
        return text.lower() in BOOLEANS or (text.lower() == "auto" and not inverted)
    items = [item.strip(" \t'\"") for item in text.strip("[]").split(",")]
    try:
        for item in items if option.repeatable else [text]:
            option.parse(item)
    except ConfigurationError:
        return False
    return True


def _with_value(match: re.Match[str], key: str, answer: str) -> str:
    equal = match["equal"] if match["value"] else " = "
    return f"{match['indent']}{match['dashes']}{key}{equal}{answer}{match['rest']}"


def _meaning(value: str, *, inverted: bool = False) -> object:
    """Return what all spellings of one value have in common."""
    text = value.strip(" \t").strip("'\"")
    if text.lower() == "auto":
        return "auto"
    if text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()] is not inverted
    items = [item.strip(" '\"") for item in text.strip("[]").split(",")]
    if len(items) > 1 or text.startswith("["):
        return sorted(items)
    return sorted(items) if text else []


def _default(key: str) -> str:
    return _OPTIONS[key].default.removeprefix("(").removesuffix(")")


def _insert(lines: list[str], key: str, setting: str) -> None:
    """Put a setting below the commented line that explains it, or at the end."""
    explained = [n for n, line in enumerate(lines) if re.match(rf"#\s*{re.escape(key)}\s*=", line)]
    position = explained[-1] + 1 if explained else len(lines)
    ending = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if position and not lines[position - 1].endswith("\n"):
        lines[position - 1] += ending
    lines.insert(position, setting + ending)
