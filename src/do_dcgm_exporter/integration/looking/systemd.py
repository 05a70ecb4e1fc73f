"""The service manager: how it sees units, what it can be told to do, and how it quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.integration.looking.commands import (
    ANSWER_SECONDS,
    CommandFailed,
    CommandTimedOut,
    run,
)

_MANAGER = "org.freedesktop.systemd1"
_OBJECTS = "/org/freedesktop/systemd1/unit/"
_RELOAD_SECONDS = 90.0
# A unit may take TimeoutStopSec= and TimeoutStartSec=, by default 90 s each.
_JOB_SECONDS = 200.0
# Words of these characters need no quotes and have no special meaning.
_PLAIN = re.compile(r"[A-Za-z0-9_@=:,./+-]+")
# Bytes of a path that cannot be decoded are surrogates (PEP 383).
_ESCAPED = re.compile(r'[\\"]|([\x00-\x1f\x7f\ud800-\udfff])')
_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)\})")
_SPECIALS = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ExecCommand:
    """One ``ExecStart=`` as parsed by the manager; ``flags`` are those of ExecStartEx."""

    path: str
    argv: tuple[str, ...]
    flags: tuple[str, ...] = ()

    def words(self, variables: Mapping[str, str]) -> list[str]:
        """Return the program's path and its arguments, with variables expanded."""
        # argv[0] may be anything: systemd.service(5), "@".
        words = [self.path, *self.argv[1:]]
        return words if "no-env-expand" in self.flags else expanded(words, variables)


@dataclass(frozen=True, slots=True)
class UnitView:
    """A unit as the manager sees it, drop-ins included.

    ``environment`` is ``Environment=`` alone; ``environment_files`` are applied after it.
    ``triggered_by`` are the sockets, timers and paths that start it. ``source_path`` is the
    file that a generator made the unit from. ``main_pid`` is 0 without a main process.
    ``invocation`` changes with each start. ``log`` is the command that shows its output, if
    the unit's files were looked at.
    """

    name: str
    load_state: str
    active_state: str
    sub_state: str
    file_state: str
    fragment: str
    drop_ins: tuple[str, ...]
    type: str
    commands: tuple[ExecCommand, ...]
    environment: Mapping[str, str]
    environment_files: tuple[str, ...]
    restarts: int
    triggered_by: tuple[str, ...] = ()
    main_pid: int = 0
    working_directory: str = "/"
    source_path: str = ""
    invocation: str = ""
    log: str = ""

    @property
    def is_there(self) -> bool:
        """Whether the unit has a file that can be run."""
        return self.load_state in ("loaded", "error", "bad-setting")

    @property
    def is_running(self) -> bool:
        """Whether it is active or starting, as opposed to waiting for its next restart."""
        return self.active_state in ("active", "reloading", "activating") and (
            self.sub_state != "auto-restart"
        )

    @property
    def will_run(self) -> bool:
        """Whether it is active, starting, or waiting for its next restart."""
        return self.is_running or self.sub_state == "auto-restart"

    @property
    def is_in_trouble(self) -> bool:
        """Whether it has ended on its own: failed, or waiting for its next restart."""
        return self.active_state == "failed" or self.sub_state == "auto-restart"


def view(unit: str, timeout: float = ANSWER_SECONDS) -> UnitView:
    """Look at a unit. Raises CommandFailed if the manager does not answer."""
    answer = run(
        "busctl", "--json=short", "call", _MANAGER, _OBJECTS + _escaped(unit),
        "org.freedesktop.DBus.Properties", "GetAll", "s", "", timeout=timeout,
    )  # fmt: skip
    return _read(unit, answer)


def unit_path() -> list[str]:
    """Return the folders of unit files, by precedence: systemd.unit(5)."""
    return run("systemctl", "show", "--property=UnitPath", "--value").split()


def loaded_instances() -> list[str]:
    """Return the services that are instances of templates and are loaded: running or enabled."""
    form = ("--all", "--full", "--plain", "--no-legend")
    units = run("systemctl", "list-units", *form, "*@*.service")
    return [line.split()[0] for line in units.splitlines() if line.strip()]


