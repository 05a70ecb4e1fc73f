"""Containers: reported with commands, recreated on request, and put back."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from do_dcgm_exporter.integration.changing.container_copy import CannotCopy
from do_dcgm_exporter.integration.looking.exporters import find_unit_exporters
from tests.unit.integration.conftest import ENGINE, Machine
from tests.unit.integration.runs import CLIENT, apply, plan, told, undo
from tests.unit.integration.test_interruptions import every_point

from do_dcgm_exporter.integration.changing import container_copy
from do_dcgm_exporter.integration.looking.configuration import Choice
from do_dcgm_exporter.integration.looking.containers import Container, find_containers, with_makers
from do_dcgm_exporter.integration.looking.engine_probe import Condition, EngineAnswer
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.systemd import Systemd

IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
READING = {"ps", "inspect"}


@pytest.fixture
def docker(machine: Machine) -> Machine:
    """A machine with docker, and an exporter that somebody has started by hand."""
    machine.stand_in("docker", "containers")
    run(machine, "docker", "gpu", "--publish", f"{machine.ports[0]}:9400",
        "--restart", "unless-stopped", "--cap-add", "SYS_ADMIN")  # fmt: skip
    machine.forget_asked()
    return machine


def run(machine: Machine, engine: str, name: str, *options: str) -> None:
    subprocess.run([engine, "run", "--detach", "--name", name, *options, IMAGE], check=True)


def containers(machine: Machine, engine: str = "docker") -> dict[str, dict[str, Any]]:
    found = json.loads(machine.read(f"stand-in/{engine}.json"))
    return {container["Name"][1:]: container for container in found}


def kept(machine: Machine) -> dict[str, tuple[object, ...]]:
    """Return what has to be the same afterwards."""
    return {
        name: (each["Id"], each["State"]["Running"], each["HostConfig"]["RestartPolicy"])
        for name, each in containers(machine).items()
    }


def verbs(machine: Machine) -> set[str]:
    return {words[1] for words in machine.asked() if words[0] in ("docker", "podman")}


def found(machine: Machine, engine: str = "docker") -> dict[str, Container]:
    processes = scan(machine.host, 5555)
    return {one.name: one for one in find_containers(engine, Systemd(), processes)}


def test_a_container_is_reported_and_left(docker: Machine) -> None:
    before = kept(docker)
    assert not apply(docker)
    assert before == kept(docker)
    assert verbs(docker) == READING
    assert "container gpu (docker) keeps a DCGM of its own" in told(docker)
    assert "--recreate-containers" in told(docker)


def test_a_container_is_recreated_on_request_and_put_back(docker: Machine) -> None:
    before = kept(docker)
    assert apply(docker, recreate=True), docker.said
    copy, old = containers(docker)["gpu"], containers(docker)["gpu.before-do-dcgm-exporter"]
    environment = dict(entry.split("=", 1) for entry in copy["Config"]["Env"])
    assert CLIENT == environment["DCGM_REMOTE_HOSTENGINE_INFO"]
    assert f":{docker.ports[0]}" == environment["DCGM_EXPORTER_LISTEN"]
    assert "host" == copy["HostConfig"]["NetworkMode"]
    assert "unless-stopped" == copy["HostConfig"]["RestartPolicy"]["Name"]
    assert ["SYS_ADMIN"] == copy["HostConfig"]["CapAdd"]
    assert (False, "no") == (old["State"]["Running"], old["HostConfig"]["RestartPolicy"]["Name"])
    assert apply(docker)
    assert apply(docker, recreate=True)
    assert undo(docker)
    assert before == kept(docker)


@pytest.mark.parametrize("verb", ["stop", "update", "rename", "run"])
def test_a_command_that_fails_is_undone(docker: Machine, verb: str) -> None:
    before = kept(docker)
    docker.write("stand-in/container-commands-that-fail", verb)
    assert not apply(docker, recreate=True)
    if verb in ("update", "rename"):  # which the way back needs, too
        docker.remove("stand-in/container-commands-that-fail")
        assert undo(docker)
    assert before == kept(docker)
    assert f"no {verb} today" in told(docker) or not docker.said


def test_a_copy_that_does_not_come_back_is_replaced_by_the_original(docker: Machine) -> None:
    before = kept(docker)
    docker.write("stand-in/containers-that-refuse", "gpu")
    assert not apply(docker, recreate=True)
    assert before == kept(docker)
    assert "its copy exits: docker logs gpu" in told(docker)


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_recreating_can_be_killed_at_any_point(docker: Machine) -> None:
    before = kept(docker)
    points = 0
    for points in every_point(lambda: apply(docker, recreate=True)):
        if points % 2:
            apply(docker)  # which finishes nothing, but puts back what was begun
            assert before == kept(docker), points
        assert undo(docker), points
        assert before == kept(docker), points
    assert points > 5


def test_a_plan_says_how_it_would_be_recreated(docker: Machine) -> None:
    before = kept(docker)
    (reported,) = plan(docker)
    assert "container gpu (docker): stays as it is (recreated on request only)" == reported
    (recreated,) = plan(docker, recreate=True)
    assert "would be recreated" in recreated
    assert "docker rename gpu gpu.before-do-dcgm-exporter\n" in recreated
    assert before == kept(docker)
    assert READING == verbs(docker)


def test_another_choice_puts_the_original_back(docker: Machine) -> None:
    before = kept(docker)
    apply(docker, recreate=True)
    assert apply(docker, Choice.LEAVE)
    assert before == kept(docker)


@pytest.mark.parametrize(
    ("engine", "word"),
    [
        (EngineAnswer(Condition.ABSENT, "nobody is there"), "nobody is there"),
        (EngineAnswer(Condition.ANSWERS, engine="3.3.9"), "the engine is DCGM 3.3.9"),
    ],
)
def test_without_an_engine_that_fits_nothing_is_recreated(
    docker: Machine, engine: EngineAnswer, word: str
) -> None:
    before = kept(docker)
    assert not apply(docker, engine=engine, recreate=True)
    assert before == kept(docker)
    assert word in told(docker)


def test_an_original_that_is_gone_leaves_the_copy(docker: Machine) -> None:
    apply(docker, recreate=True)
    subprocess.run(["docker", "rm", "gpu.before-do-dcgm-exporter"], check=True)
    assert undo(docker)
    assert {"gpu"} == set(containers(docker))
    assert "the old one is gone" in told(docker)


def test_a_name_that_is_somebody_elses_now_is_left(docker: Machine) -> None:
    apply(docker, recreate=True)
    subprocess.run(["docker", "rm", "gpu"], check=True)
    run(docker, "docker", "gpu", "--network", "host")
    before = kept(docker)
    assert undo(docker)
    assert before == kept(docker)
    assert "another one's now" in told(docker)


@pytest.mark.parametrize(
    ("label", "maker"),
    [
        ("com.docker.compose.project=lab", "Compose"),
        ("io.kubernetes.pod.name=x", "Kubernetes"),
        ("PODMAN_SYSTEMD_UNIT=x.service", "systemd"),
        ("com.docker.swarm.service.name=x", "Swarm"),
    ],
)
def test_what_others_make_is_only_reported(machine: Machine, label: str, maker: str) -> None:
    machine.stand_in("podman", "containers")
    run(machine, "podman", "theirs", "--label", label, "--network", "host")
    before = json.loads(machine.read("stand-in/podman.json"))
    assert not apply(machine, recreate=True)
    assert before == json.loads(machine.read("stand-in/podman.json"))
    assert f"{maker} makes it" in told(machine)


def test_a_container_of_a_unit_is_the_units(docker: Machine) -> None:
    docker.write(
        "usr/lib/systemd/system/gpu.service",
        f"[Service]\nExecStart=/usr/bin/docker run --name gpu -p 9400:9400 {IMAGE}\n",
    )
    units = find_unit_exporters(docker.host, Systemd(), scan(docker.host, 5555))
    (container,) = with_makers(found(docker).values(), units)
    assert "gpu.service" == container.maker
    assert not apply(docker, recreate=True)
    assert "container gpu" not in told(docker)
    assert "gpu.service keeps a DCGM of its own" in told(docker)


def test_clients_are_left_alone(machine: Machine) -> None:
    machine.stand_in("docker", "containers")
    run(machine, "docker", "client", "--network", "host",
        "--env", "DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555")  # fmt: skip
    assert apply(machine, recreate=True)
    assert [] == machine.said


def test_a_docker_that_is_not_running_is_not_started(docker: Machine) -> None:
    docker.write("usr/lib/systemd/system/docker.service", "[Service]\nExecStart=/usr/bin/dockerd\n")
    assert apply(docker)
    assert set() == verbs(docker)


# --- copies ------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], object]


def changed(docker: Machine, change: Change) -> Container:
    all_of_them = json.loads(docker.read("stand-in/docker.json"))
    change(all_of_them[0])
    docker.write("stand-in/docker.json", json.dumps(all_of_them))
    return found(docker)["gpu"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda c: c["HostConfig"].update(AutoRemove=True), "--rm"),
        (lambda c: c["HostConfig"].update(NetworkMode="lab"), "in the network lab"),
        (lambda c: c["HostConfig"].update(VolumesFrom=["x"]), "VolumesFrom would be lost"),
        (lambda c: c["NetworkSettings"].update(Ports={}) or c["HostConfig"].update(PortBindings={}),
         "its port 9400 is not published"),
    ],
)  # fmt: skip
def test_what_a_copy_would_lose_is_no_copy(docker: Machine, change: Change, word: str) -> None:
    container = changed(docker, change)
    with pytest.raises(CannotCopy, match=word):
        container_copy.commands(container, CLIENT)
    assert not apply(docker, recreate=True)
    assert word in told(docker)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["HostConfig"].update(DeviceRequests=[{"Count": -1}]), "--gpus all"),
        (lambda c: c["HostConfig"].update(DeviceRequests=[{"DeviceIDs": ["0", "1"]}]),
         """--gpus '"device=0,1"'"""),
        (lambda c: c["HostConfig"].update(Binds=["/a:/b:ro"]), "--volume /a:/b:ro"),
        (lambda c: c["HostConfig"].update(Runtime="nvidia"), "--runtime nvidia"),
        (lambda c: c["HostConfig"].update(Privileged=True), "--privileged"),
        (lambda c: c["HostConfig"].update(NanoCpus=500000000), "--cpus 0.5"),
        (lambda c: c["HostConfig"].update(Memory=1000), "--memory 1000"),
        (lambda c: c["HostConfig"].update(Tmpfs={"/x": "size=1m"}), "--tmpfs /x:size=1m"),
        (lambda c: c["HostConfig"].update(Devices=[{"PathOnHost": "/dev/x"}]),
         "--device /dev/x:/dev/x:rwm"),
        (lambda c: c["HostConfig"].update(Ulimits=[{"Name": "nofile", "Soft": 1, "Hard": 2}]),
         "--ulimit nofile=1:2"),
        (lambda c: c["HostConfig"].update(LogConfig={"Type": "json-file", "Config": {"a": "b"}}),
         "--log-driver json-file --log-opt a=b"),
        (lambda c: c["HostConfig"].update(Mounts=[{"Type": "bind", "Source": "/a", "Target": "/b",
                                                   "ReadOnly": True}]),
         "--mount type=bind,target=/b,source=/a,readonly"),
        (lambda c: c["HostConfig"].update(RestartPolicy={"Name": "on-failure",
                                                         "MaximumRetryCount": 3}),
         "--restart on-failure:3"),
        (lambda c: c["Config"].update(User="nobody"), "--user nobody"),
        (lambda c: c["Config"].update(Hostname="lab"), "--hostname lab"),
        (lambda c: c["Config"].update(Entrypoint=["/bin/x", "-y"]), "--entrypoint /bin/x"),
        (lambda c: c["Config"].update(Labels={"a": "b c"}), "--label 'a=b c'"),
    ],
)  # fmt: skip
def test_a_copy_has_what_the_original_has(docker: Machine, change: Change, words: str) -> None:
    command = container_copy.run_command(changed(docker, change), CLIENT)
    assert f" {words} " in f"{shlex.join(command)} "
    assert IMAGE in command


def test_a_copy_does_not_repeat_what_is_the_images(docker: Machine) -> None:
    command = container_copy.run_command(found(docker)["gpu"], CLIENT)
    assert IMAGE == command[-1]
    assert not any("NVIDIA_VISIBLE_DEVICES" in word or "PATH=" in word for word in command)
    assert not {"--entrypoint", "--workdir"} & set(command)


def test_a_flag_for_the_address_is_answered_by_a_flag(docker: Machine) -> None:
    container = changed(
        docker,
        lambda c: (c.update(Args=["-a", ":9400"]), c["Config"].update(Cmd=["-a", ":9400"])),
    )
    command = container_copy.run_command(container, CLIENT)
    assert [IMAGE, "-a", ":9400", "--address", f":{docker.ports[0]}"] == command[-5:]


def test_the_commands_by_hand_are_the_ones_that_are_run(docker: Machine) -> None:
    commands = container_copy.commands(found(docker)["gpu"], CLIENT)
    docker.forget_asked()
    apply(docker, recreate=True, engine=ENGINE)
    asked = [words for words in docker.asked() if words[0] == "docker"]
    changing = [words for words in asked if words[1] not in READING]
    assert commands == changing
