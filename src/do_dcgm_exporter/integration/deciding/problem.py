"""A problem, and the commands that several of them have for a remedy."""

from __future__ import annotations

from dataclasses import dataclass

from do_dcgm_exporter.integration.host import ENGINE_SERVICE
from do_dcgm_exporter.integration.looking.systemd import UnitView

CHOOSE_AGAIN = "dpkg-reconfigure do-dcgm-exporter"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong; ``id`` is for programs, ``remedy`` are commands."""

    id: str
    what: str
    remedy: tuple[str, ...]


def start_engine(unit: UnitView | None) -> tuple[str, ...]:
    """Return the commands that bring up the engine of this machine, by what its unit is."""
    if unit is not None and not (unit.is_there or unit.is_masked):
        return (CHOOSE_AGAIN,)
    unmask = (f"systemctl unmask {ENGINE_SERVICE}",) if unit and unit.is_masked else ()
    return (*unmask, f"systemctl enable --now {ENGINE_SERVICE}")
