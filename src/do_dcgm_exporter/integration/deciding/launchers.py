"""Programs that become another one: env(1), nice(1), taskset(1) and their like."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.integration.deciding.shell import NotUnderstood, assignment
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE


@dataclass(frozen=True, slots=True)
class _Launcher:
    """The options of a launcher: letters and words without a value, and with one.

    ``operands`` is how many words come between the options and the command.
    """

    switches: frozenset[str] = frozenset()
    valued: frozenset[str] = frozenset()
    operands: int = 0


def _launcher(switches: str = "", valued: str = "", operands: int = 0) -> _Launcher:
    return _Launcher(frozenset(switches.split()), frozenset(valued.split()), operands)


# Options that do something else (env -i, taskset -p, setsid -f) are left out on purpose.
_LAUNCHERS: Mapping[str, _Launcher] = {
    "env": _launcher("v debug", "u unset C chdir"),
    "nice": _launcher("", "n adjustment"),
    "ionice": _launcher("t ignore", "c class n classdata"),
    "chrt": _launcher(
        "a all-tasks b batch f fifo i idle o other r rr R reset-on-fork v verbose",
        "T sched-runtime P sched-period D sched-deadline",
        operands=1,
    ),
    "taskset": _launcher("a all-tasks c cpu-list", operands=1),
    "numactl": _launcher(
        "a all l localalloc b balancing",
        "i interleave m membind N cpunodebind C physcpubind p preferred P preferred-many",
    ),
    "nohup": _launcher(),
    "setsid": _launcher("c ctty w wait"),
    "stdbuf": _launcher("", "i input o output e error"),
    "exec": _launcher("", "a"),
}


def without_launchers(
    words: Sequence[str], environment: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Return the command that launchers end in, and its environment.

    Raises NotUnderstood where one does more than to become the command.
    """
    rest, variables = list(words), dict(environment)
    while rest and (name := os.path.basename(rest[0])) in _LAUNCHERS:
        launcher = _LAUNCHERS[name]
        rest = _without_options(rest[1:], launcher, variables)[launcher.operands :]
        while name == "env" and rest and (pair := assignment(rest[0])):
            variables[pair[0]] = pair[1]
            rest.pop(0)
    if not rest:
        raise NotUnderstood(" ".join(words))
    return rest, variables


def is_before_program(word: str) -> bool:
    """Whether a word can come before a program's name: a launcher, its option, a variable."""
    return word.startswith("-") or word in _LAUNCHERS or assignment(word) is not None


def _without_options(words: list[str], launcher: _Launcher, variables: dict[str, str]) -> list[str]:
    while words and words[0].startswith("-") and len(words[0]) > 1:
        word = words.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--") and name not in launcher.switches:
            name, equals, value = word[1], word[2:], word[2:]  # -n5 has its value in it
            if set(word[1:]) <= launcher.switches:
                continue
        if name in launcher.switches:
            continue
        if name not in launcher.valued and not (word[1:].isdigit() and "n" in launcher.valued):
            raise NotUnderstood(word)
        if not equals and not word[1:].isdigit():
            value = words.pop(0) if words else ""
        if name in ("u", "unset"):
            if value == REMOTE_VARIABLE:
                raise NotUnderstood(word)  # what we set would not reach it
            variables.pop(value, None)
    return words
