"""From findings to problems, each with its remedy, and to what check prints."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from do_dcgm_exporter.integration.changing.state import Change, State, UnitRecord
from do_dcgm_exporter.integration.looking.exporters import UnitExporter

from do_dcgm_exporter.integration.deciding.exporter_command import ExporterCommand, Form
from do_dcgm_exporter.integration.deciding.plan import Decision, Goal, Reason
from do_dcgm_exporter.integration.deciding.problem import Problem
from do_dcgm_exporter.integration.deciding.problems import notices, problems
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.engine_probe import Condition, EngineAnswer, Profiling
from do_dcgm_exporter.integration.looking.machine import Answer, Package
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes
from do_dcgm_exporter.integration.looking.snap import Snap, SnapService
from do_dcgm_exporter.integration.looking.survey import Findings, PortUse
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.reporting import check_data, check_report
from do_dcgm_exporter.port_holder import Holder
from do_dcgm_exporter.settings import EngineAddress

UNIT = "nvidia-dcgm-exporter.service"


def view(name: str, active: str = "active", **changes: Any) -> UnitView:
    made = UnitView(
        name=name, names=(name,), load_state="loaded", active_state=active, sub_state="running",
        file_state="enabled", fragment=f"/usr/lib/systemd/system/{name}", drop_ins=(), type="",
        commands=(), environment={}, environment_files=(), unset=(), restarts=0,
    )  # fmt: skip
    return replace(made, **changes)


def process(
    pid: int = 20, *, unit: str = UNIT, client: bool = False, **changes: Any
) -> DcgmProcess:
    made = DcgmProcess(pid, "dcgm-exporter", unit, "", 4, client)
    return replace(made, **changes)


def exporter(*processes: DcgmProcess, active: str = "active", **changes: Any) -> UnitExporter:
    made = UnitExporter(
        view(UNIT, active), ExporterCommand(Form.DIRECT, None), processes, "x", False, False, 4,
        "4.8.2",
    )  # fmt: skip
    return replace(made, **changes)


CLEAN = Findings(
    settings=IntegrationSettings(),
    driver="550.54.15",
    packages=(Package("datacenter-gpu-manager-4-core", "1:4.5.3-1"),),
    has_engine_program=True,
    engine=EngineAnswer(
        Condition.ANSWERS, client="4.5.3", engine="4.5.3", gpus=8, profiling=Profiling.WORKS
    ),
    local_engine=EngineAnswer(Condition.ANSWERS, client="4.5.3", engine="4.5.3", gpus=8),
    engine_unit=view("nvidia-dcgm.service"),
    engine_port=PortUse(True, Holder("nv-hostengine", 7), "nvidia-dcgm.service"),
    own_port=PortUse(True, Holder("do-dcgm-exporte", 8), "do-dcgm-exporter.service"),
    knows_embedded=True,
    service=view("do-dcgm-exporter.service"),
    health=Answer(200, "ok"),
)
REWRITE = Decision(UNIT, Goal.REWRITTEN, text="[Service]\n")


def found(**changes: Any) -> Findings:
    return replace(CLEAN, **changes)


def with_exporter(one: UnitExporter, decision: Decision, **changes: Any) -> Findings:
    processes = Processes(one.processes)
    return found(
        exporters=(one,), decisions={UNIT: decision}, processes=processes, **changes
    )  # fmt: skip


def only(findings: Findings) -> Problem:
    (problem,) = problems(findings)
    return problem


def test_a_clean_machine_has_no_problems() -> None:
    assert () == problems(CLEAN)
    assert () == notices(CLEAN)
    assert "no problems" in check_report.as_text(CLEAN, (), ())


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
    assert ("systemctl disable --now web.service",) == problem.remedy


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
    findings = found(settings=settings, engine=other)
    text = check_report.as_text(findings, (), ())
    assert re.search(r"^gpu7:5555 +DCGM 4\.5\.2 with 4 GPUs", text, re.MULTILINE)
    assert re.search(r"^localhost:5555 +nvidia-dcgm\.service \(pid 7\)", text, re.MULTILINE)
    data = check_data.as_data(findings, (), ())
    assert not data["engine"]["port"]["taken"]
    assert "localhost:5555" == data["local_engine"]["address"]
    assert data["local_engine"]["port"]["taken"]


def test_a_socket_that_nobody_listens_on_is_the_engines_to_open() -> None:
    settings = IntegrationSettings(engine=EngineAddress(socket_path="/run/dcgm"))
    absent = EngineAnswer(Condition.ABSENT, "nobody listens on unix:///run/dcgm")
    problem = only(found(settings=settings, engine=absent))
    assert ("engine-absent", absent.reason) == (problem.id, problem.what)
    assert "systemctl cat nvidia-dcgm.service" == problem.remedy[0]


def test_no_dcgm_is_one_problem() -> None:
    nothing = found(
        packages=(), has_engine_program=False, engine=EngineAnswer(Condition.NO_CLIENT, "x"),
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


def test_a_missing_profiling_module_is_installed_or_loaded() -> None:
    engine = replace(CLEAN.engine, profiling=Profiling.NOT_LOADED)
    problem = only(found(engine=engine))
    assert "apt install datacenter-gpu-manager-4-proprietary" == problem.remedy[0]
    package = Package("datacenter-gpu-manager-4-proprietary", "1")
    problem = only(found(engine=engine, packages=(*CLEAN.packages, package)))
    assert ("systemctl restart nvidia-dcgm.service",) == problem.remedy


def test_an_embedded_exporter() -> None:
    problem = only(with_exporter(exporter(process()), REWRITE))
    assert ("embedded-dcgm", f"{UNIT} runs a DCGM of its own") == (problem.id, problem.what)
    assert ("do-dcgm-exporter-integrate apply",) == problem.remedy


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (Reason.CHOSEN, "dpkg-reconfigure do-dcgm-exporter"),
        (Reason.VERSION, f"systemctl disable --now {UNIT}"),
        (Reason.REFUSED, f"systemctl disable --now {UNIT}"),
        (Reason.CONTAINER, f"systemctl edit {UNIT}"),
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
    assert "when it is started" in problem.what
    off = exporter(active="inactive")
    off = replace(off, view=replace(off.view, file_state="disabled"))
    assert () == problems(with_exporter(off, REWRITE))


@pytest.mark.parametrize("reason", [Reason.CLIENT, Reason.ELSEWHERE, Reason.MASKED])
def test_decisions_of_somebodys_are_no_problem(reason: Reason) -> None:
    left = Decision(UNIT, Goal.UNTOUCHED, reason, "somebody's")
    assert () == problems(with_exporter(exporter(process(client=True)), left))


def test_an_edited_drop_in_of_a_client_is_a_notice() -> None:
    left = Decision(UNIT, Goal.UNTOUCHED, Reason.EDITED, "x.conf is yours")
    findings = with_exporter(exporter(process(client=True)), left)
    assert () == problems(findings)
    assert (f"{UNIT}: x.conf is yours",) == notices(findings)


def test_who_is_not_root_does_not_take_a_client_for_an_engine() -> None:
    processes = Processes(engine_pids=(7,), unseen=3)
    client = exporter(has_drop_in=True)
    findings = replace(with_exporter(client, REWRITE), processes=processes)
    assert () == problems(findings)
    assert not any("another nv-hostengine" in notice for notice in notices(findings))
    assert "none that can be seen" in check_report.as_text(findings, (), ())


def test_an_interrupted_run_is_a_problem() -> None:
    state = State({UNIT: UnitRecord(UNIT, Change.REWRITTEN, was_active=True)})
    problem = only(with_exporter(exporter(process()), REWRITE, state=state))
    assert ("interrupted", ("do-dcgm-exporter-integrate apply",)) == (problem.id, problem.remedy)


@pytest.mark.parametrize(("active", "sub"), [("failed", "failed"), ("activating", "auto-restart")])
def test_a_client_that_does_not_run(active: str, sub: str) -> None:
    state = State({UNIT: UnitRecord(UNIT, Change.REWRITTEN, was_active=True, settled=True)})
    down = exporter(active=active)
    down = replace(down, view=replace(down.view, sub_state=sub))
    keep = Decision(UNIT, Goal.REWRITTEN, Reason.CLIENT, "x")
    problem = only(with_exporter(down, keep, state=state))
    assert "client-down" == problem.id
    assert (f"systemctl start {UNIT}", f"journalctl -u {UNIT}") == problem.remedy
    misfit = Decision(UNIT, Goal.ORIGINAL, Reason.VERSION, "another DCGM")
    problem = only(with_exporter(down, misfit, state=state))
    assert "another DCGM" in problem.what
    assert ("do-dcgm-exporter-integrate apply",) == problem.remedy


@pytest.mark.parametrize(("active", "sub"), [("failed", "failed"), ("activating", "auto-restart")])
def test_a_client_of_somebodys_that_does_not_run(active: str, sub: str) -> None:
    down = exporter(active=active, command=ExporterCommand(Form.DIRECT, "localhost:5555"))
    down = replace(down, view=replace(down.view, sub_state=sub))
    somebodys = Decision(UNIT, Goal.UNTOUCHED, Reason.CLIENT, "told to use localhost:5555")
    problem = only(with_exporter(down, somebodys))
    assert ("client-down", f"systemctl start {UNIT}") == (problem.id, problem.remedy[0])
    elsewhere = replace(somebodys, reason=Reason.ELSEWHERE)
    assert () == problems(with_exporter(down, elsewhere))


def test_a_client_that_does_not_run_for_want_of_an_engine() -> None:
    state = State({UNIT: UnitRecord(UNIT, Change.REWRITTEN, was_active=True, settled=True)})
    absent = EngineAnswer(Condition.ABSENT, "nobody listens")
    down = Decision(UNIT, Goal.REWRITTEN, Reason.DOWN, "nobody listens")
    changes = {"state": state, "engine": absent, "local_engine": absent}
    engine, client = problems(with_exporter(exporter(active="failed"), down, **changes))
    assert "engine-absent" == engine.id
    assert client.what.endswith("does not run: the engine cannot be used: nobody listens")
    start_engine = "systemctl enable --now nvidia-dcgm.service"
    assert (start_engine, f"systemctl start {UNIT}") == client.remedy


@pytest.mark.parametrize(
    ("version", "word"),
    [("4.8.2", f'"localhost" as a client: {UNIT} (4.8.2)'), ("", f"perhaps one of these: {UNIT}")],
)
def test_the_host_label_is_told_before_it_changes(version: str, word: str) -> None:
    findings = with_exporter(exporter(process(), version=version), REWRITE)
    (notice,) = notices(findings)
    assert word in notice
    assert "3.x, 4.8.3 and later" in notice


@pytest.mark.parametrize("version", ["3.6.1", "4.8.3"])
def test_others_keep_their_label(version: str) -> None:
    assert () == notices(with_exporter(exporter(process(), version=version), REWRITE))


def test_a_program_that_is_no_exporter_is_named() -> None:
    agent = process(30, unit="agent.service", command="agent")
    problem = only(found(processes=Processes((agent,))))
    assert "agent (pid 30, agent.service)" in problem.what
    assert ("systemctl disable --now agent.service",) == problem.remedy
    loner = process(30, unit="", command="agent")
    problem = only(found(processes=Processes((loner,))))
    assert "agent (pid 30, started by hand)" in problem.what
    assert ("kill 30",) == problem.remedy
    by_hand = only(found(processes=Processes((process(30, unit=""),))))
    assert "kill 30" == by_hand.remedy[0]
    assert by_hand.remedy[1].startswith("dcgm-exporter -r localhost:5555  #")


def test_without_an_engine_nobody_is_called_embedded() -> None:
    agent = process(30, unit="agent.service")
    findings = found(processes=Processes((agent,)), knows_embedded=False)
    assert () == problems(findings)
    assert "cannot be told while the engine does not run" in check_report.as_text(findings, (), ())
    assert check_data.as_data(findings, (), ())["embedded_processes"] is None


def test_another_engine_is_a_notice() -> None:
    processes = Processes(engine_pids=(7, 9), serving_pids=(7,))
    assert ("another nv-hostengine runs (pid 9), not on port 5555",) == notices(
        found(processes=processes)
    )


CONTAINER = Container(
    "docker", "a1" * 32, "gpu", True, "", (), {}, 4, False,
    {
        "Config": {"Image": "dcgm-exporter:4.5.3-4.8.2", "Env": []},
        "HostConfig": {"NetworkMode": "host"},
    },
    {},
)  # fmt: skip


def test_a_container_comes_with_its_commands() -> None:
    problem = only(found(containers=(CONTAINER,)))
    assert "container gpu (docker) runs a DCGM of its own" == problem.what
    assert "docker stop gpu" in problem.remedy
    assert "docker rename gpu gpu.before-do-dcgm-exporter" in problem.remedy
    assert "--recreate-containers" in problem.remedy[0]


def test_a_container_of_somebodys_comes_without() -> None:
    problem = only(found(containers=(replace(CONTAINER, maker="Compose"),)))
    assert "Compose makes it" in problem.what
    assert ("docker inspect gpu",) == problem.remedy


def test_the_snaps_second_engine() -> None:
    services = (SnapService("dcgm.nv-hostengine", True, True),)
    snap = Snap("5577", ":9400", services, serves_engine=False, library_major=4)
    assert "second-engine" == only(found(snap=snap)).id
    assert () == problems(found(snap=replace(snap, serves_engine=True)))


def test_a_taken_port_is_named_with_its_holder() -> None:
    port = PortUse(True, Holder("nc", 77))
    down = view("do-dcgm-exporter.service", "activating", sub_state="auto-restart")
    taken, service = problems(found(own_port=port, service=down, health=Answer(404, "")))
    assert "port 9401, that of do-dcgm-exporter, is taken by nc (pid 77)" == taken.what
    assert "kill 77" == taken.remedy[0]
    assert "service-down" == service.id


def test_a_port_whose_holder_is_hidden_is_ours_if_we_run() -> None:
    assert () == problems(found(own_port=PortUse(True)))
    stopped = view("do-dcgm-exporter.service", "inactive")
    identities = [one.id for one in problems(found(own_port=PortUse(True), service=stopped))]
    assert ["port-taken", "service-down"] == identities


def test_our_own_service() -> None:
    failed = view("do-dcgm-exporter.service", "failed")
    assert "has failed" in only(found(service=failed, own_port=PortUse(False))).what
    unhealthy = only(found(health=Answer(503, "the engine is gone\nmore")))
    assert "do-dcgm-exporter.service: the engine is gone" == unhealthy.what
    absent = view("do-dcgm-exporter.service", "inactive", load_state="not-found")
    assert () == problems(found(service=absent, own_port=PortUse(False)))


def test_the_endpoint() -> None:
    settings = IntegrationSettings(forward_url="http://169.254.169.254/v1/gpu_metrics")
    hangs = found(settings=settings, endpoint=Answer(0, "no answer within 2 s"))
    problem = only(hangs)
    assert "endpoint-unreachable" == problem.id
    assert "no answer within 2 s" in problem.what
    assert () == problems(found(settings=settings, endpoint=Answer(405, "")))


def test_a_wrong_configuration() -> None:
    problem = only(found(configuration_error="x.conf:3: engine: 'mine' is not allowed"))
    assert "x.conf:3" in problem.what


# --- what is printed ---------------------------------------------------------------------

KEYS = {
    "": ["schema", "driver", "packages", "engine", "local_engine", "exporters",
         "embedded_processes", "service", "health", "address", "endpoint",
         "choice", "problems", "notices", "unseen"],
    "engine": ["address", "unit", "choice", "port", "condition", "reason", "version",
               "client_version", "fits", "gpus", "profiling", "simulated"],
    "local_engine": ["address", "port", "condition", "reason", "version"],
    "service": ["name", "load", "active", "enabled", "file"],
    "address": ["port", "taken", "command", "pid", "unit"],
    "endpoint": ["url", "reachable", "reason"],
}  # fmt: skip
UNIT_KEYS = ["kind", "unit", "name", "how", "engine", "embedded", "changed", "would", "why",
             "dcgm_major", "version", "pids"]  # fmt: skip
CONTAINER_KEYS = ["kind", "name", "container_engine", "id", "running", "made_by", "engine",
                  "embedded", "copy", "dcgm_major"]  # fmt: skip
SNAP_KEYS = ["kind", "name", "port", "services", "serves_engine", "embedded"]
FULL = replace(
    with_exporter(exporter(process()), REWRITE),
    containers=(CONTAINER,),
    snap=Snap("5577", ":9400", (), serves_engine=False, library_major=4),
    unseen=("docker: no answer in time",),
)


def test_the_keys_of_the_json_are_a_promise() -> None:
    data = check_data.as_data(FULL, problems(FULL), notices(FULL))
    assert 1 == data["schema"]
    for name, keys in KEYS.items():
        assert keys == list(data[name] if name else data), name
    assert [UNIT_KEYS, CONTAINER_KEYS, SNAP_KEYS] == [list(one) for one in data["exporters"]]
    assert {"id", "what", "remedy"} == set(data["problems"][0])
    assert {"pid", "command", "of"} == set(data["embedded_processes"][0])


def test_the_table_names_everything() -> None:
    text = check_report.as_text(FULL, problems(FULL), notices(FULL))
    for words in (
        "550.54.15", "datacenter-gpu-manager-4-core 1:4.5.3-1", "DCGM 4.5.3 with 8 GPUs",
        "nvidia-dcgm.service (pid 7)", f"{UNIT} (program), active, enabled: a DCGM of its own",
        "gpu (docker), runs: a DCGM of its own", "snap dcgm", "docker: no answer in time",
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
    findings = found(settings=IntegrationSettings(choice=choice))
    assert f"embedded-exporters = {choice.value}" in check_report.as_text(findings, (), ())
