"""Shell scripts that start one program and do nothing else.

These statements are understood. Any other is refused, since a restart might repeat it:

    NAME=WORD   export NAME=WORD   set -OPTION   cd DIRECTORY   . FILE   echo WORD   exit
    TEST && STATEMENT   TEST || STATEMENT   if TEST; then STATEMENTS; else STATEMENTS; fi
    PROGRAM ARGUMENTS   as the last one, in all cases

Python's shlex will not do: it forgets quotes, so that it cannot tell ``'$X'`` from ``$X``, and
takes a ``#`` inside a word for a comment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE

# In a word, a part that is not known before the script runs.
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
    |(?:\d*|&)(?:>>|>&|<&|>|<)(?!<)[ \t]*(?P<target>(?:{_PART})+)
    |(?P<operator>&&|\|\||;;|[\n;&|()])
    |(?P<word>(?:{_PART})+)""",
    _FLAGS,
)
_PARTS = re.compile(_PART, _FLAGS)
_EXPANSIONS = re.compile(rf"{_SUBSTITUTION}|{_VARIABLE}|\\.", _FLAGS)
_HARMLESS_TARGETS = frozenset({"/dev/null", "1", "2", "-"})
_OWN_DIRECTORY = re.compile(r'\$\(dirname +"?\$0"?\)')
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)

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
# Variables set by systemd and the shell: systemd.exec(5), "Environment Variables Set".
_OF_THE_SYSTEM = frozenset(
    {"CREDENTIALS_DIRECTORY", "HOME", "HOSTNAME", "LANG", "LOGNAME", "MAINPID", "PATH", "PPID",
     "PWD", "RANDOM", "RUNTIME_DIRECTORY", "SHELL", "STATE_DIRECTORY", "UID", "USER",
     "#", "?", "$", "!", "-"}
)  # fmt: skip

# Returns the value of a variable, empty if it is not set.
Lookup = Callable[[str], str]
# Returns the text of a file, empty if there is none.
ReadText = Callable[[str], str]


class NotUnderstood(Exception):
    """Raised for a command that does more than start a program."""


@dataclass(frozen=True, slots=True)
class Call:
    """A program with its arguments, environment and working directory."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str = "/"


@dataclass(frozen=True, slots=True)
class Command:
    """A simple command: its words as written, and the operator after it.

    ``is_redirected`` is whether it reads or writes a file.
    """

    words: tuple[str, ...]
    is_redirected: bool
    operator: str


def commands(text: str) -> Iterator[Command]:
    """Yield the simple commands of a script. Raises NotUnderstood at one that it cannot parse."""
    words: list[str] = []
    is_redirected = False
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise NotUnderstood(text[position:].partition("\n")[0])
        position = token.end()
        if token["target"]:
            is_redirected = is_redirected or token["target"] not in _HARMLESS_TARGETS
        elif token["word"]:
            words.append(token["word"])
        elif token["operator"]:
            yield Command(tuple(words), is_redirected, token["operator"])
            words, is_redirected = [], False
    yield Command(tuple(words), is_redirected, "\n")


def value(word: str, lookup: Lookup) -> str:
    """Return a word expanded but not split, as in an assignment or a file's name."""
    return "".join(_text(part[0], lookup) for part in _PARTS.finditer(word))


def fields(word: str, lookup: Lookup, positional: Sequence[str]) -> list[str]:
    """Return the words that a word expands to. Raises NotUnderstood if they cannot be known."""
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


# What a script does


def started_by(text: str, caller: Call, read: ReadText) -> Call:
    """Return the one command that a script starts; ``caller`` is how the script is called.

    Raises NotUnderstood if the script does anything else.
    """
    run = _Run(caller, read)
    run.script(text)
    if run.started is None:
        raise NotUnderstood("it starts nothing")
    return run.started


class _Run:
    """A simulated run of a script. Statements that may or may not run make variables unknown."""

    def __init__(self, caller: Call, read: ReadText) -> None:
        self.started: Call | None = None
        self._caller = caller
        self._read = read
        self._variables = dict(caller.environment)
        self._exported = set(caller.environment)
        self._exports_all = False
        self._directory = caller.directory
        self._depth = 0  # for each file being read

    def script(self, text: str) -> None:
        """Run all commands."""
        ifs: list[bool] = []  # for each open one, whether its branch is certainly taken
        before, is_certain = "\n", True
        for command in commands(text):
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
        """Return whether a command certainly succeeds, as does a test for an existing file."""
        test = _FILE_TEST.fullmatch(" ".join(words))
        return bool(self._read(self._path([test[1]]))) if test else words[0] not in _TESTS

    def _command(self, words: list[str], command: Command, is_certain: bool) -> None:
        own = list(takewhile(ASSIGNMENT.match, words))
        name, *arguments = words[len(own) :] or [""]
        is_program = bool(name) and name not in _OF_THE_SHELL
        if command.operator not in _ENDS | {"&&", "||"} or name in RESERVED:
            raise NotUnderstood(f"{name} {command.operator}")
        if self.started and name != "exit":
            raise NotUnderstood(f"it goes on after the program: {name}")
        if not is_certain and (is_program or name == "cd"):
            raise NotUnderstood(f"it does {name} in some cases")
        if words == ["exec"]:
            return  # redirections apply to the program
        if is_program:
            self._start([name, *arguments], own)
        elif command.is_redirected or (name and own):
            raise NotUnderstood(f"what is done to {name}")
        elif name == "export":
            self._assign(arguments, is_certain, export=True)
        elif name == "set":
            self._set(arguments, is_certain)
        elif name == "cd":
            self._directory = self._path(arguments)
        elif name in (".", "source"):
            self._source(self._path(arguments), is_certain)
        elif name in ("exit", "return") and is_certain and not self.started:
            raise NotUnderstood(f"{name} before the program")
        else:
            self._assign(own, is_certain, export=self._exports_all)

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
        """Read a file of variables; if it is only read in some cases, it has to be empty."""
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
        found = [field for word in words for field in fields(word, self._lookup, given)]
        for before, word in zip(["", *found], found, strict=False):
            if word.startswith(UNKNOWN) and not before.startswith("-"):
                raise NotUnderstood(f"what {words[0]} is told only shows when it runs")
        self._assign(own, is_certain=True, export=True)
        environment = {name: self._variables.get(name, "") for name in self._exported}
        if not found or UNKNOWN in environment.get(REMOTE_VARIABLE, ""):
            raise NotUnderstood("what it starts only shows when it runs")
        self.started = Call(tuple(found), environment, self._directory)

    def _path(self, words: Sequence[str]) -> str:
        path = os.path.join(self._directory, *map(self._value, words))
        if len(words) != 1 or UNKNOWN in path:
            raise NotUnderstood("a path that only shows when it runs")
        return path

    def _value(self, word: str) -> str:
        return value(word, self._lookup)

    def _lookup(self, name: str) -> str:
        if name in ("@", "*"):
            return " ".join(self._caller.words[1:])
        if name.isdigit():
            return "".join(self._caller.words[int(name) : int(name) + 1])
        return self._variables.get(name, UNKNOWN if name in _OF_THE_SYSTEM else "")
