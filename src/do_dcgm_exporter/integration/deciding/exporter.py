"""The exporters of a machine: units that are one, and everything else that has to do with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from do_dcgm_exporter.integration.exporter_arguments import remote_engine
from do_dcgm_exporter.integration.looking.processes import DcgmProcess
from do_dcgm_exporter.integration.looking.systemd import UnitView


class Form(Enum):
    """How a unit runs its exporter."""

    PROGRAM = "program"
    SCRIPT = "wrapper script"
    CONTAINER = "container run"


@dataclass(frozen=True, slots=True)
class ExporterCommand:
    """The command of an exporter.

    ``arguments`` and ``environment`` are the exporter's own. ``program`` is its file; for a
    container it is the runtime, ``image`` and ``container`` are its names, ``compose_file``
    describes it if Compose runs it, and ``is_plain`` is whether the command is nothing but
    ``docker run`` that stays in the foreground and has the host's network.
    """

    form: Form
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    program: str = ""
    image: str = ""
    container: str = ""
    compose_file: str = ""
    is_plain: bool = False

    @property
    def remote(self) -> str | None:
        """The engine that it is told to use, None if it runs its own."""
        return remote_engine(self.arguments, self.environment)


@dataclass(frozen=True, slots=True)
class UnitExporter:
    """A unit that is an exporter.

    ``processes`` are those of its control group, or of its container, that have DCGM's
    library mapped. ``source`` and ``names_engine`` are those of SeenUnit; ``library_major`` is
    0 where it is not known.
    """

    view: UnitView
    command: ExporterCommand
    processes: tuple[DcgmProcess, ...] = ()
    source: str = ""
    names_engine: bool = False
    library_major: int = 0

    @property
    def name(self) -> str:
        """The unit's name."""
        return self.view.name


class Role(Enum):
    """What something that is no exporter's unit has to do with an exporter."""

    ONESHOT = "starts an exporter and is a oneshot"
    SCRIPT = "starts an exporter by a script that does more"
    PARENT = "has an exporter among its processes"
    CONTAINER = "runs an exporter in a container"
    USER_UNIT = "is a user's unit"
    SESSION = "was started in a login session"
    GUEST = "runs in a guest of this machine"
    PROCESS = "belongs to no unit"


@dataclass(frozen=True, slots=True)
class Mention:
    """Something that starts, contains or is an exporter, and is never changed.

    ``name`` is what a person calls it: a unit, a container, a process. ``pids`` are its
    processes with a DCGM of their own, none if it does not run or is a client. ``place`` is
    the file where a person connects it, as far as it is known, and ``lines`` are what to
    write there.
    """

    role: Role
    name: str
    pids: tuple[int, ...] = ()
    place: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exporters:
    """What was found."""

    units: tuple[UnitExporter, ...] = ()
    mentions: tuple[Mention, ...] = ()
