"""Which units are exporters, and how everything else that has to do with one is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from tests.unit.integration.conftest import ETC, LIB, UNIT, Machine

from do_dcgm_exporter.integration.deciding.exporter import Exporters, Form, Mention, Role
from do_dcgm_exporter.integration.deciding.identity import exporters_in
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.units import look_at_units

PROGRAM = "/usr/bin/dcgm-exporter"
VARIABLE = "DCGM_REMOTE_HOSTENGINE_INFO"
SETTING = f"{VARIABLE}=localhost:5555"
MAPPED = "7f00 r-xp 0 0 0 /usr/lib/x86_64-linux-gnu/libdcgm.so.4.5.3\n"
IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
CONTAINER = "a1" * 32


def found_on(machine: Machine, *containers: Container) -> Exporters:
    programs = Programs(machine.host)
    processes = scan(machine.host, 5555)
    units, unseen = look_at_units(machine.host, programs, processes)
    assert () == unseen
    return exporters_in(units, processes.dcgm, containers, programs, "localhost:5555")


def names(found: Exporters) -> list[str]:
    return [unit.name for unit in found.units]


def only_mention(found: Exporters) -> Mention:
    (mention,) = found.mentions
    return mention


def write_unit(machine: Machine, name: str, *lines: str) -> None:
    machine.write(f"{ETC}/{name}", "\n".join(["[Service]", *lines, ""]))


def put_exporter(machine: Machine, pid: int, cgroup: str, program: str = PROGRAM) -> None:
    """Put a process with a DCGM of its own into a control group."""
    machine.put_process(
        pid, comm="dcgm-exporter\n", cmdline=f"{program}\0", environ="",
        cgroup=f"0::{cgroup}\n", maps=MAPPED, status=f"NSpid:\t{pid}\n",
    )  # fmt: skip
    machine.link(f"proc/{pid}/exe", program)


def put_other(machine: Machine, pid: int, cgroup: str, program: str, *children: int) -> None:
    machine.put_process(pid, comm="x\n", cmdline=f"{program}\0", cgroup=f"0::{cgroup}\n")
    machine.link(f"proc/{pid}/exe", program)
    machine.write(f"proc/{pid}/task/{pid}/children", "".join(f"{child} " for child in children))


def run_unit(machine: Machine, name: str, main_pid: int, active: str = "active") -> None:
    """Say that a unit runs, by the main process that was put there."""
    machine.set_running(name, main_pid, active)


# --- units that are exporters ------------------------------------------------------------


def test_a_running_exporter_is_one_by_its_main_process(exporter: Machine) -> None:
    found = found_on(exporter)
    assert ([UNIT], ()) == (names(found), found.mentions)
    assert (4, Form.PROGRAM) == (found.units[0].library_major, found.units[0].command.form)
    assert found.units[0].processes


def test_one_that_does_not_run_is_one_by_its_command(machine: Machine) -> None:
    machine.put_unit(UNIT, 9400)
    assert [UNIT] == names(found_on(machine))


def test_a_shell_whose_only_child_is_the_exporter_is_its_main_process(machine: Machine) -> None:
    write_unit(machine, "a.service", f"ExecStart=/bin/sh -c '{PROGRAM} -a :1'")
    put_other(machine, 30, "/system.slice/a.service", "/bin/dash", 31)
    put_exporter(machine, 31, "/system.slice/a.service")
    run_unit(machine, "a.service", 30)
    assert ["a.service"] == names(found_on(machine))


def test_a_shell_with_another_child_is_not(machine: Machine) -> None:
    write_unit(machine, "a.service", f"ExecStart=/bin/sh -c '{PROGRAM} -a :1'")
    put_other(machine, 30, "/system.slice/a.service", "/bin/dash", 31, 32)
    put_exporter(machine, 31, "/system.slice/a.service")
    put_other(machine, 32, "/system.slice/a.service", "/usr/bin/sleep")
    run_unit(machine, "a.service", 30)
    found = found_on(machine)
    assert ([], Role.PARENT, (31,)) == (
        names(found), only_mention(found).role, only_mention(found).pids
    )  # fmt: skip


def test_a_unit_whose_main_process_is_another_program_is_not(machine: Machine) -> None:
    write_unit(machine, "a.service", f"ExecStart={PROGRAM}")
    put_other(machine, 30, "/system.slice/a.service", "/usr/sbin/other", 31)
    put_exporter(machine, 31, "/system.slice/a.service")
    run_unit(machine, "a.service", 30)
    assert [] == names(found_on(machine))


def test_an_active_unit_without_a_main_process_is_not(machine: Machine) -> None:
    write_unit(machine, "a.service", f"ExecStart={PROGRAM}", "RemainAfterExit=yes")
    run_unit(machine, "a.service", 0)
    assert [] == names(found_on(machine))


def test_what_systemd_is_just_starting_counts_by_its_command(machine: Machine) -> None:
    write_unit(machine, "a.service", f"ExecStart={PROGRAM}")
    put_other(machine, 30, "/system.slice/a.service", "/usr/lib/systemd/systemd-executor")
    run_unit(machine, "a.service", 30)
    assert ["a.service"] == names(found_on(machine))


def test_a_container_in_a_unit_with_the_hosts_network_is_one(machine: Machine) -> None:
    write_unit(machine, "a.service", f"ExecStart=/usr/bin/docker run --net host {IMAGE}")
    put_other(machine, 30, "/system.slice/a.service", "/usr/bin/docker")
    put_exporter(machine, 31, f"/system.slice/docker-{CONTAINER}.scope")
    run_unit(machine, "a.service", 30)
    process = scan(machine.host, 5555).dcgm[0]
    inside = Container("docker", "odd_name", IMAGE, processes=(process,))
    found = found_on(machine, inside)
    assert (["a.service"], ()) == (names(found), found.mentions)
    assert (process,) == found.units[0].processes


@pytest.mark.parametrize(
    ("options", "inside"),
    [
        ("docker run", [Container("docker", "x", IMAGE), Container("docker", "y", IMAGE)]),
        ("docker run", [Container("docker", "x", IMAGE, labels={"com.amazonaws.ecs.cluster": ""})]),
        ("docker run --name a", [Container("docker", "x", IMAGE)]),
        ("docker run", [Container("docker", "named-by-b", IMAGE)]),
        ("ctr run", [Container("docker", "x", IMAGE)]),
    ],
    ids=["two alike", "a scheduler's", "another name", "another unit's", "another runtime"],
)
def test_a_container_that_may_be_somebody_elses_is_not_a_units(
    machine: Machine, options: str, inside: Sequence[Container]
) -> None:
    run = f"/usr/bin/docker run --name named-by-b {IMAGE}"
    write_unit(machine, "a.service", f"ExecStart=/usr/bin/{options} {IMAGE}")
    write_unit(machine, "b.service", f"ExecStart={run}")
    mentioned = {mention.name for mention in found_on(machine, *inside).mentions}
    others = {f"container {one.name} (docker)" for one in inside if one.name != "named-by-b"}
    assert {"a.service", "b.service", *others} == mentioned


# --- units that are none -----------------------------------------------------------------

STRANGERS: Mapping[str, Sequence[str]] = {
    "journal": ["ExecStart=/usr/bin/journalctl -f -u dcgm-exporter"],
    "log": ["ExecStart=/usr/bin/tail -F /var/log/dcgm-exporter"],
    "false": ["ExecStart=/bin/false /etc/dcgm-exporter"],
    "socat": [f"ExecStart=/usr/bin/socat TCP-LISTEN:1,fork EXEC:{PROGRAM}"],
    "validator": ["ExecStart=/bin/sh -c 'systemctl is-active -q dcgm-exporter || exit 1'"],
    "timer's": ["Type=oneshot", "ExecStart=/usr/bin/systemctl restart dcgm-exporter"],
    "pre": ["ExecStart=/usr/sbin/other", f"ExecStartPre={PROGRAM} --version"],
    "stop": ["ExecStart=/usr/sbin/other", f"ExecStop={PROGRAM}"],
    "post": ["ExecStart=/usr/sbin/other", f"ExecStartPost={PROGRAM}"],
    "variable": ["ExecStart=/usr/sbin/other $TARGET", f"Environment=TARGET={PROGRAM}"],
    "mig": ["Type=oneshot", "RemainAfterExit=yes", "ExecStart=/opt/mig"],
}


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("runs", [True, False])
def test_what_only_speaks_of_one_is_not_even_named(machine: Machine, name: str, runs: bool) -> None:
    machine.write(
        "opt/mig",
        "#!/bin/sh\nsystemctl stop dcgm-exporter\nnvidia-smi mig -cgi 1\n"
        "systemctl start dcgm-exporter\n",
    )
    write_unit(machine, "a.service", *STRANGERS[name])
    if runs:
        put_other(machine, 30, "/system.slice/a.service", "/usr/sbin/other")
        run_unit(machine, "a.service", 30)
    assert Exporters() == found_on(machine)


def test_a_oneshot_is_never_one(machine: Machine) -> None:
    write_unit(machine, "a.service", "Type=oneshot", f"ExecStart={PROGRAM}")
    mention = only_mention(found_on(machine))
    assert (Role.ONESHOT, "a.service", f"/{ETC}/a.service") == (
        mention.role, mention.name, mention.place
    )  # fmt: skip
    assert f"Environment={SETTING}" in mention.lines


def test_a_script_that_does_more_is_named_with_its_file(machine: Machine) -> None:
    machine.write("opt/watch", f"#!/bin/sh\nwhile :; do {PROGRAM}; done\n")
    write_unit(machine, "a.service", "ExecStart=/opt/watch")
    assert Mention(
        Role.SCRIPT, "a.service", (), "/opt/watch", (f"export {SETTING}",)
    ) == only_mention(found_on(machine))


def test_a_masked_unit_is_nothing(machine: Machine) -> None:
    machine.put_unit(UNIT, 9400, enable=False)
    machine.link(f"{ETC}/{UNIT}", "/dev/null")
    assert Exporters() == found_on(machine)


# --- exporters in something else ---------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "program", "place"),
    [
        ("cron.service", "/usr/sbin/cron", "crontab"),
        ("supervisor.service", "/usr/bin/supervisord", "/etc/supervisor/conf.d"),
        ("rc-local.service", "/etc/rc.local", "/etc/rc.local"),
        ("cloud-final.service", "/usr/bin/cloud-init", "user data"),
        ("slurmd.service", "/usr/sbin/slurmd", "job"),
        ("nomad.service", "/usr/bin/nomad", "job"),
        ("amazon-ssm-agent.service", "/usr/bin/amazon-ssm-agent", "SSM"),
        ("anything.service", "/usr/sbin/anything", "anything.service"),
    ],
)
def test_a_child_of_another_unit_is_named_with_its_place(
    machine: Machine, unit: str, program: str, place: str
) -> None:
    write_unit(machine, unit, f"ExecStart={program}")
    put_other(machine, 30, f"/system.slice/{unit}", program, 31)
    put_exporter(machine, 31, f"/system.slice/{unit}")
    run_unit(machine, unit, 30)
    found = found_on(machine)
    mention = only_mention(found)
    assert ([], Role.PARENT, unit, (31,)) == (
        names(found), mention.role, mention.name, mention.pids
    )  # fmt: skip
    assert place in mention.place
    assert "-r localhost:5555" in mention.lines[0]


def test_a_unit_that_could_not_be_looked_at_is_not_judged(exporter: Machine) -> None:
    processes = scan(exporter.host).dcgm
    found = exporters_in((), processes, (), Programs(exporter.host), "localhost:5555")
    mention = only_mention(found)
    assert ([], UNIT) == (names(found), mention.name)
    assert mention.lines[0].startswith("do-dcgm-exporter-integrate check")


@pytest.mark.parametrize(
    ("cgroup", "role", "name"),
    [
        ("/user.slice/user-0.slice/session-7.scope", Role.SESSION, "session-7.scope"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/gpu.service",
            Role.USER_UNIT,
            "gpu.service of user 1000",
        ),
        (f"/lxc.payload.gpu/system.slice/{UNIT}", Role.GUEST, "lxc.payload.gpu"),
        (f"/lxc/gpu/system.slice/{UNIT}", Role.GUEST, "lxc"),
        (f"/machine.slice/machine-gpu.scope/payload/system.slice/{UNIT}", Role.GUEST, "machine"),
        (f"/system.slice/docker-{CONTAINER}.scope", Role.CONTAINER, f"container {CONTAINER[:12]}"),
        (
            f"/system.slice/containerd.service/kubepods-pod7.slice:cri-containerd:{CONTAINER}",
            Role.CONTAINER,
            f"container {CONTAINER[:12]}",
        ),
        ("/", Role.PROCESS, "dcgm-exporter (pid 31)"),
    ],
)
def test_a_process_elsewhere_is_named_for_what_it_is(
    machine: Machine, cgroup: str, role: Role, name: str
) -> None:
    machine.put_unit(UNIT, 9400)  # of the same name as the guest's, and not running
    put_exporter(machine, 31, cgroup)
    found = found_on(machine)
    mention = only_mention(found)
    assert (role, (31,)) == (mention.role, mention.pids)
    assert mention.name.startswith(name)
    assert [UNIT] == names(found)
    assert () == found.units[0].processes


def test_a_process_in_another_pid_namespace_is_a_guests(machine: Machine) -> None:
    machine.put_unit(UNIT, 9400)
    put_exporter(machine, 31, f"/system.slice/systemd-nspawn@gpu.service/system.slice/{UNIT}")
    machine.write("proc/31/status", "Name:\tdcgm-exporter\nNSpid:\t31\t7\n")
    mention = only_mention(found_on(machine))
    assert (Role.GUEST, "systemd-nspawn@gpu.service") == (mention.role, mention.name)


def test_a_client_that_is_none_of_a_unit_is_not_named(machine: Machine) -> None:
    put_exporter(machine, 31, "/user.slice/user-0.slice/session-7.scope")
    machine.write("proc/31/environ", f"{SETTING}\0")
    assert Exporters() == found_on(machine)


def test_every_process_is_named_once(machine: Machine) -> None:
    write_unit(machine, "a.service", f"ExecStart=/usr/bin/docker run {IMAGE}")
    put_other(machine, 30, "/system.slice/a.service", "/usr/bin/docker")
    put_exporter(machine, 31, f"/system.slice/docker-{CONTAINER}.scope")
    run_unit(machine, "a.service", 30)
    inside = Container("docker", "x", IMAGE, processes=scan(machine.host, 5555).dcgm)
    mention = only_mention(found_on(machine, inside))
    assert (Role.CONTAINER, "a.service", (31,)) == (mention.role, mention.name, mention.pids)
    assert f"/{ETC}/a.service" == mention.place
    assert (f"--network host -e {SETTING}",) == mention.lines


# --- containers --------------------------------------------------------------------------

MAKERS: Mapping[str, tuple[Mapping[str, str], str, str]] = {
    "Compose": (
        {
            "com.docker.compose.service": "gpu",
            "com.docker.compose.project.config_files": "/srv/compose.yaml",
        },
        "/srv/compose.yaml",
        f"{VARIABLE}: localhost:5555",
    ),
    "Nomad": (
        {"com.hashicorp.nomad.job_name": "gpus", "com.hashicorp.nomad.alloc_id": "7"},
        "gpus",
        f'{VARIABLE} = "localhost:5555"',
    ),
    "Nomad's default": ({"com.hashicorp.nomad.alloc_id": "7"}, "of Nomad", VARIABLE),
    "ECS": (
        {"com.amazonaws.ecs.task-definition-family": "gpus"}, "gpus", '"value": "localhost:5555"'
    ),
    "Kubernetes": (
        {"io.kubernetes.pod.name": "dcgm-x7", "io.kubernetes.pod.namespace": "gpu"},
        "pod dcgm-x7",
        "value: localhost:5555",
    ),
    "Swarm": ({"com.docker.swarm.service.name": "gpus"}, "gpus", f"--env-add {SETTING}"),
    "somebody": ({}, "docker run", f"-e {SETTING}"),
}  # fmt: skip


@pytest.mark.parametrize("maker", MAKERS)
def test_a_container_is_named_with_what_describes_it(machine: Machine, maker: str) -> None:
    labels, place, line = MAKERS[maker]
    put_exporter(machine, 31, f"/system.slice/docker-{CONTAINER}.scope")
    inside = Container(
        "docker", "x", "mirror/odd", labels=labels,
        processes=scan(machine.host, 5555).dcgm,
    )  # fmt: skip
    mention = only_mention(found_on(machine, inside))
    assert ("container x (docker)", (31,)) == (mention.name, mention.pids)
    assert place in mention.place
    assert line in "\n".join(mention.lines)
    assert not any(word in "\n".join(mention.lines) for word in ("kill", "stop", "disable"))


def test_a_quadlet_is_named_with_its_file(machine: Machine) -> None:
    source = "/etc/containers/systemd/gpu.container"
    machine.write(
        "run/systemd/generator/gpu.service",
        f"[Unit]\nSourcePath={source}\n[Service]\nType=notify\n"
        f"ExecStart=/usr/bin/podman run --name=gpu --replace --rm -d --network host {IMAGE}\n",
    )
    mention = only_mention(found_on(machine))
    assert (Role.CONTAINER, source, "[Container]") == (
        mention.role, mention.place, mention.lines[0]
    )  # fmt: skip


# --- what may not stop the look ----------------------------------------------------------


def test_files_whose_names_systemd_does_not_take_are_passed_by(machine: Machine) -> None:
    machine.put_unit(UNIT, 9400)
    for name in ("Copy of exporter-9400.service", "exporter-ä.service", ".service", "@.service"):
        write_unit(machine, name, f"ExecStart={PROGRAM}")
    place = Path(machine.root, ETC)
    Path(str(place).encode().decode(), "\udce4.service").write_text("[Service]\n")
    assert [UNIT] == names(found_on(machine))


def test_one_unit_that_cannot_be_looked_at_does_not_hide_the_others(machine: Machine) -> None:
    machine.put_unit(UNIT, 9400)
    write_unit(machine, "odd.service", f"ExecStart={PROGRAM}")
    machine.write("stand-in/refuses-to-show", "odd.service")
    processes = scan(machine.host, 5555)
    units, unseen = look_at_units(machine.host, Programs(machine.host), processes)
    assert [UNIT] == [unit.view.name for unit in units]
    assert ["odd.service"] == [sentence.partition(":")[0] for sentence in unseen]


def test_units_are_seen_wherever_systemd_has_them_from(machine: Machine) -> None:
    machine.write("run/systemd/generator/a.service", f"[Service]\nExecStart={PROGRAM}\n")
    machine.write(f"{LIB}/b.service", "[Service]\nExecStart=/bin/true\n")
    machine.write("run/systemd/transient/b.service.d/x.conf", f"[Service]\nExecStart={PROGRAM}\n")
    assert ["a.service", "b.service"] == names(found_on(machine))
