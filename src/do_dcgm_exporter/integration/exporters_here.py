"""The exporters of this machine: what is seen of them, and what each of it is."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from do_dcgm_exporter.integration.deciding.exporter import Exporters
from do_dcgm_exporter.integration.deciding.identity import exporters_in
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.containers import RUNTIMES, Container, find_containers
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.survey import Findings
from do_dcgm_exporter.integration.looking.systemd import Systemd
from do_dcgm_exporter.integration.looking.units import look_at_units
from do_dcgm_exporter.settings import EngineAddress


def exporters_here(
    host: Host,
    systemd: Systemd,
    address: EngineAddress,
    known: Iterable[str] = (),
    *,
    with_containers: bool = True,
) -> Exporters:
    """Look for them; the units ``known`` are looked at whatever they are now.

    Raises CommandFailed when the manager does not answer.
    """
    programs = Programs(host)
    processes = scan(host, address.port)
    units, _ = look_at_units(host, systemd, programs, processes, known)
    containers: list[Container] = []
    for runtime in RUNTIMES if with_containers else ():
        with suppress(CommandFailed):  # "check" says what it cannot see
            containers += find_containers(host, runtime, processes)
    return exporters_in(units, processes.dcgm, containers, programs, str(address))


def exporters_of(host: Host, found: Findings) -> Exporters:
    """Tell exporters in what a survey has seen."""
    engine = str(found.settings.local_engine)
    return exporters_in(found.units, found.processes.dcgm, found.containers, Programs(host), engine)
