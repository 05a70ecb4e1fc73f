"""The drop-in that makes an exporter's unit a client of the engine."""

from __future__ import annotations

from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form
from do_dcgm_exporter.integration.deciding.record import Record, sealed
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE
from do_dcgm_exporter.integration.looking.our_files import path_of
from do_dcgm_exporter.integration.looking.quoting import command_line, quoted
from do_dcgm_exporter.integration.looking.systemd import ExecCommand, UnitView

# An engine that restarts is back in seconds; one that stays away is asked six times a minute.
_RESTART_SECONDS = 10

_PREFIX_OF_FLAG = {
    "ignore-failure": "-",
    "no-env-expand": ":",
    "privileged": "+",
    "no-setuid": "!",
    "ambient": "!!",
}


def text_for(view: UnitView, command: ExporterCommand, record: Record) -> str:
    """Return the drop-in that makes a unit's exporter a client of ``record.engine``."""
    header = (
        f"# Written by {COMMAND}; '{COMMAND} restore' removes it.\n"
        "# Once you edit it, it is yours and stays. To forbid it:\n"
        f"# ln -sf /dev/null {path_of(view.name)}\n"
    )
    lines = [
        "[Unit]",
        f"After={ENGINE_SERVICE}",
        "# A client exits when its engine is away or restarts, so systemd starts it again.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Restart=always",
        f"RestartSec={_RESTART_SECONDS}",
    ]
    variable = f"{REMOTE_VARIABLE}={record.engine}"
    if command.form is Form.CONTAINER:
        lines.append("ExecStart=")
        for position, each in enumerate(view.commands):
            words = each.argv
            if position == command.position:
                words = _with_variable(words, variable)
            lines.append(f"ExecStart={_exec_start(each, words)}")
    else:
        lines.append("Environment=" + quoted(variable))
    return sealed(header, record, "\n".join(lines) + "\n")


def _with_variable(words: tuple[str, ...], variable: str) -> tuple[str, ...]:
    """Return the words of a container's run with one more variable.

    Not with ``-r`` at the end: Go's flags end at the first word that is none.
    """
    place = words.index("run") + 1
    return (*words[:place], "-e", variable, *words[place:])


def _exec_start(command: ExecCommand, words: tuple[str, ...]) -> str:
    prefix = "".join(_PREFIX_OF_FLAG.get(flag, "") for flag in command.flags)
    if command.argv[:1] != (command.path,):
        prefix, words = prefix + "@", (command.path, *words)
    return prefix + command_line(words)
