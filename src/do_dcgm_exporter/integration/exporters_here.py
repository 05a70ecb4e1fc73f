"""The exporters of this machine: what is seen of them, and what each of it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from do_dcgm_exporter.integration.deciding.exporter import Exporters
from do_dcgm_exporter.integration.deciding.identity import exporters_in
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.containers import RUNTIMES, Container, find_containers
from do_dcgm_exporter.integration.looking.processes import Processes, scan
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
    containers = tuple(_containers(host, processes)) if with_containers else ()
    return exporters_in(units, processes.dcgm, containers, programs, str(address))


def _containers(host: Host, processes: Processes) -> Iterator[Container]:
    for runtime in RUNTIMES:
        try:
            yield from find_containers(host, runtime, processes)
        except CommandFailed:
            continue  # nothing is changed of containers, and "check" says what it cannot see


def exporters_of(host: Host, found: Findings) -> Exporters:
    """Tell exporters in what a survey has seen."""
    engine = str(found.settings.local_engine)
    return exporters_in(found.units, found.processes.dcgm, found.containers, Programs(host), engine)
