"""From findings to problems with the engine, each with its remedy."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from tests.unit.integration.situations import (
    CLEAN,
    found,
    only,
    problems,
    view,
)

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer, Profiling
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.survey import PortUse
from do_dcgm_exporter.integration.looking.web import Answer
from do_dcgm_exporter.integration.reporting import check_report
from do_dcgm_exporter.sockets import Holder


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
