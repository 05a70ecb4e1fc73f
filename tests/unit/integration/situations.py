"""What may be found on a machine, for the tests of what is said about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

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
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.our_files import path_of
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes
from do_dcgm_exporter.integration.looking.survey import Findings, PortUse
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.looking.web import Answer
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
