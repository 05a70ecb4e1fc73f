"""What a unit's command becomes: an exporter, something that starts one, or neither."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form, Role
from do_dcgm_exporter.integration.deciding.exporter_command import Judged, judge
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.systemd import ExecCommand, UnitView

PROGRAM = "/usr/bin/dcgm-exporter"
VARIABLE = "DCGM_REMOTE_HOSTENGINE_INFO"
IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
VIEW = UnitView(
    name="x.service", load_state="loaded", active_state="inactive",
    sub_state="dead", file_state="enabled", fragment="/etc/systemd/system/x.service",
    drop_ins=(), type="simple", commands=(), environment={}, environment_files=(),
    restarts=0,
)  # fmt: skip
BINARY = f"\x7fELF\0libdcgm.so.4\0{VARIABLE}\0"
PROGRAMS = {
    PROGRAM: BINARY,
    "/opt/x/dcgm-exporter": BINARY,
    "/usr/local/bin/nvidia_dcgm_exporter": BINARY,
    "/opt/dcgm-exporter-4.5.3": BINARY,
    "/usr/bin/true": "\x7fELF\0",
    "/usr/bin/journalctl": "\x7fELF\0",
    "/usr/bin/dcgm-exporter-tool": f"\x7fELF\0{VARIABLE}\0",
    "/opt/py/dcgm-exporter": f'#!/usr/bin/python3\nos.environ["{VARIABLE}"]\n',
    "/opt/monitor/dcgm-exporter-monitor": f'#!/usr/bin/python3\nos.environ["{VARIABLE}"]\n',
    "/opt/reset/dcgm-exporter": "#!/bin/sh\nnvidia-smi --gpu-reset\n",
    "/opt/sleep/dcgm-exporter": "\x7fELF\0sleep\0",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in PROGRAMS.items():
        put(tmp_path, path, text)
    return tmp_path


def put(root: Path, path: str, text: str) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def judged(root: Path, line: str, **environment: str) -> Judged:
    words = shlex.split(line)
    view = replace(VIEW, commands=(ExecCommand(words[0], tuple(words)),))
    return judge(view, environment, Programs(Host(root)))


def exporter_in(root: Path, line: str, **environment: str) -> ExporterCommand:
    found = judged(root, line, **environment)
    assert found.exporter is not None
    return found.exporter


def run_script(root: Path, text: str, **environment: str) -> Judged:
    put(root, "/opt/start", text)
    return judged(root, "/opt/start 9414", **environment)


# --- programs and launchers --------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        f"{PROGRAM} -f x -a :9400",
        "dcgm-exporter -a :9400",
        "/usr/local/bin/nvidia_dcgm_exporter",
        "/opt/dcgm-exporter-4.5.3",
        "/opt/py/dcgm-exporter",
        "/not/readable/here/dcgm-exporter",
        f"/usr/bin/env A=1 B=2 {PROGRAM}",
        f"/usr/bin/env -u LANG {PROGRAM}",
        f"/usr/bin/nice {PROGRAM}",
        f"/usr/bin/nice -n 5 {PROGRAM}",
        f"/usr/bin/nice -n5 {PROGRAM}",
        f"/usr/bin/nice -5 {PROGRAM}",
        f"/usr/bin/nice --adjustment=5 {PROGRAM}",
        f"/usr/bin/ionice -c2 -n 7 {PROGRAM}",
        f"/usr/bin/chrt -f 50 {PROGRAM}",
        f"/usr/bin/chrt --idle 0 {PROGRAM}",
        f"/usr/bin/taskset -c 0-3 {PROGRAM}",
        f"/usr/bin/taskset 0xf {PROGRAM}",
        f"/usr/bin/numactl --cpunodebind=0 -m 0 --localalloc -- {PROGRAM}",
        f"/usr/bin/nohup {PROGRAM}",
        f"/usr/bin/setsid --wait {PROGRAM}",
        f"/usr/bin/stdbuf -oL -e 0 {PROGRAM}",
        "/usr/bin/env nice -n 5 taskset -c 0 dcgm-exporter",
        f"/bin/sh -c '{PROGRAM} -a :9400'",
        f"/bin/sh -c 'exec {PROGRAM}'",
        f"/bin/bash -euc 'exec {PROGRAM}'",
        f"/bin/bash -e -o pipefail -c 'exec nice {PROGRAM}'",
        "/bin/sh -c 'cd /opt/x && exec ./dcgm-exporter'",
        '/bin/sh -c \'exec "$0" "$@"\' /usr/bin/dcgm-exporter -a :9400',
        f"/bin/sh -c '{PROGRAM} -a :9400 >>/var/log/dcgm-exporter.log 2>&1'",
    ],
)
def test_a_command_that_becomes_an_exporter_is_one(root: Path, line: str) -> None:
    assert exporter_in(root, line).form in (Form.PROGRAM, Form.SCRIPT)


@pytest.mark.parametrize(
    "line",
    [
        # The word among the arguments of something else.
        "/usr/bin/journalctl -f -u dcgm-exporter",
        "/usr/bin/systemctl restart dcgm-exporter",
        "/usr/bin/tail -F /var/log/dcgm-exporter",
        "/bin/false /etc/dcgm-exporter",
        f"/usr/bin/socat TCP-LISTEN:9540,fork EXEC:{PROGRAM}",
        f"/usr/local/bin/consul watch -service=dcgm-exporter {PROGRAM}",
        f"/usr/bin/rsync {PROGRAM} gpu7:",
        "/usr/bin/dpkg -s dcgm-exporter",
        "/usr/bin/kubectl logs -f daemonset/dcgm-exporter",
        "/usr/bin/curl http://localhost:9400/dcgm-exporter",
        "/usr/bin/python3 /opt/dcgm-exporter/monitor.py",
        f"/usr/bin/logrotate /etc/logrotate.d/dcgm-exporter {PROGRAM}",
        "/usr/bin/logger -t dcgm-exporter dcgm-exporter",
        # Not launchers by our rule: what they start is not the unit's main process.
        f"/usr/bin/timeout 60 {PROGRAM}",
        f"/usr/bin/flock /run/lock/x {PROGRAM}",
        f"/usr/bin/sudo {PROGRAM}",
        f"/bin/su - gpu -c {PROGRAM}",
        f"/sbin/runuser -u gpu -- {PROGRAM}",
        f"/usr/sbin/chroot /srv {PROGRAM}",
        f"/usr/bin/unshare -n {PROGRAM}",
        f"/usr/bin/strace -f {PROGRAM}",
        f"/usr/bin/systemd-cat {PROGRAM}",
        f"/usr/bin/systemd-run --wait {PROGRAM}",
        # Launchers that do something else.
        f"/usr/bin/env -i {PROGRAM}",
        f"/usr/bin/env -u {VARIABLE} {PROGRAM}",
        f"/usr/bin/env -S {PROGRAM}",
        f"/usr/bin/setsid --fork {PROGRAM}",
        "/usr/bin/taskset -p 0xf 1",
        "/usr/bin/nice",
        # Programs whose names have the word.
        "/usr/bin/do-dcgm-exporter",
        "/usr/bin/dcgm-exporter-tool",
        "/opt/monitor/dcgm-exporter-monitor",
        "/opt/reset/dcgm-exporter",
        "/opt/sleep/dcgm-exporter",
        # It says its version, and ends.
        f"{PROGRAM} --version",
        f"/bin/sh -c '{PROGRAM} -v'",
        "/bin/sh",
        "/bin/sh /nothing/here",
    ],
)
def test_other_commands_are_none(root: Path, line: str) -> None:
    assert judged(root, line).exporter is None


def test_what_argv0_says_does_not_count(root: Path) -> None:
    view = replace(VIEW, commands=(ExecCommand(PROGRAM, ("metrics", "-c", "5")),))
    found = judge(view, {}, Programs(Host(root))).exporter
    assert found
    assert ("-c", "5") == found.arguments


def test_an_exporter_is_found_among_several_commands(root: Path) -> None:
    commands = (ExecCommand("/bin/true", ("/bin/true",)), ExecCommand(PROGRAM, (PROGRAM,)))
    found = judge(replace(VIEW, commands=commands), {}, Programs(Host(root))).exporter
    assert found
    assert PROGRAM == found.program


# --- what it is told ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "remote"),
    [
        (PROGRAM, None),
        (f"{PROGRAM} -r gpu7:5555", "gpu7:5555"),
        (f"{PROGRAM} --remote-hostengine-info=gpu7:5555", "gpu7:5555"),
        (f"{PROGRAM} -r a:1 -r b:2", "b:2"),
        (f"{PROGRAM} --kubernetes false -r localhost:5555", None),
        (f"{PROGRAM} --kubernetes=false -r localhost:5555", "localhost:5555"),
        (f"{PROGRAM} -k -r localhost:5555", "localhost:5555"),
        (f"{PROGRAM} -- -r localhost:5555", None),
        (f"/usr/bin/env {VARIABLE}=gpu7:1 {PROGRAM}", "gpu7:1"),
        (f"/bin/sh -c '{VARIABLE}=gpu7:1 exec {PROGRAM}'", "gpu7:1"),
        (f"{PROGRAM} $OPTIONS", "b:1"),
        ("/bin/sh -c 'exec $EXPORTER $OPTIONS'", "b:1"),
    ],
)
def test_the_engine_that_it_is_told_of(root: Path, line: str, remote: str | None) -> None:
    options = {"OPTIONS": "-c 5000 -r b:1", "EXPORTER": PROGRAM}
    assert remote == exporter_in(root, line, **options).remote


def test_a_flag_beats_the_variable(root: Path) -> None:
    assert "gpu7:5555" == exporter_in(root, PROGRAM, **{VARIABLE: "gpu7:5555"}).remote
    assert "a:1" == exporter_in(root, f"{PROGRAM} -r a:1", **{VARIABLE: "gpu7:5555"}).remote


# --- wrapper scripts ---------------------------------------------------------------------

WRAPPERS = {
    "plain": f'#!/bin/sh\nset -eu\nexec {PROGRAM} -a ":$1"\n',
    "without exec": f"#!/bin/bash -e\n{PROGRAM}\nexit $?\n",
    "comments": f"#!/bin/sh\n# starts dcgm-exporter & more\nexec {PROGRAM} -a a#b # {PROGRAM} &\n",
    "continued": f"#!/bin/sh\nexec {PROGRAM} \\\n  -c 5000 \\\n  -a :1\n",
    "settings": '#!/bin/sh\n. /etc/default/x\nexec "$EXPORTER" $OPTIONS\n',
    "settings if there are": f"#!/bin/sh\n[ -r /etc/x/y ] && . /etc/x/y\nexec {PROGRAM}\n",
    "all exported": '#!/bin/sh\nset -a; . /etc/default/x; set +a\nexec "$EXPORTER"\n',
    "default values": "#!/bin/sh\nexec ${BINARY:-/usr/bin/dcgm-exporter} ${OPTIONS-} -c 5\n",
    "its directory": '#!/bin/sh\ncd "$(dirname "$0")/x"\nexec ./dcgm-exporter "$@"\n',
    "limits": f"#!/bin/sh\nulimit -n 4096\numask 022\nexport LANG=C\nexec nice {PROGRAM}\n",
    "output": f"#!/bin/sh\nexec >>/var/log/x 2>&1\necho starting\nexec {PROGRAM}\n",
    "if": (
        '#!/bin/sh\nif [ -n "$PORT" ]; then\n  A=":$PORT"\n'
        f'else A=:9400; fi\nexec {PROGRAM} -a "$A"\n'
    ),
    "nothing without it": f"#!/bin/sh\n[ -x {PROGRAM} ] || exit 0\nexec {PROGRAM}\n",
    "test": f'#!/bin/sh\ntest -z "$HOME" && HOME=/root\nexec {PROGRAM}\n',
    "a value from a file": f'#!/bin/sh\nPORT=$(cat /etc/port)\nexec {PROGRAM} -a ":$PORT"\n',
    "another script": '#!/bin/sh\nexec /opt/inner "$@"\n',
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_script_that_starts_nothing_else_is_an_exporter(root: Path, name: str) -> None:
    put(root, "/etc/default/x", f"EXPORTER={PROGRAM}\nOPTIONS='-c 5000'\n")
    put(root, "/opt/inner", f'#!/bin/sh\nexec {PROGRAM} "$@"\n')
    found = run_script(root, WRAPPERS[name])
    assert found.exporter
    assert found.exporter.program.endswith("/dcgm-exporter")
    assert Form.SCRIPT is found.exporter.form


SCRIPTS_THAT_DO_MORE = {
    "before it": f"nvidia-smi -r\nexec {PROGRAM}",
    "after it": f"{PROGRAM}\nsystemctl restart x",
    "sleep": f"sleep 5\nexec {PROGRAM}",
    "configuration": f"envsubst </etc/x.in >/etc/x\nexec {PROGRAM}",
    "beside it": f"{PROGRAM} &\nexec /usr/sbin/other",
    "in the background": f"{PROGRAM} & wait",
    "two": f"{PROGRAM} -a :1 & {PROGRAM} -a :2",
    "loop": f"while true; do {PROGRAM}; sleep 1; done",
    "for": f"for port in 1 2; do {PROGRAM} -a :$port; done",
    "trap": f"trap 'nvidia-smi -r' EXIT\n{PROGRAM}",
    "pipe": f"{PROGRAM} | logger",
    "function": f"run() {{ {PROGRAM}; }}\nrun",
    "only in some cases": f'if [ "$MODE" = x ]; then {PROGRAM}; fi',
    "after a test": f"[ -e /dev/nvidia0 ] && exec {PROGRAM}",
    "reset in some cases": f'if [ "$1" = reset ]; then nvidia-smi -r; fi\nexec {PROGRAM}',
    "reset in a word": f"GPUS=$(nvidia-smi -r)\nexec {PROGRAM}",
    "reset in an echo": f"echo $(nvidia-smi -r)\nexec {PROGRAM}",
    "reset in quotes": f'X="$(nvidia-smi -r)"\nexec {PROGRAM}',
    "backquotes": f"X=`nvidia-smi -r`\nexec {PROGRAM}",
    "writes": f"echo 1 >/sys/class/x\nexec {PROGRAM}",
    "here document": f"cat <<E >/etc/x\nE\nexec {PROGRAM}",
    "subshell": f"({PROGRAM})",
    "process substitution": f"exec {PROGRAM} > >(logger)",
    "another way out": f"{PROGRAM} || nvidia-smi -r",
    "unset": f"unset {VARIABLE}\nexec {PROGRAM}",
    "eval": f"eval exec {PROGRAM}",
    "case": f"case $1 in start) exec {PROGRAM};; esac",
    "sourced program": f". /opt/sourced\nexec {PROGRAM}",
    "unknown arguments": f'exec {PROGRAM} "$(cat /etc/arguments)"',
    "told in some cases": f'if [ "$HOME" ]; then A="-r x:1"; fi\nexec {PROGRAM} $A',
}


@pytest.mark.parametrize("name", SCRIPTS_THAT_DO_MORE)
def test_a_script_that_does_more_is_none(root: Path, name: str) -> None:
    put(root, "/opt/sourced", "nvidia-smi -r\n")
    found = run_script(root, f"#!/bin/bash\n{SCRIPTS_THAT_DO_MORE[name]}\n")
    assert found.exporter is None
    assert found.role in (Role.SCRIPT, None)
    assert found.role is None or found.script == "/opt/start"


@pytest.mark.parametrize(
    "text",
    [
        f"exec /opt/$(uname -m)/{PROGRAM}",
        "exec sh $HOME/start",
        ". $HOME/settings",
        "[ -r $HOME/settings ] && . $HOME/settings",
        "docker compose -f /srv/$HOME/compose.yaml up",
        "exec $NOTHING",
        "&& exec dcgm-exporter",
    ],
)
def test_what_only_shows_when_it_runs_is_no_exporter(root: Path, text: str) -> None:
    assert run_script(root, f"#!/bin/sh\n{text}\n").exporter is None


@pytest.mark.parametrize("name", ["before it", "beside it", "loop", "trap", "after a test"])
def test_a_script_that_starts_one_among_other_things_is_named(root: Path, name: str) -> None:
    assert Role.SCRIPT is run_script(root, f"#!/bin/bash\n{SCRIPTS_THAT_DO_MORE[name]}\n").role


@pytest.mark.parametrize(
    "text",
    [
        "systemctl stop dcgm-exporter\nnvidia-smi mig -cgi 19\nsystemctl start dcgm-exporter",
        "systemctl is-active -q dcgm-exporter || exit 1",
        "while sleep 60; do pgrep dcgm-exporter || systemctl restart dcgm-exporter; done",
        f"cp {PROGRAM} /srv\nchmod +x {PROGRAM}",
        f"echo {PROGRAM}",
        "exec do-dcgm-exporter --once",
        "exec /opt/start",  # itself, for ever
        "",
    ],
)
def test_a_script_that_only_speaks_of_one_is_nothing(root: Path, text: str) -> None:
    assert Judged() == run_script(root, f"#!/bin/sh\n{text}\n")


def test_a_monitor_in_another_language_is_nothing(root: Path) -> None:
    text = f'#!/usr/bin/env python3\nimport subprocess\nsubprocess.run(["{PROGRAM}"])\n'
    assert Judged() == run_script(root, text)


def test_a_script_tells_what_it_starts(root: Path) -> None:
    put(root, "/etc/default/x", "ARGS='-c 5000 -r gpu7:5555'\n")
    found = run_script(root, f'#!/bin/sh\n. /etc/default/x\nexec {PROGRAM} -a ":$1" $ARGS\n')
    assert found.exporter
    assert ("-a", ":9414", "-c", "5000", "-r", "gpu7:5555") == found.exporter.arguments
    assert "gpu7:5555" == found.exporter.remote


# --- containers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        "--net host",
        "--network=host",
        "-it --rm --gpus all -p9400:9400 --name dcgm-exporter --net host",
        "--net host --cap-add SYS_ADMIN -v /a:/b -e A=1 -eB=2",
    ],
)
def test_docker_run_with_the_hosts_network_is_an_exporter(root: Path, options: str) -> None:
    found = exporter_in(root, f"/usr/bin/docker run {options} {IMAGE} -f x")
    assert (Form.CONTAINER, IMAGE, ("-f", "x")) == (found.form, found.image, found.arguments)


@pytest.mark.parametrize(
    "line",
    [
        f"/usr/bin/docker run --rm {IMAGE}",
        f"/usr/bin/docker run -d --net host {IMAGE}",
        f"/usr/bin/docker run -itd --net host {IMAGE}",
        f"/usr/bin/docker run -dp 9400:9400 --net host {IMAGE}",
        f"/usr/bin/docker run --detach --net host {IMAGE}",
        f"/usr/bin/docker -H tcp://gpu7:2375 run --net host {IMAGE}",
        f"/usr/bin/sudo /usr/bin/docker run --net host {IMAGE}",
        f"/usr/bin/sudo -n docker run --net host {IMAGE}",
        f"/usr/bin/timeout 60 docker run --net host {IMAGE}",
        f"/usr/bin/env LANG=C docker run {IMAGE}",
        f"/usr/bin/nvidia-docker run {IMAGE}",
        f"/usr/bin/nerdctl run {IMAGE}",
        f"/usr/bin/podman run -d --net host {IMAGE}",
        f"/usr/bin/ctr run --rm --net-host {IMAGE} gpu",
        f"/usr/bin/ctr -n k8s.io run {IMAGE} gpu",
        "/usr/bin/docker run mirror:5000/dcgm_exporter",
        "/usr/bin/docker start --attach dcgm-exporter",
        "/usr/bin/docker-compose -f /srv/x.yaml up dcgm-exporter",
        "/usr/bin/docker compose -f /srv/gpu.yaml up -d",
        "/usr/bin/docker compose --file=/srv/gpu.yaml up",
        "/bin/sh -c 'cd /srv && docker compose up'",
        f"/bin/sh -c 'exec docker run --net host {IMAGE}'",
        f"/bin/sh -c 'docker rm -f x; docker run --net host {IMAGE}'",
        f"/bin/sh -c 'sleep 5; sudo docker run {IMAGE}'",
    ],
)
def test_other_containers_of_exporters_are_named(root: Path, line: str) -> None:
    put(root, "/srv/gpu.yaml", f"services:\n  gpu:\n    image: {IMAGE}\n")
    put(root, "/srv/compose.yaml", f"services:\n  gpu:\n    image: {IMAGE}\n")
    found = judged(root, line)
    assert (None, Role.CONTAINER) == (found.exporter, found.role)
    assert found.run


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/docker run --name dcgm-exporter busybox",
        "/usr/bin/docker run prom/blackbox --target=dcgm-exporter",
        "/usr/bin/docker stop dcgm-exporter",
        "/usr/bin/docker logs -f dcgm-exporter",
        "/usr/bin/docker compose -f /srv/other.yaml up",
        "/usr/bin/kubectl run dcgm-exporter",
    ],
)
def test_containers_of_others_are_nothing(root: Path, line: str) -> None:
    put(root, "/srv/other.yaml", "services: {}\n")
    assert Judged() == judged(root, line)


def test_a_container_whose_run_stands_in_a_variable_cannot_be_rewritten(root: Path) -> None:
    found = judged(root, "/usr/bin/docker $RUN", RUN=f"run --net host {IMAGE}")
    assert (None, Role.CONTAINER) == (found.exporter, found.role)


def test_a_file_of_compose_is_told(root: Path) -> None:
    put(root, "/srv/gpu.yaml", f"image: {IMAGE}")
    found = judged(root, "/usr/bin/docker compose -f /srv/gpu.yaml up")
    assert found.run
    assert "/srv/gpu.yaml" == found.run.compose_file


@pytest.mark.parametrize(
    ("options", "arguments", "remote"),
    [
        ("", "-r gpu7:5555", "gpu7:5555"),
        (f"-e {VARIABLE}=gpu7:5555", "", "gpu7:5555"),
        (f"-e{VARIABLE}=gpu7:5555", "", "gpu7:5555"),
        (f"--env={VARIABLE}=gpu7:5555", "", "gpu7:5555"),
        (f"-e {VARIABLE}", "", "b:1"),
        ("", "", None),  # a container has an environment of its own
        ("", "dcgm-exporter -r gpu7:5555", "gpu7:5555"),
    ],
)
def test_the_engine_that_a_container_is_told_of(
    root: Path, options: str, arguments: str, remote: str | None
) -> None:
    line = f"docker run --net host {options} {IMAGE} {arguments}"
    assert remote == exporter_in(root, line, **{VARIABLE: "b:1"}).remote
