"""The exporters of a machine: units that are exporters, and mentions of exporters elsewhere."""

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

    ``arguments`` and ``environment`` are the exporter's own. ``program`` is its file. For a
    container, ``program`` is the runtime, ``image`` and ``container`` are its names,
    ``compose_file`` is that of Compose, and ``is_plain`` means that the command is a mere
    ``docker run`` in the foreground, with the host's network.
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
        """The engine that it is told to use, None if it embeds DCGM."""
        return remote_engine(self.arguments, self.environment)


@dataclass(frozen=True, slots=True)
class UnitExporter:
    """A unit that is an exporter.

    ``processes`` are those in its control group or container that have DCGM's library mapped.
    ``source`` and ``names_engine`` are those of SeenUnit; ``library_major`` is 0 if unknown.
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
    """How something that is not an exporter's unit is related to an exporter."""

    ONESHOT = "starts an exporter and is a oneshot"
    SCRIPT = "starts an exporter from a script that does more"
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
    processes with an embedded DCGM, none if it does not run or is a client. ``place`` is the
    file in which a person can connect it, if known, and ``lines`` are what to write there.
    """

    role: Role
    name: str
    pids: tuple[int, ...] = ()
    place: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exporters:
    """All exporters that were found."""

    units: tuple[UnitExporter, ...] = ()
    mentions: tuple[Mention, ...] = ()
