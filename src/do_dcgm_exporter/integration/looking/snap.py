"""The snap "dcgm": an exporter that is a client, and an engine that may be a second one."""

from __future__ import annotations

import json
from dataclasses import dataclass

from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed, is_installed, run
from do_dcgm_exporter.integration.looking.processes import Processes
from do_dcgm_exporter.integration.looking.processes import unit_of as unit_of_process

SNAP = "dcgm"
ENGINE = "dcgm.nv-hostengine"
EXPORTER = "dcgm.dcgm-exporter"
PORT_KEY = "nv-hostengine-port"
ADDRESS_KEY = "dcgm-exporter-address"
ENGINE_UNIT = f"snap.{ENGINE}.service"
EXPORTER_UNIT = f"snap.{EXPORTER}.service"
DEFAULT_PORT = "5555"
_ANSWER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class SnapService:
    """One service of the snap."""

    name: str
    enabled: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Snap:
    """The snap as it is; ``serves_engine`` is whether its engine is the one on our port."""

    port: str
    address: str
    services: tuple[SnapService, ...]
    serves_engine: bool
    library_major: int

    def service(self, name: str) -> SnapService:
        """Return one of its services; one that is not there neither runs nor will."""
        return next((s for s in self.services if s.name == name), SnapService(name, False, False))

    @property
    def has_second_engine(self) -> bool:
        """Whether its engine runs, or will, beside the one on our port."""
        engine = self.service(ENGINE)
        return (engine.active or engine.enabled) and not self.serves_engine


def find_snap(host: Host, processes: Processes) -> Snap | None:
    """Look at the snap, None if it is not installed. Raises CommandFailed."""
    if not is_installed("snap") or not _is_listed():
        return None
    settings = _settings()
    engine_units = {unit_of_process(host.proc, str(pid)) for pid in processes.serving_pids}
    own = [process for process in processes.dcgm if process.unit == EXPORTER_UNIT]
    majors = {process.library_major for process in own if process.library_major}
    return Snap(
        str(settings.get(PORT_KEY) or DEFAULT_PORT),
        str(settings.get(ADDRESS_KEY) or ":9400"),
        _services(),
        ENGINE_UNIT in engine_units,
        majors.pop() if len(majors) == 1 else _major_of_snap(),
    )


def _is_listed() -> bool:
    return any(line.split()[:1] == [SNAP] for line in _list())


def _major_of_snap() -> int:
    for line in _list():
        words = line.split()
        if words[:1] == [SNAP] and len(words) > 1:
            first = words[1].lstrip("v").partition(".")[0]
            return int(first) if first.isdigit() else 0
    return 0


def _list() -> list[str]:
    try:
        return run("snap", "list", SNAP, timeout=_ANSWER_SECONDS).splitlines()
    except CommandFailed as error:
        if "no matching snaps" in error.reason or "not installed" in error.reason.lower():
            return []
        raise


def _settings() -> dict[str, object]:
    answer = run("snap", "get", "-d", SNAP, timeout=_ANSWER_SECONDS)
    try:
        found: dict[str, object] = json.loads(answer)
    except ValueError as error:
        raise CommandFailed(("snap", "get"), "its answer cannot be understood") from error
    return found


def _services() -> tuple[SnapService, ...]:
    lines = run("snap", "services", SNAP, timeout=_ANSWER_SECONDS).splitlines()[1:]
    words = (line.split() for line in lines)
    return tuple(
        SnapService(w[0], w[1] == "enabled", w[2] == "active") for w in words if len(w) > 2
    )
