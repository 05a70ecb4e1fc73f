"""Shell scripts that start one program and nothing else.

Only that is understood: variables, ``if`` and tests that choose their values, files of
variables, and the program as the last command. Whatever else a script does might be done
again by a restart, so it is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.integration.deciding import shell
from do_dcgm_exporter.integration.deciding.shell import UNKNOWN, Command, NotUnderstood

# Returns the text of a file, nothing of one that is not there.
ReadText = Callable[[str], str]

_MOST_WAYS = 32
_DEEPEST = 3
_TESTS = frozenset({"[", "[[", "test"})
_OF_THE_SHELL = frozenset(
    {":", "true", "echo", "printf", "ulimit", "umask", "shopt", "export", "readonly", "set", "cd",
     ".", "source", "exit", "return"}
)  # fmt: skip
# Variables that systemd and the shell set: systemd.exec(5), "Environment Variables Set".
_OF_THE_SYSTEM = frozenset(
    {"CREDENTIALS_DIRECTORY", "HOME", "HOSTNAME", "LANG", "LOGNAME", "MAINPID", "PATH", "PPID",
     "PWD", "RANDOM", "RUNTIME_DIRECTORY", "SHELL", "STATE_DIRECTORY", "UID", "USER",
     "#", "?", "$", "!", "-"}
)  # fmt: skip
_HARMLESS_TARGETS = frozenset({"/dev/null", "1", "2", "-"})
# Words that begin or end something else than a simple command.
_OTHER_SYNTAX = frozenset(
    {"!", "{", "}", "case", "do", "done", "esac", "for", "function", "select", "time", "until",
     "while"}
)  # fmt: skip
_EXPANDED = frozenset("$`")
_RESERVED = _OTHER_SYNTAX | {"if", "then", "else", "elif", "fi"}


@dataclass(frozen=True, slots=True)
class Started:
    """What a script starts, as it would be called, and where."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str