def reload() -> None:
    """Make the manager read the unit files again."""
    run("systemctl", "daemon-reload", timeout=_RELOAD_SECONDS)


def restart(unit: str, seconds: float = _JOB_SECONDS) -> None:
    """Restart a unit, even if it has failed, and wait until it has started."""
    try:
        run("systemctl", "restart", unit, timeout=seconds)
    except CommandTimedOut:
        raise
    except CommandFailed:
        # It may have hit StartLimitIntervalSec= (systemd.unit(5)). Not reset beforehand: if we
        # were killed in between, systemd would not start the unit again.
        run("systemctl", "reset-failed", unit)
        run("systemctl", "restart", unit, timeout=seconds)


def start_later(unit: str) -> None:
    """Start a unit without waiting for it."""
    run("systemctl", "start", "--no-block", unit)


def stop(unit: str) -> None:
    """Stop a unit and wait until it has stopped."""
    run("systemctl", "stop", unit, timeout=_JOB_SECONDS)


def _escaped(unit: str) -> str:
    """Return a unit's name as the last part of its D-Bus path: sd_bus_path_encode(3)."""
    return "".join(
        chr(byte) if chr(byte).isalpha() or (chr(byte).isdigit() and index) else f"_{byte:02x}"
        for index, byte in enumerate(unit.encode())
    )


def _read(unit: str, answer: str) -> UnitView:
    try:
        (properties,) = json.loads(answer)["data"]
        get = {name: value["data"] for name, value in properties.items()}.get
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandFailed(("busctl", unit), "its answer cannot be understood") from error
    assignments = (text.partition("=") for text in get("Environment") or ())
    return UnitView(
        name=get("Id") or unit,
        load_state=get("LoadState") or "not-found",
        active_state=get("ActiveState") or "inactive",
        sub_state=get("SubState") or "dead",
        file_state=get("UnitFileState") or "",
        fragment=get("FragmentPath") or "",
        drop_ins=tuple(get("DropInPaths") or ()),
        type=get("Type") or "",
        commands=tuple(
            ExecCommand(path, tuple(argv), tuple(flags))
            for path, argv, flags, *_ in get("ExecStartEx") or ()
        ),
        environment={name: value for name, _, value in assignments},
        environment_files=tuple(path for path, _ in get("EnvironmentFiles") or ()),
        restarts=get("NRestarts") or 0,
        triggered_by=tuple(get("TriggeredBy") or ()),
        main_pid=get("MainPID") or 0,
        working_directory=(get("WorkingDirectory") or "/").removeprefix("!").replace("~", "/root"),
        source_path=get("SourcePath") or "",
        invocation=bytes(get("InvocationID") or ()).hex(),
    )


# Quoting and unquoting: systemd.syntax(7), systemd.exec(5), systemd.service(5)


def command_line(words: Sequence[str]) -> str:
    """Return the words of a command, as the manager shows it, as a value of ``ExecStart=``.

    Specifiers have been resolved in them, but not variables: ``%`` has to be escaped, while
    ``$`` keeps its meaning in both ``${PORT}`` and ``$$``.
    """
    # A bare semicolon would end the command.
    return " ".join('";"' if word == ";" else quoted(word) for word in words)


def quoted(word: str) -> str:
    """Return one word with specifiers and quotes escaped."""
    word = word.replace("%", "%%")
    return word if _PLAIN.fullmatch(word) else f'"{_ESCAPED.sub(_escaped_character, word)}"'


def _escaped_character(match: re.Match[str]) -> str:
    if match[1] is None:
        return "\\" + match[0]
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))


def expanded(words: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Expand variables as systemd does when it runs a command.

    ``${X}`` is replaced within its word; a word that is just ``$X`` is split at blanks, and
    vanishes if X is empty.
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
    """Return the assignments in an ``EnvironmentFile=``."""
    lines = (line.strip() for line in text.replace("\\\n", "").splitlines())
    assignments = (line.partition("=") for line in lines if not line.startswith(("#", ";")))
    return {name.strip(): _unquoted(value.strip()) for name, equals, value in assignments if equals}


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return _SPECIALS.sub(r"\1", value)
