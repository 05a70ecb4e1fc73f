"""The drop-in that makes an exporter's unit a client of the engine."""

from __future__ import annotations

from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form
from do_dcgm_exporter.integration.deciding.records import Record, sealed
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE
from do_dcgm_exporter.integration.looking.our_files import path_of
from do_dcgm_exporter.integration.looking.quoting import command_line, quoted
from do_dcgm_exporter.integration.looking.systemd import ExecCommand, UnitView

# An engine that restarts is back in seconds. Whoever starts in vain for five minutes is looked
# at, and waits: our drop-in of the engine's unit starts it again.
_SETTINGS = f"""\
[Unit]
After={ENGINE_SERVICE}
# A client exits when its engine is away or restarts, so systemd starts it again.
StartLimitIntervalSec=1h
StartLimitBurst=30
OnFailure={COMMAND}.service

[Service]
Restart=always
RestartSec=10
"""
_PREFIXES = {
    "ignore-failure": "-", "no-env-expand": ":", "privileged": "+", "no-setuid": "!",
    "ambient": "!!",
}  # fmt: skip


def text_for(view: UnitView, command: ExporterCommand, record: Record) -> str:
    """Return the drop-in that makes a unit's exporter a client of ``record.engine``."""
    header = (
        f"# Written by {COMMAND}; '{COMMAND} restore' removes it.\n"
        "# Once you edit it, it is yours and stays. To forbid it:\n"
        f"# ln -sf /dev/null {path_of(view.name)}\n"
    )
    variable = f"{REMOTE_VARIABLE}={record.engine}"
    lines = [f"Environment={quoted(variable)}"]
    if command.form is Form.CONTAINER:
        (run,) = view.commands  # only a oneshot has several: systemd.service(5)
        # Not with -r at the end: Go's flags end at the first word that is none.
        place = run.argv.index("run") + 1
        words = (*run.argv[:place], "-e", variable, *run.argv[place:])
        lines = ["ExecStart=", f"ExecStart={_exec_start(run, words)}"]
    return sealed(header, record, _SETTINGS + "\n".join(lines) + "\n")


def _exec_start(command: ExecCommand, words: tuple[str, ...]) -> str:
    prefix = "".join(_PREFIXES.get(flag, "") for flag in command.flags)
    if command.argv[:1] != (command.path,):
        prefix, words = prefix + "@", (command.path, *words)
    return prefix + command_line(words)
