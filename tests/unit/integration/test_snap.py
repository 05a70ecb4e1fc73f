"""The snap "dcgm": its engine is used, or stood down for the one on our port."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tests.unit.integration.conftest import Machine
from tests.unit.integration.runs import apply, plan, told, undo

from do_dcgm_exporter.integration.looking.configuration import Choice
from do_dcgm_exporter.integration.looking.engine_probe import Condition, EngineAnswer
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.snap import find_snap

SNAP = """\
import json, os, sys
path = os.environ["STAND_IN_ROOT"] + "/stand-in/snap.json"
data = json.load(open(path))
verb, *words = sys.argv[1:]
data["asked"].append([verb, *words])
json.dump(data, open(path, "w"))
plain = [word for word in words if not word.startswith("-")]
named = plain if plain != ["dcgm"] else list(data["services"])
if verb in data["fails"]:
    sys.exit("error: not today")
elif verb == "list":
    if not data["installed"]:
        sys.exit("error: no matching snaps installed")
    print("Name  Version  Rev\\ndcgm  v4.5.2  20")
elif verb == "get":
    print(json.dumps(data["settings"]))
elif verb == "set":
    key, _, value = plain[1].partition("=")
    data["settings"][key] = value
elif verb == "services":
    print("Service Startup Current Notes")
    for name, (enabled, active) in data["services"].items():
        words = ("enabled" if enabled else "disabled", "active" if active else "inactive")
        print(name, *words, "-")
else:
    for name in named:
        service = data["services"][name]
        if "--enable" in words or "--disable" in words:
            service[0] = "--enable" in words
        service[1] = verb != "stop"
json.dump(data, open(path, "w"))
"""
ENGINE, EXPORTER = "dcgm.nv-hostengine", "dcgm.dcgm-exporter"


@pytest.fixture
def snap(machine: Machine) -> Machine:
    """A machine with the snap, whose engine is on a port of its own."""
    machine.program("snap", f"#!{sys.executable} -IS\n{SNAP}")
    data = {
        "installed": True,
        "settings": {
            "nv-hostengine-port": "5577",
            "dcgm-exporter-address": f":{machine.ports[0]}",
        },
        "services": {ENGINE: [True, True], EXPORTER: [False, True]},
        "asked": [],
        "fails": [],
    }
    machine.write("stand-in/snap.json", json.dumps(data))
    line = " 0: 0100007F:15C9 00000000:0000 0A 0 0 0 0 0 8\n"  # 5577
    machine.write("proc/net/tcp", machine.read("proc/net/tcp") + line)
    machine.systemctl("daemon-reload")
    return machine


def data(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.read("stand-in/snap.json"))
    return found


def change(machine: Machine, **values: object) -> None:
    machine.write("stand-in/snap.json", json.dumps({**data(machine), **values}))


def kept(machine: Machine) -> tuple[object, object]:
    return data(machine)["settings"], data(machine)["services"]


def test_a_second_engine_is_stood_down_and_put_back(snap: Machine) -> None:
    before = kept(snap)
    assert apply(snap)
    assert {ENGINE: [False, False], EXPORTER: [False, True]} == data(snap)["services"]
    assert "5555" == data(snap)["settings"]["nv-hostengine-port"]
    # Before it has a port of its own again, it must not run.
    asked = [words[0] for words in data(snap)["asked"]]
    assert asked.index("stop") < asked.index("set") < asked.index("restart")
    assert apply(snap)
    assert undo(snap)
    assert before == kept(snap)


def test_a_plan_names_the_snap(snap: Machine) -> None:
    before = kept(snap)
    assert ["snap dcgm: its engine would be stood down, if ours can be used"] == plan(snap)
    assert before == kept(snap)


def test_an_engine_on_our_port_is_used(snap: Machine) -> None:
    snap.write("proc/7/cgroup", "0::/system.slice/snap.dcgm.nv-hostengine.service\n")
    before = kept(snap)
    for choice in Choice:
        assert apply(snap, choice)
    assert before == kept(snap)
    assert {"list", "get", "services"} == {words[0] for words in data(snap)["asked"]}
    found = find_snap(snap.host, scan(snap.host, 5555, with_engines=True))
    assert found is not None
    assert found.serves_engine


def test_without_the_snap_nothing_is_asked_twice(snap: Machine) -> None:
    change(snap, installed=False)
    assert apply(snap)
    assert [["list", "dcgm"]] == data(snap)["asked"]


def test_a_snap_that_is_gone_is_forgotten(snap: Machine) -> None:
    apply(snap)
    change(snap, installed=False)
    assert apply(snap)
    assert undo(snap)
    assert not snap.exists("var/lib/do-dcgm-exporter/integration.json")


def test_another_choice(snap: Machine) -> None:
    before = kept(snap)
    assert apply(snap, Choice.LEAVE)
    assert before == kept(snap)
    assert "keeps an engine of its own" in told(snap)
    assert apply(snap, Choice.STOP)
    assert {ENGINE: [False, False], EXPORTER: [False, False]} == data(snap)["services"]
    assert apply(snap, Choice.LEAVE)
    assert before == kept(snap)


@pytest.mark.parametrize(
    "engine",
    [EngineAnswer(Condition.HUNG, "it hangs"), EngineAnswer(Condition.ANSWERS, engine="3.3.9")],
)
def test_without_an_engine_that_fits_it_is_left(snap: Machine, engine: EngineAnswer) -> None:
    before = kept(snap)
    assert not apply(snap, engine=engine)
    assert before == kept(snap)
    assert "the snap dcgm keeps an engine of its own" in told(snap)


def test_an_exporter_that_does_not_serve_any_more_is_put_back(snap: Machine) -> None:
    settings = {**data(snap)["settings"], "dcgm-exporter-address": ":1"}
    change(snap, settings=settings)
    before = kept(snap)
    assert not apply(snap)
    assert before == kept(snap)
    assert "does not serve metrics with the engine" in told(snap)


def test_what_fails_is_told_and_tried_again(snap: Machine) -> None:
    before = kept(snap)
    apply(snap)
    change(snap, fails=["set"])
    assert not undo(snap)
    assert "cannot be put back" in told(snap)
    change(snap, fails=[])
    assert undo(snap)
    assert before == kept(snap)


def test_one_that_cannot_be_looked_at_is_no_reason_to_fail(snap: Machine) -> None:
    change(snap, fails=["services"])
    assert apply(snap)
    assert "the snap dcgm cannot be looked at" in told(snap)
