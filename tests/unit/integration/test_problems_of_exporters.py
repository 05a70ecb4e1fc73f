"""From findings to problems with exporters, each with its remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.integration.situations import (
    KEEP,
    REWRITE,
    UNIT,
    client,
    command,
    exporter,
    notes,
    only,
    ours,
    problems,
    process,
    view,
    with_exporter,
)

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.deciding.exporter import (
    Form,
)
from do_dcgm_exporter.integration.deciding.plan import Decision, Goal, Reason
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.processes import Processes
from do_dcgm_exporter.integration.looking.web import Answer
from do_dcgm_exporter.integration.reporting import check_report


def test_an_embedded_exporter() -> None:
    problem = only(with_exporter(exporter(process()), REWRITE))
    assert ("embedded-dcgm", f"{UNIT} runs an embedded DCGM") == (problem.id, problem.what)
    assert ("do-dcgm-exporter-integrate apply",) == problem.remedy


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (Reason.CHOSEN, "dpkg-reconfigure do-dcgm-exporter"),
        (Reason.VERSION, f"systemctl disable --now {UNIT}"),
        (Reason.REFUSED, "do-dcgm-exporter-integrate apply --retry"),
        (Reason.EDITED, f"systemctl edit {UNIT}"),
        (Reason.FORBIDDEN, f"rm /etc/systemd/system/{UNIT}.d/zz-do-dcgm-exporter.conf"),
        (Reason.ENGINE, "do-dcgm-exporter-integrate apply"),
        (Reason.CLIENT, f"systemctl restart {UNIT}"),
    ],
)
def test_what_is_left_is_named_with_why(reason: Reason, remedy: str) -> None:
    left = Decision(UNIT, Goal.UNTOUCHED, reason, "for a reason")
    problem = only(with_exporter(exporter(process()), left))
    assert "for a reason" in problem.what
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("engine", "unit", "remedy"),
    [
        (Condition.HUNG, {}, "systemctl restart nvidia-dcgm.service"),
        (Condition.ABSENT, {}, "systemctl enable --now nvidia-dcgm.service"),
        (Condition.ABSENT, {"load_state": "not-found"}, "dpkg-reconfigure do-dcgm-exporter"),
    ],
)
def test_without_an_engine_it_is_told_how_to_get_one(
    engine: Condition, unit: dict[str, str], remedy: str
) -> None:
    left = Decision(UNIT, Goal.UNTOUCHED, Reason.ENGINE, "the engine cannot be used")
    changes = {
        "settings": IntegrationSettings(engine=EngineAddress("gpu7", 5555)),
        "local_engine": EngineAnswer(engine, "x"),
        "engine_unit": view("nvidia-dcgm.service", "inactive", **unit),
    }
    problem = only(with_exporter(exporter(process()), left, **changes))
    assert (remedy, "do-dcgm-exporter-integrate apply") == problem.remedy


def test_one_that_will_run_embedded_is_a_problem_too() -> None:
    problem = only(with_exporter(exporter(active="inactive"), REWRITE))
    assert "will, when it is started, run an embedded DCGM" in problem.what
    off = exporter(active="inactive")
    off = replace(off, view=replace(off.view, file_state="disabled"))
    assert () == problems(with_exporter(off, REWRITE))


@pytest.mark.parametrize("reason", [Reason.CLIENT, Reason.ELSEWHERE])
def test_decisions_of_somebodys_are_no_problem(reason: Reason) -> None:
    left = Decision(UNIT, Goal.UNTOUCHED, reason, "somebody's")
    assert () == problems(with_exporter(exporter(process(client=True)), left))


def test_an_edited_drop_in_of_a_client_is_a_notice() -> None:
    left = Decision(UNIT, Goal.UNTOUCHED, Reason.EDITED, "x.conf is yours")
    now = with_exporter(exporter(process(client=True)), left)
    assert () == problems(now)
    assert (f"{UNIT}: x.conf is yours",) == notes(now)


def test_who_is_not_root_does_not_take_a_client_for_an_engine() -> None:
    now = with_exporter(client(), KEEP, ours())
    now = replace(now, found=replace(now.found, processes=Processes(unseen=3)))
    assert () == problems(now)
    assert "none visible" in check_report.as_text(now, (), ())


def test_an_interrupted_run_is_a_problem() -> None:
    problem = only(with_exporter(exporter(process()), REWRITE, ours(withdrawn=True)))
    assert ("interrupted", ("do-dcgm-exporter-integrate apply",)) == (problem.id, problem.remedy)


def test_a_client_that_was_not_proven_is_a_problem_while_it_runs() -> None:
    problem = only(with_exporter(client(), Decision(UNIT, Goal.CLIENT), ours(proven=False)))
    assert ("unproven", ("do-dcgm-exporter-integrate apply",)) == (problem.id, problem.remedy)
    stopped = client(active="inactive")
    assert () == problems(with_exporter(stopped, KEEP, ours(proven=False)))


def test_a_container_whose_own_command_has_changed_is_a_problem() -> None:
    one = replace(client(), command=command("localhost:5555", Form.CONTAINER))
    assert () == problems(with_exporter(one, KEEP, ours()))
    problem = only(with_exporter(one, KEEP, ours(source="of before")))
    assert "stale-drop-in" == problem.id
    assert "its own command has changed" in problem.what
    # A variable goes on being right.
    assert () == problems(with_exporter(client(), KEEP, ours(source="of before")))


DOWN = [("failed", "failed"), ("activating", "auto-restart")]


@pytest.mark.parametrize(("active", "sub"), DOWN)
def test_a_client_that_does_not_run(active: str, sub: str) -> None:
    down = client(active=active, sub_state=sub)
    problem = only(with_exporter(down, KEEP, ours()))
    assert "client-down" == problem.id
    assert (f"journalctl -u {UNIT}", f"systemctl start {UNIT}") == problem.remedy
    misfit = Decision(UNIT, Goal.ORIGINAL, Reason.VERSION, "another DCGM")
    problem = only(with_exporter(down, misfit, ours()))
    assert "another DCGM" in problem.what
    assert ("do-dcgm-exporter-integrate apply",) == problem.remedy
    untested = Decision(UNIT, Goal.CLIENT, why="it failed before its test")
    problem = only(with_exporter(down, untested, ours(proven=False)))
    assert "it failed before its test" in problem.what
    assert ("do-dcgm-exporter-integrate apply",) == problem.remedy


@pytest.mark.parametrize(("active", "sub"), DOWN)
def test_a_client_of_somebodys_that_does_not_run(active: str, sub: str) -> None:
    down = replace(client(active=active, sub_state=sub), processes=())
    somebodys = Decision(UNIT, Goal.UNTOUCHED, Reason.CLIENT, "told to use localhost:5555")
    problem = only(with_exporter(down, somebodys))
    assert ("client-down", f"systemctl start {UNIT}") == (problem.id, problem.remedy[1])
    elsewhere = replace(somebodys, reason=Reason.ELSEWHERE)
    assert () == problems(with_exporter(down, elsewhere))


def test_an_engine_that_is_down_is_one_problem_and_not_its_clients_as_well() -> None:
    absent = EngineAnswer(Condition.ABSENT, "nothing listens")
    down = Decision(UNIT, Goal.CLIENT, Reason.DOWN, "nothing listens")
    changes = {"local_engine": absent, "health": Answer(503, "nothing listens")}
    now = with_exporter(client(active="failed"), down, ours(), engine=absent, **changes)
    assert "engine-absent" == only(now).id
    elsewhere = IntegrationSettings(engine=EngineAddress("gpu7", 5555))
    changes["health"] = Answer(200, "OK")
    now = with_exporter(client(active="failed"), down, ours(), settings=elsewhere, **changes)
    problem = only(now)
    assert problem.what.endswith("does not run: the engine cannot be used: nothing listens")
    assert ("systemctl enable --now nvidia-dcgm.service",) == problem.remedy
