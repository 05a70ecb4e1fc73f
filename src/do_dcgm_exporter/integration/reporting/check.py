"""``check``: what is on this machine, and what is wrong with it."""

from __future__ import annotations

import os

from do_dcgm_exporter.commands.output import write
from do_dcgm_exporter.integration.deciding.identity import exporters_in
from do_dcgm_exporter.integration.deciding.plan import Circumstances, decide
from do_dcgm_exporter.integration.deciding.problems import Situation, notes, problems
from do_dcgm_exporter.integration.deciding.records import records_in
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.engine_probe import is_expected
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.survey import survey
from do_dcgm_exporter.integration.looking.systemd import Systemd
from do_dcgm_exporter.integration.reporting.check_report import as_json, as_text

_CLEAN, _PROBLEMS, _COULD_NOT_LOOK = 0, 1, 2


def check(host: Host, *, in_json: bool) -> int:
    """Print what is found; return 0 if all is well, 1 with problems, 2 if it could not look."""
    now = _situation(host)
    wrong, good_to_know = problems(now), tuple(notes(now))
    report = (as_json if in_json else as_text)(now, wrong, good_to_know)
    write(f"{report}\n")
    if wrong:
        return _PROBLEMS
    return _COULD_NOT_LOOK if now.found.unseen else _CLEAN


def _situation(host: Host) -> Situation:
    records = records_in(look_at_our_files(host))
    found = survey(host, Systemd(), os.environ, records.units)
    settings, seen = found.settings, (found.units, found.processes.dcgm, found.containers)
    exporters = exporters_in(*seen, Programs(host), str(settings.local_engine))
    expected = is_expected(found.engine_unit, settings.engine_unit)
    now = Circumstances(settings.choice, settings.local_engine, found.local_engine, expected)
    decisions = {one.name: decide(one, records, now) for one in exporters.units}
    return Situation(found, exporters, records, decisions)
