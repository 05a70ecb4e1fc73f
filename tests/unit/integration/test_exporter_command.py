"""What a unit's command does: whether an exporter runs, how, and told of which engine."""

from __future__ import annotations

import shlex

import pytest

from do_dcgm_exporter.integration.deciding.exporter_command import (
    ExporterCommand,
    Form,
    exporter_command,
    split_container_run,
)
from do_dcgm_exporter.integration.looking.systemd import ExecCommand

PROGRAM = "/usr/bin/dcgm-exporter"
IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
SCRIPTS = {
    "/opt/start": f'#!/bin/sh\n# with -r gpu9:1\nexec {PROGRAM} \\\n  -a ":$1"\n',
    "/opt/indirect": "#!/bin/bash\n. /etc/x\n/opt/start 9400\n",
    "/opt/remote": f"#!/bin/sh\nexec {PROGRAM} -r gpu7:5555 -a :9410\n",
    "/opt/remote-args": f'#!/bin/sh\nARGS="-f x -r gpu7:5555"\nexec {PROGRAM} $ARGS\n',
    "/opt/remote-variable": f"#!/bin/sh\nexport DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n{PROGRAM}\n",
    "/opt/cleaner": f"#!/bin/sh\nrm -r /tmp/x\nsort -r y\nexec {PROGRAM}\n",
    "/opt/start-docker": f"#!/bin/sh\nexec docker run --net host {IMAGE}\n",
    "/opt/python": f'#!/usr/bin/env python3\nimport os\nos.execv("{PROGRAM}", ["x"])\n',
    "/opt/loop": "#!/bin/sh\n/opt/loop\n",
    "/opt/other": "#!/bin/sh\nexec do-dcgm-exporter --once\n",
    "/opt/wrapper/dcgm-exporter": f"#!/bin/sh\nexec {PROGRAM} -r gpu7:5555\n",
    "/opt/written-in-python/dcgm-exporter": '#!/usr/bin/python3\nflags.add("-r gpu7:5555")\n',
}


def found_in(line: str, **environment: str) -> ExporterCommand | None:
    words = shlex.split(line)
    command = ExecCommand(words[0], tuple(words))
    return exporter_command([command], environment, lambda path: SCRIPTS.get(path, ""))


def exporter_in(line: str, **environment: str) -> ExporterCommand:
    found = found_in(line, **environment)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("line", "form"),
    [
        (f"{PROGRAM} -f x", Form.DIRECT),
        ("/opt/written-in-python/dcgm-exporter", Form.DIRECT),
        (f"/usr/bin/nice -n 5 {PROGRAM}", Form.DIRECT),
        (f"/usr/bin/env A=1 {PROGRAM}", Form.DIRECT),
        (f"/bin/sh -c 'exec {PROGRAM}'", Form.SCRIPT),
        (f"/bin/bash -euc 'exec {PROGRAM}'", Form.SCRIPT),
        ("/opt/start 9400", Form.SCRIPT),
        ("/bin/sh /opt/start", Form.SCRIPT),
        ("/opt/indirect", Form.SCRIPT),
        ("/opt/python", Form.SCRIPT),
        ("/opt/wrapper/dcgm-exporter", Form.SCRIPT),
        ("/opt/start-docker", Form.CONTAINER_SCRIPT),
        (f"/usr/bin/docker run --rm {IMAGE}", Form.CONTAINER),
        (f"/usr/bin/podman --log-level=info run --rm {IMAGE}", Form.CONTAINER),
        ("/usr/bin/docker start --attach dcgm-exporter", Form.CONTAINER_START),
    ],
)
def test_exporters_are_recognised(line: str, form: Form) -> None:
    found = exporter_in(line)
    assert form is found.form


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/do-dcgm-exporter",
        "/usr/bin/dcgm-exporter-tool",
        "/bin/cat /opt/dcgm-exporter/notes",
        "/opt/other",
        "/opt/loop",
        "/usr/bin/docker run --name dcgm-exporter busybox",
        "/usr/bin/docker stop dcgm-exporter",
        "/usr/sbin/nginx",
    ],
)
def test_others_are_not(line: str) -> None:
    assert found_in(line) is None