@dataclass(frozen=True, slots=True)
class Caller:
    """How a script is called: ``$0``, its arguments, its environment and directory."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str = "/"


def started_by(text: str, caller: Caller, read: ReadText) -> tuple[Started, ...]:
    """Return the one command that a script starts, once for each way through it.

    Raises NotUnderstood if it does more, or less.
    """
    commands = tuple(shell.commands(text))
    ways: list[tuple[bool, ...]] = [()]
    found: list[Started] = []
    while ways:
        way = ways.pop()
        if len(ways) + len(found) >= _MOST_WAYS:
            raise NotUnderstood("too many ways through it")
        run = _Run(caller, read, way)
        try:
            run.script(commands)
        except _Undecided:
            ways += [(*way, False), (*way, True)]
        else:
            found += [run.started] if run.started else []
    if not found:
        raise NotUnderstood("it starts nothing")
    return tuple(found)


def commands_in(text: str) -> Iterator[list[str]]:
    """Yield the commands of a script, whatever it does; what is not known is ``UNKNOWN``."""
    try:
        for command in shell.commands(text):
            words = [word for word in command.words if word not in _RESERVED]
            yield [UNKNOWN if set(word) & _EXPANDED else _plain(word) for word in words]
    except NotUnderstood:
        return


def _plain(word: str) -> str:
    return shell.value(word, lambda _: UNKNOWN)


class _Undecided(Exception):
    """Raised where the way through a script depends on what only shows when it runs."""


class _Run:
    """One way through a script; ``way`` answers the tests that cannot be decided here."""

    def __init__(self, caller: Caller, read: ReadText, way: Sequence[bool]) -> None:
        self.started: Started | None = None
        self._caller = caller
        self._read = read
        self._way = list(way)
        self._depth = 0
        self._variables = dict(caller.environment)
        self._exported = set(caller.environment)
        self._exports_all = False
        self._directory = caller.directory
        self._has_ended = False
        # What is not taken has no effect, but has to be understood all the same.
        self._is_taken = True
        self._is_conditional = False

    def script(self, commands: Sequence[Command]) -> None:
        """Go through all commands."""
        rest = list(commands)
        self._list(rest, frozenset())
        if rest:
            raise NotUnderstood(" ".join(rest[0].words))

    def _list(self, commands: list[Command], ends: frozenset[str]) -> None:
        """Take commands, up to one that begins with a word of ``ends``."""
        while commands and not (commands[0].words and commands[0].words[0] in ends):
            first = commands[0]
            if not first.words:
                _refuse_effects(commands.pop(0))
            elif first.words[0] == "if":
                commands[0] = first.without_first()
                self._if(commands)
            else:
                self._chain(commands)

    def _if(self, commands: list[Command]) -> None:
        before = self._is_taken, self._is_conditional
        is_open, self._is_conditional = self._is_taken, True
        word = "if"
        while word != "fi":
            outcome = True
            if word != "else":
                self._is_taken = is_open
                outcome = self._chain(commands)
                _take_word(commands, "then")
            self._is_taken = is_open and outcome
            self._list(commands, frozenset({"elif", "else", "fi"}))
            is_open = is_open and not outcome
            word = _take_word(commands, "elif", "else", "fi")
        self._is_taken, self._is_conditional = before

    def _chain(self, commands: list[Command]) -> bool:
        """Take commands that are tied by ``&&`` and ``||``; return whether they succeed."""
        before = self._is_taken, self._is_conditional
        command = commands.pop(0)
        outcome = self._command(command)
        while command.operator in ("&&", "||"):
            self._is_conditional = self._is_conditional or _is_test(command)
            self._is_taken = self._is_taken and outcome is (command.operator == "&&")
            while commands and not commands[0].words:
                _refuse_effects(commands.pop(0))
            if not commands:
                raise NotUnderstood(command.operator)
            command = commands.pop(0)
            followed = self._command(command)
            outcome = followed if self._is_taken else outcome
            self._is_taken = before[0]
        self._is_taken, self._is_conditional = before
        if command.operator not in ("\n", ";"):
            raise NotUnderstood(command.operator)
        return outcome

    def _command(self, command: Command) -> bool:
        words = list(command.words)
        own = []
        while words and (pair := shell.assignment(words[0])):
            own.append((pair[0], shell.value(pair[1], self._value)))
            words.pop(0)
        name = words[0] if words else ""
        for word in words:
            shell.value(word, self._value)  # refuses a $( ) that does something
        if self.started and name != "exit":
            raise NotUnderstood(f"it goes on after the program: {name}")
        if name in _OTHER_SYNTAX or name == "if":
            raise NotUnderstood(name)
        if _is_test(command):
            return self._test(words)
        if _is_program(words):
            self._start(words, dict(own))
            return True
        if words != ["exec"]:
            _refuse_redirections(command)
        if self._is_taken and not self._has_ended:
            self._do(name, words[1:], own)
        return True

    def _do(self, name: str, words: Sequence[str], own: Sequence[tuple[str, str]]) -> None:
        """Do what a command of the shell itself does, if it is one without a side effect."""
        if name in ("export", "readonly"):
            pairs = [shell.assignment(word) or (word, "") for word in words]
            own = [(key, shell.value(text, self._value)) for key, text in pairs if "=" in words[0]]
            self._exported |= {key for key, _ in pairs} if name == "export" else set()
        for key, text in own:
            self._variables[key] = text
            if self._exports_all:
                self._exported.add(key)
        if name == "set":
            self._set(words)
        elif name == "cd":
            self._directory = self._path(words[0]) if len(words) == 1 else UNKNOWN
        elif name in (".", "source"):
            self._source(words)
        elif name in ("exit", "return"):
            self._has_ended = True

    def _set(self, words: Sequence[str]) -> None:
        for word in words:
            if not word.startswith(("-", "+")) and word not in ("pipefail", "allexport"):
                raise NotUnderstood("set")
            if word in ("--", "-", "+"):
                raise NotUnderstood("set --")
            if word == "allexport" or (word[0] == "-" and "a" in word):
                self._exports_all = True

    def _source(self, words: Sequence[str]) -> None:
        self._depth += 1
        if len(words) != 1 or self._depth > _DEEPEST:
            raise NotUnderstood("source")
        before = self._has_ended, self._is_conditional
        self._is_conditional = True  # a program in it is not the script's last command
        self.script(tuple(shell.commands(self._read(self._path(words[0])))))
        self._has_ended, self._is_conditional = before
        self._depth -= 1

    def _start(self, words: Sequence[str], own: Mapping[str, str]) -> None:
        if self._is_conditional or not self._is_taken:
            raise NotUnderstood(f"it starts {words[0]} in some cases")
        if self._has_ended:
            return
        found = [
            field
            for word in words
            for field in shell.fields(word, self._value, self._caller.arguments)
        ]
        for before, word in zip(["", *found], found, strict=False):
            if word.startswith(UNKNOWN) and not before.startswith("-"):
                raise NotUnderstood(f"what {words[0]} is told only shows when it runs")
        environment = {key: self._variables.get(key, "") for key in self._exported}
        self.started = Started(tuple(found), {**environment, **own}, self._directory)

    def _test(self, words: Sequence[str]) -> bool:
        """Answer a test, by the way through the script if nothing else tells."""
        if not self._is_taken or self._has_ended:
            return False
        terms = [shell.value(word, self._value) for word in words[1:]]
        if words[0] != "test" and words[0] != "command":
            if terms[-1:] not in (["]"], ["]]"]):
                raise NotUnderstood(words[0])
            terms.pop()
        if len(terms) == 2 and terms[0] in ("-e", "-f", "-r", "-s") and self._read(terms[1]):
            return True
        if UNKNOWN not in "".join(terms):
            if len(terms) == 2 and terms[0] in ("-n", "-z"):
                return (terms[0] == "-n") is bool(terms[1])
            if len(terms) == 3 and terms[1] in ("=", "==", "!="):
                return (terms[0] == terms[2]) is (terms[1] != "!=")
        if not self._way:
            raise _Undecided
        return self._way.pop(0)

    def _path(self, word: str) -> str:
        return os.path.join(self._directory, shell.value(word, self._value))

    def _value(self, name: str) -> str:
        if name in ("@", "*"):
            return " ".join(self._caller.arguments)
        if name.isdigit():
            return "".join([self._caller.name, *self._caller.arguments][int(name) : int(name) + 1])
        if name in _OF_THE_SYSTEM:
            return self._variables.get(name, UNKNOWN)
        return self._variables.get(name, "")


def _is_test(command: Command) -> bool:
    return command.words[:2] == ("command", "-v") or command.words[:1] in [(t,) for t in _TESTS]


def _is_program(words: Sequence[str]) -> bool:
    return bool(words) and words != ["exec"] and words[0] not in _OF_THE_SHELL


def _take_word(commands: list[Command], *words: str) -> str:
    """Take one of ``words`` away that has to be the next."""
    if not commands or commands[0].words[:1] not in [(word,) for word in words]:
        raise NotUnderstood(f"no {words[0]}")
    word = commands[0].words[0]
    commands[0] = commands[0].without_first()
    return word


def _refuse_effects(command: Command) -> None:
    """Refuse an operator or a redirection without a command."""
    if command.operator not in ("\n", ";"):
        raise NotUnderstood(command.operator)
    _refuse_redirections(command)


def _refuse_redirections(command: Command) -> None:
    for operator, target in command.redirections:
        if target not in _HARMLESS_TARGETS:
            raise NotUnderstood(f"{operator}{target}")
