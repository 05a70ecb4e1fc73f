"""From findings to problems: clean machines, notes, ports, our own service."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.unit.integration.situations import (
    CLEAN,
    found,
    notes,
    only,
    problems,
    process,
    view,
    with_mention,
)

from do_dcgm_exporter.dcgm.engine_answer import Profiling
from do_dcgm_exporter.integration.deciding.problems import Situation
from do_dcgm_exporter.integration.deciding.records import Records
from do_dcgm_exporter.integration.looking.processes import Processes
from do_dcgm_exporter.integration.looking.survey import PortUse
from do_dcgm_exporter.integration.looking.web import Answer
from do_dcgm_exporter.integration.reporting import check_report
from do_dcgm_exporter.sockets import Holder


def test_a_clean_machine_has_no_problems() -> None:
    assert () == problems(found())
    assert () == notes(found())
    assert "no problems" in check_report.as_text(found(), (), ())


def test_a_record_that_cannot_be_read_is_a_problem() -> None:
    now = Situation(CLEAN, records=Records(complaints=("x cannot be understood",)))
    assert ("record", "x cannot be understood") == (only(now).id, only(now).what)
    assert ("rm x  # once everything is as it should be",) == only(now).remedy


def test_what_only_has_to_do_with_an_exporter_is_named_with_the_place_to_connect_it() -> None:
    problem = only(with_mention(pids=(30, 31), place="root's crontab", lines=("X=1",)))
    assert problem.what == (
        "cron.service has an exporter among its processes, with an embedded DCGM (pid 30, 31);"
        " to connect it, see root's crontab"
    )
    assert ("X=1",) == problem.remedy
    quiet = with_mention(place="root's crontab", lines=("X=1",))
    assert () == problems(quiet)
    assert (
        "cron.service has an exporter among its processes; to connect it, see root's crontab",
    ) == notes(quiet)


def test_without_an_engine_nobody_is_called_embedded() -> None:
    now = found(processes=Processes((process(30),), has_engine=False))
    assert () == problems(now)
    assert "unknown while the engine does not run" in check_report.as_text(now, (), ())
    assert json.loads(check_report.as_json(now, (), ()))["embedded_processes"] is None


def test_without_an_engine_what_has_an_exporter_is_a_note() -> None:
    now = with_mention(pids=(30,), place="root's crontab")
    now = replace(now, found=replace(now.found, processes=Processes(has_engine=False)))
    assert () == problems(now)
    (note,) = notes(now)
    assert note.startswith("cron.service has an exporter among its processes")


def test_another_engine_is_a_note() -> None:
    now = found(other_engines={9: "lab.service", 10: ""})
    assert () == problems(now)
    assert (
        "another nv-hostengine runs (pid 9, lab.service), not on port 5555",
        "another nv-hostengine runs (pid 10), not on port 5555",
    ) == notes(now)


def test_the_snaps_second_engine_is_a_problem() -> None:
    now = found(other_engines={9: "snap.dcgm.nv-hostengine.service"})
    assert "second-engine" == only(now).id
    assert () == notes(now)


def test_profiling_that_is_offered_and_stays_blank_is_a_problem() -> None:
    note = "no profiling metrics on GPU 0: the engine offers them but refuses to watch them"
    problem = only(found(health=Answer(200, f"OK\nanother note\n{note}\n")))
    assert ("profiling-blank", f"do-dcgm-exporter.service: {note}") == (problem.id, problem.what)
    without = replace(CLEAN.engine, profiling=Profiling.UNSUPPORTED)
    assert () == problems(found(health=Answer(200, f"OK\n{note}\n"), engine=without))


def test_a_taken_port_is_named_with_its_holder() -> None:
    port = PortUse(True, Holder("nc", 77))
    down = view("do-dcgm-exporter.service", "activating", sub_state="auto-restart")
    taken = only(found(own_port=port, service=down, health=Answer(404, "")))
    assert "do-dcgm-exporter's port 9401 is taken by nc (pid 77)" == taken.what
    assert (
        "ss --listening --tcp --processes 'sport = 9401'",
        "dpkg-reconfigure do-dcgm-exporter  # to choose another port",
    ) == (taken.remedy)


def test_a_port_whose_holder_is_hidden_is_ours_if_we_run() -> None:
    assert () == problems(found(own_port=PortUse(True)))
    stopped = view("do-dcgm-exporter.service", "inactive")
    identities = [one.id for one in problems(found(own_port=PortUse(True), service=stopped))]
    assert ["port-taken"] == identities


def test_our_own_service() -> None:
    failed = view("do-dcgm-exporter.service", "failed")
    assert "has failed" in only(found(service=failed, own_port=PortUse(False))).what
    unhealthy = only(found(health=Answer(503, "the engine is gone\nmore")))
    assert "do-dcgm-exporter.service: the engine is gone" == unhealthy.what
    absent = view("do-dcgm-exporter.service", "inactive", load_state="not-found")
    assert () == problems(found(service=absent, own_port=PortUse(False)))


def test_a_wrong_configuration() -> None:
    problem = only(found(configuration_error="x.conf:3: engine: 'mine' is not allowed"))
    assert "x.conf:3" in problem.what