@pytest.mark.parametrize(
    ("line", "remote"),
    [
        (PROGRAM, None),
        (f"{PROGRAM} -r gpu7:5555", "gpu7:5555"),
        (f"{PROGRAM} -r=gpu7:5555", "gpu7:5555"),
        (f"{PROGRAM} --r gpu7:5555", "gpu7:5555"),
        (f"{PROGRAM} -remote-hostengine-info gpu7:5555", "gpu7:5555"),
        (f"{PROGRAM} --remote-hostengine-info=gpu7:5555", "gpu7:5555"),
        (f"{PROGRAM} -r a:1 -r b:2", "b:2"),
        (f"{PROGRAM} -r", ""),
        (f"/usr/bin/env DCGM_REMOTE_HOSTENGINE_INFO=gpu7:1 {PROGRAM}", "gpu7:1"),
        ("/opt/start 9400", None),
        ("/opt/cleaner", None),
        ("/opt/remote", "gpu7:5555"),
        ("/opt/remote-args", "gpu7:5555"),
        ("/opt/remote-variable", "gpu7:5555"),
        ("/opt/wrapper/dcgm-exporter", "gpu7:5555"),
        ("/opt/written-in-python/dcgm-exporter", None),
        (f"docker run {IMAGE} -r gpu7:5555", "gpu7:5555"),
        (f"docker run -e DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555 {IMAGE}", "gpu7:5555"),
        (f"docker run --env=DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555 {IMAGE}", "gpu7:5555"),
        (f"docker run {IMAGE}", None),
    ],
)
def test_the_engine_that_it_is_told_of(line: str, remote: str | None) -> None:
    found = exporter_in(line)
    assert remote == found.remote


def test_variables_count_and_a_flag_beats_them() -> None:
    told = {"DCGM_REMOTE_HOSTENGINE_INFO": "gpu7:5555"}
    assert "gpu7:5555" == exporter_in(PROGRAM, **told).remote
    assert "a:1" == exporter_in(f"{PROGRAM} -r a:1", **told).remote
    assert "gpu7:5555" == exporter_in("/opt/start", **told).remote
    # A container has an environment of its own.
    assert exporter_in(f"docker run {IMAGE}", **told).remote is None
    inherits = f"docker run -e DCGM_REMOTE_HOSTENGINE_INFO {IMAGE}"
    assert "gpu7:5555" == exporter_in(inherits, **told).remote


def test_flags_and_programs_may_be_in_variables() -> None:
    options = {"OPTIONS": "-c 5000 -r gpu7:5555", "EXPORTER": PROGRAM}
    assert "gpu7:5555" == exporter_in(f"{PROGRAM} $OPTIONS", **options).remote
    found = exporter_in("/bin/sh -c 'exec $EXPORTER $OPTIONS'", **options)
    assert ("gpu7:5555", PROGRAM) == (found.remote, found.program)


def test_what_an_exporter_was_started_with_is_known() -> None:
    found = exporter_in(f"{PROGRAM} -f x.csv -c 5000 -a :9410")
    assert ("-f", "x.csv", "-c", "5000", "-a", ":9410") == found.arguments
    assert PROGRAM == found.program
    assert PROGRAM == exporter_in("/opt/start 9400").program


def test_the_exporter_among_several_commands_is_known_by_its_place() -> None:
    commands = [ExecCommand("/bin/true", ("/bin/true",)), ExecCommand(PROGRAM, (PROGRAM,))]
    found = exporter_command(commands, {}, lambda _: "")
    assert found is not None
    assert 1 == found.position


def test_what_argv0_says_does_not_count() -> None:
    found = exporter_command([ExecCommand(PROGRAM, ("metrics", "-c", "5"))], {}, lambda _: "")
    assert found is not None
    assert ("-c", "5") == found.arguments


@pytest.mark.parametrize(
    ("options", "network"),
    [
        ("--net host", True),
        ("--network=host", True),
        ("--net=lab", False),
        ("-p 9400:9400", False),
        ("-d --rm --gpus all -p9400:9400 --name dcgm-exporter --net host", True),
        ("-itd --cap-add SYS_ADMIN -v /a:/b -e A=1 --network host", True),
    ],
)
def test_a_containers_network_is_known(options: str, network: bool) -> None:
    found = exporter_in(f"/usr/bin/docker run {options} {IMAGE} -f x")
    assert (network, IMAGE) == (found.host_network, found.image)
    assert ("-f", "x") == found.arguments


def test_the_words_of_container_run_are_split() -> None:
    words = shlex.split(f"-d --rm --name x -e A=1 -p9400:9400 --gpus=all {IMAGE} -f y")
    options, image, arguments = split_container_run(words)
    assert [
        ("-d", "true"), ("--rm", "true"), ("--name", "x"), ("-e", "A=1"), ("-p", "9400:9400"),
        ("--gpus", "all"),
    ] == options  # fmt: skip
    assert (IMAGE, ["-f", "y"]) == (image, list(arguments))
    assert ([], "", []) == split_container_run([])
