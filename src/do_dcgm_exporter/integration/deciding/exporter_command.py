"""What a unit's command does: become an exporter, start one, or neither."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from getopt import GetoptError, getopt
from itertools import dropwhile, pairwise

from do_dcgm_exporter.integration.deciding import wrapper_script as shell
from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form, Role
from do_dcgm_exporter.integration.deciding.wrapper_script import (
    UNKNOWN,
    Call,
    NotUnderstood,
    ReadText,
)
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE, WORD, asks_only
from do_dcgm_exporter.integration.looking.programs import SHELLS, Kind, Programs
from do_dcgm_exporter.integration.looking.systemd import UnitView

_DEEPEST = 4
_SHELL_OPTIONS = ("bcefhlmpuvxBCEHo:", ("login", "noprofile", "norc", "posix"))
# Short and long options as for getopt(3), and the number of operands before the command.
# Options that do something else (env -i, taskset -p, setsid -f) are left out on purpose.
_CHRT = "all-tasks batch fifo idle other rr reset-on-fork verbose sched-runtime= sched-period="
_NUMACTL = "all localalloc balancing interleave= membind= cpunodebind= physcpubind= preferred="
_LAUNCHERS: Mapping[str, tuple[str, str, int]] = {
    "chrt": ("abfiorRvT:P:D:", f"{_CHRT} sched-deadline=", 1),
    "env": ("vu:", "debug unset=", 0),
    "exec": ("a:", "", 0),
    "ionice": ("tc:n:", "ignore class= classdata=", 0),
    "nice": ("n:0123456789", "adjustment=", 0),
    "nohup": ("", "", 0),
    "numactl": ("albi:m:N:C:p:P:", f"{_NUMACTL} preferred-many=", 0),
    "setsid": ("cw", "ctty wait", 0),
    "stdbuf": ("i:o:e:", "input= output= error=", 0),
    "taskset": ("ac", "all-tasks cpu-list", 1),
}
_RUNTIMES = frozenset(
    {"ctr", "docker", "docker-compose", "nerdctl", "nvidia-docker", "podman", "podman-compose"}
)
# What follows the last slash of an image's name: its own name, a tag, a digest.
_IMAGE = re.compile(r"(?:^|/)[\w.-]*dcgm[-_]exporter[\w.-]*(?:[:@].*)?$")
_COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
# Options of "run" without a value; all others have one.
_SWITCHES = frozenset(
    {"--detach", "--disable-content-trust", "--env-host", "--help", "--http-proxy", "--init",
     "--interactive", "--net-host", "--no-healthcheck", "--no-hosts", "--oom-kill-disable",
     "--privileged", "--publish-all", "--quiet", "--read-only", "--replace", "--rm", "--rmi",
     "--rootfs", "--sig-proxy", "--tls-verify", "--tty"}
)  # fmt: skip
# -it, -p 9400:9400, -p9400:9400, -dp 9400:9400, -e=NAME=VALUE
_SHORT = re.compile(r"-([diqtP]*)(\w?)=?(.*)", re.DOTALL)
_UNKNOWN = ExporterCommand(Form.CONTAINER)


@dataclass(frozen=True, slots=True)
class Judged:
    """What a command is: an exporter, or something related to one by its ``role``.

    ``script`` is the script that starts it, empty for the command itself, and ``run`` the
    container it is started in.
    """

    exporter: ExporterCommand | None = None
    role: Role | None = None
    script: str = ""
    run: ExporterCommand | None = None


_NOTHING = Judged()


def judge(view: UnitView, environment: Mapping[str, str], programs: Programs) -> Judged:
    """Judge the commands of a unit; ``environment`` is that of its processes."""
    for command in view.commands:
        words = tuple(command.words(environment))
        judged = _Judge(programs).judge(Call(words, environment, view.working_directory))
        if judged.run and "run" not in command.argv:
            judged = replace(judged, exporter=None, role=Role.CONTAINER)  # it is in a variable
        if judged != _NOTHING:
            return judged
    return _NOTHING


@dataclass(frozen=True, slots=True)
class _Judge:
    """Follows a command to what it becomes; it was found in ``script``, ``depth`` scripts deep."""

    programs: Programs
    script: str = ""
    depth: int = 0

    def judge(self, call: Call) -> Judged:
        """Say what a command is."""
        with suppress(NotUnderstood):
            call = without_launchers(call)
        run = _container_run(call, self.programs.text)
        if run is None:
            return self._program(call)
        if run.is_plain and not self.depth:
            return Judged(run, run=run)
        return Judged(role=Role.CONTAINER, script=self.script, run=run)

    def _program(self, call: Call) -> Judged:
        if not call.words or UNKNOWN in call.words[0]:
            return _NOTHING
        path = self.programs.find(call.words[0], call.directory)
        if os.path.basename(path) in SHELLS:
            return self._shell(call)
        kind = self.programs.identify(path)
        if kind is Kind.SHELL_SCRIPT:
            caller = replace(call, words=(path, *call.words[1:]))
            return self._through(self.programs.text(path), path, caller)
        if kind is Kind.OTHER or asks_only(call.words[1:]):
            return _NOTHING
        form = Form.SCRIPT if self.depth else Form.PROGRAM
        shown = {name: text.replace(UNKNOWN, "?") for name, text in call.environment.items()}
        arguments = tuple(word.replace(UNKNOWN, "?") for word in call.words[1:])
        return Judged(ExporterCommand(form, arguments, shown, path), script=self.script)

    def _shell(self, call: Call) -> Judged:
        """Judge ``sh -c TEXT NAME ARGUMENT…`` and ``sh FILE ARGUMENT…``."""
        try:
            options, words = getopt(list(call.words[1:]), *_SHELL_OPTIONS)
        except GetoptError:
            return _NOTHING
        if not words:
            return _NOTHING
        if ("-c", "") in options:
            text, path, words = words[0], self.script, words[1:] or [call.words[0]]
        else:
            path = os.path.join(call.directory, words[0])
            text = self.programs.text(path)
        return self._through(text, path, replace(call, words=tuple(words)))

    def _through(self, text: str, path: str, caller: Call) -> Judged:
        """Judge what a script starts."""
        if self.depth >= _DEEPEST:
            return _NOTHING
        inside = _Judge(self.programs, path, self.depth + 1)
        try:
            return inside.judge(shell.started_by(text, caller, self.programs.text))
        except NotUnderstood:
            return inside.mentioned(text, caller.directory)

    def mentioned(self, text: str, directory: str) -> Judged:
        """Return how a script that is more than a wrapper is related to an exporter."""
        inside = replace(self, depth=_DEEPEST)
        with suppress(NotUnderstood):
            for command in shell.commands(text):
                words = [word for word in command.words if word not in shell.RESERVED]
                words = list(dropwhile(shell.ASSIGNMENT.match, words))
                values = tuple(shell.value(word, lambda _: UNKNOWN) for word in words)
                judged = inside.judge(Call(values, {}, directory))
                if judged != _NOTHING:
                    return replace(judged, exporter=None, role=judged.role or Role.SCRIPT)
        return _NOTHING


def without_launchers(call: Call) -> Call:
    """Return the command that env(1), nice(1), taskset(1) and the like execute.

    Raises NotUnderstood if one of them does more than that.
    """
    rest, environment = list(call.words), dict(call.environment)
    while rest and (name := os.path.basename(rest[0])) in _LAUNCHERS:
        short, long, operands = _LAUNCHERS[name]
        try:
            options, rest = getopt(rest[1:], short, long.split())
        except GetoptError as error:
            raise NotUnderstood(f"{name}: {error}") from error
        rest = rest[operands:]
        for option, value in options:
            if option in ("-u", "--unset"):
                if value == REMOTE_VARIABLE:
                    raise NotUnderstood(f"{name} {option}")  # our settings would not reach it
                environment.pop(value, None)
        while name == "env" and rest and "=" in rest[0]:
            variable, _, value = rest.pop(0).partition("=")
            environment[variable] = value
    if not rest:
        raise NotUnderstood("a launcher without a command")
    return replace(call, words=tuple(rest), environment=environment)


# Commands that run a container


def _container_run(call: Call, read: ReadText) -> ExporterCommand | None:
    """Return the exporter that a command starts in a container, even if its runtime is hidden."""
    names = [os.path.basename(word) for word in call.words]
    place = next((index for index, name in enumerate(names) if name in _RUNTIMES), None)
    if place is None:
        return None
    runtime, rest = call.words[place], call.words[place + 1 :]
    if names[place].endswith("-compose") or rest[:1] == ("compose",):
        return _composed(rest, call.directory, read) if {"up", "start"} & set(rest) else None
    if "run" not in rest:
        named = next((word for word in rest if WORD.search(word)), "")
        is_started = named and "start" in rest
        return replace(_UNKNOWN, container=named) if is_started else None
    verb = rest.index("run")
    # Options of docker itself may name another machine's docker.
    is_direct = place == 0 and all(word == "container" or "=" in word for word in rest[:verb])
    return _run(runtime, rest[verb + 1 :], call.environment, is_direct)


def _composed(words: Sequence[str], directory: str, read: ReadText) -> ExporterCommand | None:
    given = [file for option, file in pairwise(words) if option in ("-f", "--file")]
    given += [word.removeprefix("--file=") for word in words if word.startswith("--file=")]
    paths = [os.path.join(directory, file) for file in given or _COMPOSE_FILES]
    file = next((path for path in paths if WORD.search(read(path))), "")
    is_exporter = file or any(map(WORD.search, words))
    return replace(_UNKNOWN, compose_file=file) if is_exporter else None


def _run(
    runtime: str, words: Sequence[str], environment: Mapping[str, str], is_direct: bool
) -> ExporterCommand | None:
    options, rest = _split(words)
    if not rest or not _IMAGE.search(rest[0]):
        return None
    image, *arguments = rest
    for word in arguments[:2]:
        if WORD.search(os.path.basename(word)) and not word.startswith("-"):
            arguments = arguments[arguments.index(word) + 1 :]  # the arguments of its program
            break
    variables = {}
    for option, value in options:
        variable, equals, text = value.partition("=")
        if option in ("-e", "--env") and (equals or variable in environment):
            variables[variable] = text if equals else environment[variable]
    last = dict(options)
    name = last.get("--name", "")
    has_hosts_network = "host" in (last.get("--network"), last.get("--net"))
    is_detached = "true" in (last.get("-d"), last.get("--detach"))
    is_plain = is_direct and has_hosts_network and not is_detached
    return ExporterCommand(
        Form.CONTAINER, tuple(arguments), variables, runtime, image, name, is_plain=is_plain
    )


def _split(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split what follows ``run`` into options with values, and the image with its arguments."""
    options, rest = [], list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            if not equals:
                value = "true" if name in _SWITCHES or not rest else rest.pop(0)
            options.append((name, value))
        elif match := _SHORT.fullmatch(word):
            options += [(f"-{letter}", "true") for letter in match[1]]
            if match[2]:
                options.append((f"-{match[2]}", match[3] or (rest.pop(0) if rest else "")))
    return options, rest
