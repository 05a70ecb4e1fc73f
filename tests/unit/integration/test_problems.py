"""From findings to problems, each with its remedy, and to what check prints."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer, Profiling
from do_dcgm_exporter.integration.deciding import problems as judging
from do_dcgm_exporter.integration.deciding.exporter import (
    ExporterCommand,
    Exporters,
    Form,
    Mention,
    Role,
    UnitExporter,
)
from do_dcgm_exporter.integration.deciding.plan import Decision, Goal, Reason
from do_dcgm_exporter.integration.deciding.problems import Problem, Situation
from do_dcgm_exporter.integration.deciding.records import DropIn, Record, Records
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.our_files import path_of
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes
from do_dcgm_exporter.integration.looking.survey import Findings, PortUse
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.looking.web import Answer
from do_dcgm_exporter.integration.reporting import check_report
from do_dcgm_exporter.process_owners import Owner as ProcessOwner
from do_dcgm_exporter.process_owners import OwnerKind
from do_dcgm_exporter.sockets import Holder

UNIT = "nvidia-dcgm-exporter.service"


def view(name: str, active: str = "active", **changes: Any) -> UnitView:
    made = UnitView(
        name=name, load_state="loaded", active_state=active, sub_state="running",
        file_state="enabled", fragment=f"/usr/lib/systemd/system/{name}", drop_ins=(), type="",
        commands=(), environment={}, environment_files=(), restarts=0,
        log=f"journalctl -u {name}",
    )  # fmt: skip
    return replace(made, **changes)


def process(
    pid: int = 20, *, unit: str = UNIT, client: bool = False, **changes: Any
) -> DcgmProcess:
    owner = ProcessOwner(OwnerKind.UNIT if unit else OwnerKind.NOTHING, unit)
    made = DcgmProcess(pid, "/usr/bin/dcgm-exporter", owner, 4, client)
    return replace(made, **changes)


def command(remote: str = "", form: Form = Form.PROGRAM) -> ExporterCommand:
    return ExporterCommand(form, ("-r", remote) if remote else ())


def exporter(*processes: DcgmProcess, active: str = "active", **changes: Any) -> UnitExporter:
    made = UnitExporter(view(UNIT, active), command(), processes, "x", library_major=4)
    return replace(made, **changes)


def client(**changes: Any) -> UnitExporter:
    """An exporter with our drop-in."""
    return exporter(
        process(client=True),
        command=command("localhost:5555"),
        view=view(UNIT, drop_ins=(path_of(UNIT),), **changes),
    )


def ours(*, withdrawn: bool = False, **changes: Any) -> Records:
    """The record of our drop-in."""
    record = replace(Record(engine="localhost:5555", source="x"), **changes)
    return Records({UNIT: DropIn("", record, withdrawn)})


CLEAN = Findings(
    settings=IntegrationSettings(),
    driver="550.54.15",
    packages={"datacenter-gpu-manager-4-core": "1:4.5.3-1"},
    has_engine_program=True,
    engine=EngineAnswer(
        Condition.ANSWERS, client="4.5.3", engine="4.5.3", gpus=8, profiling=Profiling.WORKS
    ),
    local_engine=EngineAnswer(Condition.ANSWERS, client="4.5.3", engine="4.5.3", gpus=8),
    engine_unit=view("nvidia-dcgm.service"),
    engine_port=PortUse(True, Holder("nv-hostengine", 7), "nvidia-dcgm.service"),
    own_port=PortUse(True, Holder("do-dcgm-exporte", 8), "do-dcgm-exporter.service"),
    service=view("do-dcgm-exporter.service"),
    health=Answer(200, "ok"),
)
REWRITE = Decision(UNIT, Goal.CLIENT, text="[Service]\n")
KEEP = Decision(UNIT, Goal.CLIENT, Reason.CLIENT, "x")


def found(**changes: Any) -> Situation:
    if "engine" in changes and "settings" not in changes:
        changes = {"local_engine": changes["engine"], **changes}
    return Situation(replace(CLEAN, **changes))


def with_exporter(
    one: UnitExporter, decision: Decision, records: Records | None = None, **changes: Any
) -> Situation:
    now = replace(CLEAN, processes=Processes(one.processes), **changes)
    return Situation(now, Exporters((one,)), records or Records(), {UNIT: decision})


def with_mention(**changes: Any) -> Situation:
    mention = replace(Mention(Role.PARENT, "cron.service"), **changes)
    return Situation(CLEAN, Exporters((), (mention,)))


def problems(now: Situation) -> tuple[Problem, ...]:
    return tuple(judging.problems(now))


def notes(now: Situation) -> tuple[str, ...]:
    return tuple(judging.notes(now))


def only(now: Situation) -> Problem:
    (problem,) = problems(now)
    return problem


def test_a_clean_machine_has_no_problems() -> None:
    assert () == problems(found())
    assert () == notes(found())
    assert "no problems" in check_report.as_text(found(), (), ())


@pytest.mark.parametrize(
    ("condition", "reason", "identity", "remedy"),
    [
        (Condition.HUNG, "slow", "engine-hung", "systemctl restart nvidia-dcgm.service"),
        (Condition.ABSENT, "nobody", "engine-absent",
         "systemctl enable --now nvidia-dcgm.service"),
        (Condition.DOES_NOT_FIT, "restart nvidia-dcgm", "engine-does-not-fit",
         "systemctl restart nvidia-dcgm.service"),
        (Condition.DOES_NOT_FIT, "restart do-dcgm-exporter", "engine-does-not-fit",
         "systemctl restart do-dcgm-exporter.service"),
        (Condition.NO_DRIVER, "no NVML", "engine-without-driver", "modprobe nvidia"),
        (Condition.NO_CLIENT, "no bindings", "no-client-library",
         "apt install --reinstall datacenter-gpu-manager-4-core"),
        (Condition.FAILED, "crash", "engine-not-asked", "systemctl restart nvidia-dcgm.service"),
    ],
)  # fmt: skip
def test_engines(condition: Condition, reason: str, identity: str, remedy: str) -> None:
    engine = EngineAnswer(condition, reason)
    problem = only(found(engine=engine, engine_port=PortUse(False)))
    assert identity == problem.id
    assert reason in problem.what
    assert remedy in problem.remedy


def test_a_masked_engine_is_unmasked_first() -> None:
    unit = view("nvidia-dcgm.service", "inactive", load_state="masked")
    absent = EngineAnswer(Condition.ABSENT, "nobody")
    problem = only(found(engine=absent, engine_unit=unit, engine_port=PortUse(False)))
    assert "systemctl unmask nvidia-dcgm.service" == problem.remedy[0]


def test_the_engines_port_may_be_somebody_elses() -> None:
    taken = PortUse(True, Holder("python3", 99), "web.service")
    problem = only(found(engine=EngineAnswer(Condition.ABSENT, "x"), engine_port=taken))
    assert "engine-port-taken" == problem.id
    assert "python3 (pid 99)" in problem.what
    assert "ss --listening --tcp --processes 'sport = 5555'" == problem.remedy[0]
    assert not any("web.service" in command for command in problem.remedy)


def test_an_engine_elsewhere_is_not_started_here() -> None:
    settings = IntegrationSettings(engine=EngineAddress("gpu7", 5555))
    absent = EngineAnswer(Condition.ABSENT, "nobody")
    problem = only(found(settings=settings, engine=absent, engine_port=PortUse(False), driver=""))
    assert "engine-absent" == problem.id
    assert not any("systemctl" in command for command in problem.remedy)


@pytest.mark.parametrize(
    "engine",
    [
        *(EngineAnswer(condition, "restart nvidia-dcgm") for condition in Condition
          if condition is not Condition.ANSWERS),
        replace(CLEAN.engine, profiling=Profiling.NOT_LOADED),
    ],
)  # fmt: skip
def test_nothing_is_done_here_to_an_engine_elsewhere(engine: EngineAnswer) -> None:
    settings = IntegrationSettings(engine=EngineAddress("gpu7", 5555))
    problem = only(found(settings=settings, engine=engine))
    assert not [one for one in problem.remedy if one.startswith(("systemctl", "modprobe"))]
    assert "taken" not in problem.what


def test_an_engine_elsewhere_has_no_holder_here() -> None:
    settings = IntegrationSettings(engine=EngineAddress("gpu7", 5555))
    other = EngineAnswer(Condition.ANSWERS, client="4.5.3", engine="4.5.2", gpus=4)
    now = found(settings=settings, engine=other)
    text = check_report.as_text(now, (), ())
    assert re.search(r"^gpu7:5555 +DCGM 4\.5\.2 with 4 GPUs", text, re.MULTILINE)
    assert re.search(r"^localhost:5555 +nvidia-dcgm\.service \(pid 7\)", text, re.MULTILINE)
    data = json.loads(check_report.as_json(now, (), ()))
    assert "gpu7:5555" == data["engine_address"]
    assert data["engine_port"]["is_taken"]


def test_a_socket_that_nobody_listens_on_is_the_engines_to_open() -> None:
    settings = IntegrationSettings(engine=EngineAddress(socket_path="/run/dcgm"))
    absent = EngineAnswer(Condition.ABSENT, "nothing listens on unix:///run/dcgm")
    problem = only(found(settings=settings, engine=absent))
    assert ("engine-absent", absent.reason) == (problem.id, problem.what)
    assert "systemctl cat nvidia-dcgm.service" == problem.remedy[0]


@pytest.mark.parametrize(
    ("packages", "remedy"),
    [
        (["datacenter-gpu-manager-4-core"],
         "apt install --reinstall datacenter-gpu-manager-4-core"),
        (["datacenter-gpu-manager-4-core", "nv-hostengine", "libdcgm"],
         "apt install datacenter-gpu-manager-4-python3"),
        (["datacenter-gpu-manager-4-python3"], "apt install libdcgm"),
        (["nv-hostengine", "libdcgm", "datacenter-gpu-manager-4-python3"],
         "apt install --reinstall libdcgm datacenter-gpu-manager-4-python3"),
    ],
)  # fmt: skip
def test_the_client_package_that_is_missing_is_the_one_named(
    packages: list[str], remedy: str
) -> None:
    engine = EngineAnswer(Condition.NO_CLIENT, "no bindings")
    problem = only(found(engine=engine, packages=dict.fromkeys(packages, "1:4.7.0-1")))
    assert ("no-client-library", remedy) == (problem.id, problem.remedy[0])


def test_no_dcgm_is_one_problem() -> None:
    nothing = found(
        packages={}, has_engine_program=False, engine=EngineAnswer(Condition.NO_CLIENT, "x"),
        engine_unit=view("nvidia-dcgm.service", load_state="not-found"),
        engine_port=PortUse(False),
    )  # fmt: skip
    problem = only(nothing)
    assert "no-dcgm" == problem.id
    assert ("apt install datacenter-gpu-manager-4-core",) == problem.remedy


def test_no_driver_is_a_problem_unless_the_engine_has_gpus() -> None:
    assert () == problems(found(driver=""))
    without = EngineAnswer(Condition.ANSWERS, client="4.5.3", engine="4.5.3")
    assert "no-driver" == only(found(driver="", engine=without)).id


def test_the_cause_is_named_and_not_that_our_service_suffers_from_it() -> None:
    ill = Answer(503, "the engine knows no GPU")
    without = EngineAnswer(Condition.ANSWERS, client="4.5.3", engine="4.5.3")
    assert "no-driver" == only(found(driver="", engine=without, health=ill)).id
    unloaded = replace(CLEAN.engine, profiling=Profiling.NOT_LOADED)
    both = problems(found(engine=unloaded, health=ill))
    assert ["no-profiling", "service-unhealthy"] == [one.id for one in both]


def test_a_missing_profiling_module_is_installed_or_loaded() -> None:
    engine = replace(CLEAN.engine, profiling=Profiling.NOT_LOADED)
    problem = only(found(engine=engine))
    assert "apt install datacenter-gpu-manager-4-proprietary" == problem.remedy[0]
    package = "datacenter-gpu-manager-4-proprietary"
    problem = only(found(engine=engine, packages={**CLEAN.packages, package: "1"}))
    assert ("systemctl restart nvidia-dcgm.service",) == problem.remedy


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


# --- what is printed ---------------------------------------------------------------------

KEYS = {
    "": ["schema", "driver", "packages", "engine", "local_engine", "engine_unit", "engine_port",
         "own_port", "service", "health", "other_engines", "unseen",
         "engine_address", "policy", "embedded_processes", "exporters", "mentions", "problems",
         "notes"],
    "engine": ["condition", "reason", "client", "engine", "gpus", "profiling", "simulated"],
    "engine_unit": ["name", "load_state", "active_state", "file_state", "fragment"],
    "engine_port": ["is_taken", "holder", "unit"],
}  # fmt: skip
UNIT_KEYS = ["unit", "how", "engine", "library_major", "processes", "embedded", "drop_in",
             "stopped", "goal", "why"]  # fmt: skip
MENTION_KEYS = ["role", "name", "pids", "place", "lines"]
FULL = Situation(
    replace(CLEAN, processes=Processes((process(),)), unseen=("docker: no answer in time",)),
    Exporters(
        (exporter(process()),),
        (Mention(Role.USER_UNIT, "gpu.service of user 1000", (31,), "/home/x/gpu.service"),),
    ),
    decisions={UNIT: REWRITE},
)


def test_the_keys_of_the_json_are_a_promise() -> None:
    data = json.loads(check_report.as_json(FULL, problems(FULL), tuple(notes(FULL))))
    assert 2 == data["schema"]
    for name, keys in KEYS.items():
        assert keys == list(data[name] if name else data), name
    assert [UNIT_KEYS] == [list(one) for one in data["exporters"]]
    assert [MENTION_KEYS] == [list(one) for one in data["mentions"]]
    assert data == json.loads(json.dumps(data))
    assert {"id", "what", "remedy"} == set(data["problems"][0])
    assert {"pid", "command", "of"} == set(data["embedded_processes"][0])


def test_the_table_names_everything() -> None:
    text = check_report.as_text(FULL, problems(FULL), notes(FULL))
    for words in (
        "550.54.15", "datacenter-gpu-manager-4-core 1:4.5.3-1", "DCGM 4.5.3 with 8 GPUs",
        "nvidia-dcgm.service (pid 7)", f"{UNIT} (program), active, enabled: embedded DCGM",
        "gpu.service of user 1000 is a user's unit: embedded DCGM", "docker: no answer in time",
        "dcgm-exporter (pid 20), nvidia-dcgm-exporter.service", "2 problems",
        "       do-dcgm-exporter-integrate apply",
    ):  # fmt: skip
        assert words in text, words


def test_columns_are_as_wide_as_they_have_to_be() -> None:
    settings = IntegrationSettings(engine=EngineAddress(socket_path="/run/a/long/path/dcgm.sock"))
    lines = check_report.as_text(found(settings=settings), (), ()).splitlines()
    rows = lines[: lines.index("")]
    values = [re.split(" {2,}", row, maxsplit=1)[1] for row in rows]
    starts = {len(row) - len(value) for row, value in zip(rows, values, strict=True)}
    assert {len("unix:///run/a/long/path/dcgm.sock  ")} == starts


@pytest.mark.parametrize("choice", Choice)
def test_the_choice_is_told(choice: Choice) -> None:
    now = found(settings=IntegrationSettings(choice=choice))
    assert f"embedded-exporters = {choice.value}" in check_report.as_text(now, (), ())
