"""The exporters on this machine, and the clients of its engine."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.integration.deciding.exporter import Exporters
from do_dcgm_exporter.integration.deciding.identity import exporters_in
from do_dcgm_exporter.integration.deciding.plan import Circumstances, decide
from do_dcgm_exporter.integration.deciding.problems import Situation
from do_dcgm_exporter.integration.deciding.records import records_in
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.containers import RUNTIMES, Container, find_containers
from do_dcgm_exporter.integration.looking.engine_probe import is_expected
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.survey import PATIENCE, survey
from do_dcgm_exporter.integration.looking.units import look_at_units


def exporters_here(
    host: Host, address: EngineAddress, known: Iterable[str] = (), *, with_containers: bool = True
) -> Exporters:
    """Find the exporters; units in ``known`` are looked at in any case.

    Raises CommandFailed if the manager does not answer.
    """
    programs = Programs(host)
    processes = scan(host, address.port)
    units, _ = look_at_units(host, programs, processes, known)
    containers: list[Container] = []
    for runtime in RUNTIMES if with_containers else ():
        with suppress(CommandFailed):  # "check" reports what it cannot see
            containers += find_containers(host, runtime, processes)
    return exporters_in(units, processes.dcgm, containers, programs, str(address))


def situation(host: Host, patience: float = PATIENCE) -> Situation:
    """Look at everything that ``check`` reports on, and decide about each exporter."""
    records = records_in(look_at_our_files(host))
    found = survey(host, os.environ, records.units, patience)
    settings, seen = found.settings, (found.units, found.processes.dcgm, found.containers)
    exporters = exporters_in(*seen, Programs(host), str(settings.local_engine))
    expected = is_expected(found.engine_unit, settings.engine_unit)
    now = Circumstances(settings.choice, settings.local_engine, found.local_engine, expected)
    decisions = {one.name: decide(one, records, now) for one in exporters.units}
    return Situation(found, exporters, records, decisions)


def name_clients(host: Host | None = None) -> int:
    """Print the services that are clients of the engine, one per line, before it is stopped.

    NVIDIA's exporter exits with its engine, and its unit does not restart it. Units with our
    drop-in come back by themselves and are left out, and so are we.
    """
    host = host or Host()
    clients = {process.owner.unit for process in scan(host).dcgm if process.is_client}
    drop_ins = look_at_our_files(host).drop_ins
    ours = {unit for unit, text in drop_ins.items() if not text.startswith("->")}
    for unit in sorted(clients - ours - {"", OWN_SERVICE, ENGINE_SERVICE}):
        print(unit)
    return 0
