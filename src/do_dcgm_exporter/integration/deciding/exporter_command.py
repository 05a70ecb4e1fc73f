"""What a unit's command does: whether it becomes an exporter, and if not, whether it starts one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from do_dcgm_exporter.integration.deciding.container_run import ContainerRun, container_run
from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form, Role
from do_dcgm_exporter.integration.deciding.launchers import is_before_program, without_launchers
from do_dcgm_exporter.integration.deciding.shell import UNKNOWN, NotUnderstood
from do_dcgm_exporter.integration.deciding.wrapper_script import (
    Caller,
    Started,
    commands_in,
    started_by,
)
from do_dcgm_exporter.integration.exporter_arguments import asks_only
from do_dcgm_exporter.integration.looking.programs import SHELLS, Kind, Programs
from do_dcgm_exporter.integration.looking.quoting import expanded
from do_dcgm_exporter.integration.looking.systemd import UnitView

_DEEPEST = 4


@dataclass(frozen=True, slots=True)
class Judged:
    """What a command is: an exporter, or something that has to do with one in a ``role``.

    ``script`` is the script that starts it, empty for the command itself, and ``run`` the
    container that it is started in.
    """

    exporter: ExporterCommand | None = None
    role: Role | None = None
    script: str = ""
    run: ContainerRun | None = None


_NOTHING = Judged()


def judge(view: UnitView, environment: Mapping[str, str], programs: Programs) -> Judged:
    """Judge the commands of a unit; ``environment`` is what its processes get."""
    found = _NOTHING
    for position, command in enumerate(view.commands):
        literal = "no-env-expand" in command.flags
        words = list(command.argv) if literal else expanded(command.argv, environment)
        # argv[0] may be anything: systemd.service(5), "@".
        start = Started((command.path, *words[1:]), environment, view.working_directory)
        judged = _Judge(programs).judge(start)
        if judged.exporter:
            return replace(judged, exporter=replace(judged.exporter, position=position))
        found = found if found.role else judged
    return found


class _Judge:
    """Follows one command through launchers and scripts to what it becomes."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._scripts: list[str] = []

    def judge(self, start: Started) -> Judged:
        """Say what a command is."""
        read = self._programs.text
        try:
            words, environment = without_launchers(start.words, start.environment)
        except NotUnderstood:
            run = container_run(start.words, start.environment, start.directory, read)
            return Judged(role=Role.CONTAINER, script=self._script, run=run) if run else _NOTHING
        run = container_run(words, environment, start.directory, read)
        if run is None:
            return self._program(Started(tuple(words), environment, start.directory))
        if not run.is_plain or self._scripts or UNKNOWN in "".join(words):
            return Judged(role=Role.CONTAINER, script=self._script, run=run)
        command = ExporterCommand(
            Form.CONTAINER, run.arguments, run.variables, words[0], run.image, run.name
        )
        return Judged(command)

    @property
    def _script(self) -> str:
        return self._scripts[-1] if self._scripts else ""

    def _program(self, start: Started) -> Judged:
        path = self._programs.find(start.words[0], start.directory)
        if os.path.basename(path) in SHELLS:
            return self._shell(start)
        program = self._programs.identify(path)
        if program.kind is Kind.SHELL_SCRIPT:
            return self._through(program.text, path, path, start.words[1:], start)
        if program.kind is Kind.OTHER or asks_only(start.words[1:]):
            return _NOTHING
        form = Form.SCRIPT if self._scripts else Form.PROGRAM
        shown = {name: text.replace(UNKNOWN, "?") for name, text in start.environment.items()}
        arguments = tuple(word.replace(UNKNOWN, "?") for word in start.words[1:])
        command = ExporterCommand(form, arguments, shown, path)
        return Judged(command, script=self._script)

    def _shell(self, start: Started) -> Judged:
        """Judge ``sh -c TEXT NAME ARGUMENT…`` and ``sh FILE ARGUMENT…``."""
        words = list(start.words)
        is_text = False
        while len(words) > 1 and words[1][:1] in ("-", "+"):
            option = words.pop(1)
            is_text = is_text or (not option.startswith("--") and "c" in option)
            if option in ("-o", "+o") and len(words) > 1:
                words.pop(1)
        if len(words) < 2:
            return _NOTHING
        if is_text:
            name = words[2] if len(words) > 2 else words[0]
            return self._through(words[1], self._script, name, tuple(words[3:]), start)
        path = os.path.join(start.directory, words[1])
        text = self._programs.text(path)
        return self._through(text, path, path, tuple(words[2:]), start)

    def _through(
        self, text: str, path: str, name: str, arguments: Sequence[str], start: Started
    ) -> Judged:
        """Judge what a script starts."""
        if len(self._scripts) >= _DEEPEST:
            return _NOTHING
        self._scripts.append(path)
        caller = Caller(name, tuple(arguments), start.environment, start.directory)
        try:
            ways = [self.judge(way) for way in started_by(text, caller, self._programs.text)]
        except NotUnderstood:
            return self._mentioned(text, start.directory)
        finally:
            self._scripts.pop()
        first = ways[0]
        if first.exporter and any(
            way.exporter is None or way.exporter.remote != first.exporter.remote for way in ways
        ):
            return Judged(role=Role.SCRIPT, script=path)
        return next((way for way in ways if way.role), first)

    def _mentioned(self, text: str, directory: str) -> Judged:
        """Say what a script that is more than a wrapper has to do with an exporter."""
        for words in commands_in(text):
            run = container_run(words, {}, directory, self._programs.text)
            if run:
                return Judged(role=Role.CONTAINER, script=self._script, run=run)
            name = next((word for word in words if not is_before_program(word)), UNKNOWN)
            if self._programs.identify(self._programs.find(name)).kind is Kind.EXPORTER:
                return Judged(role=Role.SCRIPT, script=self._script)
        return _NOTHING
