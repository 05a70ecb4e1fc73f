"""Shell scripts that start one program and nothing else.

These statements are understood; any other might be done again by a restart, and is refused:

    NAME=WORD   export NAME=WORD   set -OPTION   cd DIRECTORY   . FILE   echo WORD   exit
    TEST && STATEMENT   TEST || STATEMENT   if TEST; then STATEMENTS; else STATEMENTS; fi
    PROGRAM ARGUMENTS   as the last one, in all cases
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import takewhile

from do_dcgm_exporter.integration.deciding import shell
from do_dcgm_exporter.integration.deciding.shell import UNKNOWN, NotUnderstood
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE

_DEEPEST = 3
_ENDS = frozenset({"\n", ";"})
_BRANCHES = frozenset({"if", "then", "else", "fi"})
RESERVED = _BRANCHES | frozenset(
    {"!", "{", "}", "case", "do", "done", "elif", "esac", "for", "function", "select", "time",
     "until", "while"}
)  # fmt: skip
_TESTS = frozenset({"[", "[[", "command", "test"})
_FILE_TEST = re.compile(r"(?:test|\[\[?) -[efrs] (\S+)(?: \]\]?)?")
_OF_THE_SHELL = _TESTS | {
    ":", "true", "echo", "printf", "ulimit", "umask", "shopt", "export", "set", "cd", ".", "source",
    "exit", "return",
}  # fmt: skip
_SET_OPTION = re.compile(r"[-+][aefuxEo]+|errexit|nounset|pipefail")
# Variables that systemd and the shell set: systemd.exec(5), "Environment Variables Set".
_OF_THE_SYSTEM = frozenset(
    {"CREDENTIALS_DIRECTORY", "HOME", "HOSTNAME", "LANG", "LOGNAME", "MAINPID", "PATH", "PPID",
     "PWD", "RANDOM", "RUNTIME_DIRECTORY", "SHELL", "STATE_DIRECTORY", "UID", "USER",
     "#", "?", "$", "!", "-"}
)  # fmt: skip


def started_by(text: str, caller: shell.Call, read: shell.ReadText) -> shell.Call:
    """Return the one command that a script starts; ``caller`` is how the script is called.

    Raises NotUnderstood if it does more, or less.
    """
    run = _Run(caller, read)
    run.script(text)
    if run.started is None:
        raise NotUnderstood("it starts nothing")
    return run.started


class _Run:
    """A run of a script. What it may do or not leaves unknown values behind."""

    def __init__(self, caller: shell.Call, read: shell.ReadText) -> None:
        self.started: shell.Call | None = None
        self._caller = caller
        self._read = read
        self._variables = dict(caller.environment)
        self._exported = set(caller.environment)
        self._exports_all = False
        self._directory = caller.directory
        self._depth = 0  # of files that are read

    def script(self, text: str) -> None:
        """Go through all commands."""
        ifs: list[bool] = []  # of each that is open, whether its branch is taken for certain
        before, is_certain = "\n", True
        for command in shell.commands(text):
            words = list(command.words)
            while before in _ENDS and words and words[0] in _BRANCHES:
                word = words.pop(0)
                if word == "if":
                    ifs.append(False)
                else:
                    ifs[-1:] = [] if word == "fi" else [word == "then" and is_certain]
            if words:
                is_certain = is_certain or before in _ENDS
                self._command(words, command, is_certain and all(ifs))
                before = command.operator
                is_certain = is_certain and before != "||" and self._succeeds(words)
            elif command.operator not in _ENDS or command.is_redirected:
                raise NotUnderstood(command.operator)

    def _succeeds(self, words: Sequence[str]) -> bool:
        """Return whether a command is known to succeed; of tests, that for a file that is there."""
        test = _FILE_TEST.fullmatch(" ".join(words))
        return bool(self._read(self._path([test[1]]))) if test else words[0] not in _TESTS

    def _command(self, words: list[str], command: shell.Command, is_certain: bool) -> None:
        own = list(takewhile(shell.ASSIGNMENT.match, words))
        name, *arguments = words[len(own) :] or [""]
        is_program = bool(name) and name not in _OF_THE_SHELL
        if command.operator not in _ENDS | {"&&", "||"} or name in RESERVED:
            raise NotUnderstood(f"{name} {command.operator}")
        if self.started and name != "exit":
            raise NotUnderstood(f"it goes on after the program: {name}")
        if not is_certain and (is_program or name == "cd"):
            raise NotUnderstood(f"it does {name} in some cases")
        if words == ["exec"]:
            return  # what it redirects is the program's
        if is_program:
            self._start([name, *arguments], own)
        elif command.is_redirected or (name and own):
            raise NotUnderstood(f"what is done to {name}")
        else:
            self._assign(own, is_certain, export=self._exports_all)
            self._do(name, arguments, is_certain)

    def _do(self, name: str, words: Sequence[str], is_certain: bool) -> None:
        """Do what a command of the shell itself does, if it is one with an effect."""
        if name == "export":
            self._assign(words, is_certain, export=True)
        elif name == "set":
            self._set(words, is_certain)
        elif name == "cd":
            self._directory = self._path(words)
        elif name in (".", "source"):
            self._source(self._path(words), is_certain)
        elif name in ("exit", "return") and is_certain and not self.started:
            raise NotUnderstood(f"{name} before the program")

    def _assign(self, words: Sequence[str], is_certain: bool, *, export: bool) -> None:
        for word in words:
            name, equals, text = word.partition("=")
            if not name.isidentifier():
                raise NotUnderstood(word)
            before = self._variables.get(name, "")
            after = self._value(text) if equals else before
            is_news = after != before or (export and name not in self._exported)
            self._variables[name] = after if is_certain or not is_news else UNKNOWN
            if export:
                self._exported.add(name)

    def _set(self, words: Sequence[str], is_certain: bool) -> None:
        for word in words:
            exports_all = word[0] in "-+" and "a" in word
            if not _SET_OPTION.fullmatch(word) or (exports_all and not is_certain):
                raise NotUnderstood(f"set {word}")
            if exports_all:
                self._exports_all = word[0] == "-"

    def _source(self, path: str, is_certain: bool) -> None:
        """Read a file of variables, in some cases only if there is nothing in it."""
        text = self._read(path)
        self._depth += 1
        if self._depth > _DEEPEST or (text and not is_certain):
            raise NotUnderstood(f"it reads {path} in some cases")
        self.script(text)
        self._depth -= 1
        if self.started:
            raise NotUnderstood(f"{path} starts it")

    def _start(self, words: Sequence[str], own: Sequence[str]) -> None:
        given = self._caller.words[1:]
        found = [field for word in words for field in shell.fields(word, self._lookup, given)]
        for before, word in zip(["", *found], found, strict=False):
            if word.startswith(UNKNOWN) and not before.startswith("-"):
                raise NotUnderstood(f"what {words[0]} is told only shows when it runs")
        self._assign(own, is_certain=True, export=True)
        environment = {name: self._variables.get(name, "") for name in self._exported}
        if not found or UNKNOWN in environment.get(REMOTE_VARIABLE, ""):
            raise NotUnderstood("what it starts only shows when it runs")
        self.started = shell.Call(tuple(found), environment, self._directory)

    def _path(self, words: Sequence[str]) -> str:
        path = os.path.join(self._directory, *map(self._value, words))
        if len(words) != 1 or UNKNOWN in path:
            raise NotUnderstood("a path that only shows when it runs")
        return path

    def _value(self, word: str) -> str:
        return shell.value(word, self._lookup)

    def _lookup(self, name: str) -> str:
        if name in ("@", "*"):
            return " ".join(self._caller.words[1:])
        if name.isdigit():
            return "".join(self._caller.words[int(name) : int(name) + 1])
        return self._variables.get(name, UNKNOWN if name in _OF_THE_SYSTEM else "")
