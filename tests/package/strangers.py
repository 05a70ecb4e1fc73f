"""What mentions, contains, starts, stops, watches or serves an exporter, and is none.

All of it fits on one machine, beside the exporters of exporter_kinds.py. What is started
notes that in RAN, so that nothing can be run again behind its back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.package.exporter_kinds import ETC, PROGRAM, unit
from tests.package.exporters import put_program, put_tool
from tests.package.system import System

RAN = "/srv/ran"
DAEMON = "/usr/lib/strangers/daemon"
CHILDREN = "/etc/strangers"
IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
EXPORTERS_UNIT = "nvidia-dcgm-exporter.service"
PEOPLE = 1200  # the user with a manager of its own
GUEST = "gpu-guest"
SCOPE = r"machine-gpu\x2dguest.scope"  # systemd-escape(1)
CONTAINER = "4f5d" * 16
BADLY_NAMED = ("Copy of exporter-9400.service", "exporter-ä.service")
# Debian's packages that some of them come from.
PACKAGES = ("cron", "libpam-systemd", "numactl", "procps", "socat", "sudo", "supervisor")

# Whatever it is called: notes its start, starts the exporters a file names, and stays. Nothing
# in it or in its command line speaks of them.
DAEMON_TEXT = f"""\
#!/usr/bin/python3 -I
import pathlib, signal, subprocess, sys
name = pathlib.Path(sys.argv[0]).name
with open(pathlib.Path("{RAN}", name), "a") as ran:
    ran.write("started\\n")
children = pathlib.Path("{CHILDREN}", name)
for line in children.read_text().splitlines() if children.exists() else ():
    subprocess.Popen(line.split())
signal.pause()
"""

# Runs an exporter in a cgroup below its own, as container managers and guests do.
IN_CGROUP_TEXT = """\
#!/bin/sh
set -eu
cgroup=/sys/fs/cgroup$1
mkdir -p "$cgroup"
echo $$ >"$cgroup/cgroup.procs"
shift
exec "$@"
"""
IN_CGROUP = "/usr/lib/strangers/in-cgroup"


def noting(name: str, *lines: str) -> str:
    """Return a script that notes that it runs."""
    return "\n".join(["#!/bin/sh", f"echo started >>{RAN}/{name}", *lines, ""])


@dataclass(frozen=True)
class Stranger:
    """One of them: its files, what starts it, and what is in it.

    ``port`` is where an exporter in it serves, which has a DCGM of its own. ``unit`` is what
    systemd calls it, if anything. ``container`` is the name of one.
    """

    name: str
    unit: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    start: tuple[str, ...] | None = None  # nothing: its unit is enabled and started
    port: int = 0
    container: str = ""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that start it."""
        if self.start is not None:
            return self.start
        return (f"systemctl enable --quiet {self.unit}", f"systemctl start {self.unit}")


def service(
    name: str, stem: str, command: str, *more: str, files: Mapping[str, str] = {}, **others: object
) -> Stranger:
    """Return a stranger that is a unit with a command."""
    text = unit(command, *more)
    return Stranger(name, f"{stem}.service", {f"{ETC}/{stem}.service": text, **files}, **others)  # type: ignore[arg-type]


def script(
    name: str, stem: str, *lines: str, more: tuple[str, ...] = (), **others: object
) -> Stranger:
    """Return a stranger that is a unit with a script."""
    path = f"/usr/local/sbin/{stem}"
    return service(name, stem, path, *more, files={path: noting(stem, *lines)}, **others)


def daemon(
    name: str, stem: str, program: str, *more: str, port: int = 0, **others: object
) -> Stranger:
    """Return a stranger that is a daemon, with an exporter among its processes if it has a port."""
    file = program.split(maxsplit=1)[0]
    files = {file: DAEMON_TEXT}
    if port:
        files[f"{CHILDREN}/{file.rpartition('/')[2]}"] = f"{PROGRAM} -a :{port}\n"
    return service(name, stem, program, *more, files=files, port=port, **others)


ONESHOT = ("Type=oneshot", "RemainAfterExit=yes")
UNUSED: tuple[str, ...] = ()

# They stop, start or watch an exporter's unit.
KEEPERS = (
    script(
        "oneshot that cuts GPUs into instances",
        "cut-gpus",
        f"systemctl stop {EXPORTERS_UNIT} || true",
        "nvidia-smi mig -cgi 19,19 -C || true",
        f"systemctl start --no-block {EXPORTERS_UNIT} || true",
        more=ONESHOT,
    ),
    script(
        "oneshot that resets GPUs",
        "reset-gpus",
        f"systemctl stop {EXPORTERS_UNIT} || true",
        "nvidia-smi --gpu-reset || true",
        f"systemctl start --no-block {EXPORTERS_UNIT} || true",
        more=("Type=oneshot",),
    ),
    service(
        "oneshot of a timer",
        "restart-exporter",
        "/usr/bin/systemctl restart dcgm-exporter",
        "Type=oneshot",
        files={f"{ETC}/restart-exporter.timer": "[Timer]\nOnCalendar=2100-01-01\n"},
        start=("systemctl start restart-exporter.timer",),
    ),
    service(
        "oneshot that runs the exporter once",
        "exporter-version",
        f"{PROGRAM} --version",
        *ONESHOT,
    ),
    service(
        "validator",
        "validator",
        f"/bin/sh -c 'echo started >>{RAN}/validator;"
        " systemctl is-active -q dcgm-exporter || exit 1'",
    ),
    script(
        "watchdog",
        "watchdog",
        "while sleep 86400; do",
        f"\tcurl -sf http://localhost:9400/metrics || systemctl restart {EXPORTERS_UNIT}",
        "done",
    ),
    script(
        "watchdog that does not run",
        "idle-watchdog",
        f"while sleep 60; do pgrep dcgm-exporter || {PROGRAM} & done",
        start=UNUSED,
    ),
    service(
        "helper that ends with the exporter",
        "bound-helper",
        "/usr/bin/python3 -I -c 'import signal; signal.pause()'",
        f"ExecStartPre={PROGRAM} --version",
        "ExecStop=/bin/sh -c 'pgrep -x dcgm-exporter || true'",
    ),
)

# The word stands among their arguments, in a path, in their name.
MENTIONS = (
    service("its journal", "journal", "/usr/bin/journalctl -f -u dcgm-exporter"),
    service("its log", "log", "/usr/bin/tail -F /var/log/dcgm-exporter"),
    service("false", "false", "/bin/false /etc/dcgm-exporter"),
    service(
        "curl",
        "curl",
        "/usr/bin/curl --silent --retry 1000000 --retry-connrefused --retry-delay 86400"
        " http://127.0.0.1:1/dcgm-exporter",
    ),
    service("pgrep", "pgrep", "/bin/sh -c 'while sleep 86400; do pgrep -x dcgm-exporter; done'"),
    service("socat", "socat", f"/usr/bin/socat TCP-LISTEN:9540,fork EXEC:{PROGRAM}"),
    daemon("kubectl", "kubectl", "/usr/local/bin/kubectl logs -f daemonset/dcgm-exporter"),
    daemon("consul", "consul", f"/usr/local/bin/consul watch -service=dcgm-exporter {PROGRAM}"),
    daemon("ssh", "ssh", f"/usr/local/bin/ssh gpu7 {PROGRAM} -a :9400"),
    service(
        "monitor in a directory of that name",
        "monitor",
        "/usr/bin/python3 /opt/dcgm-exporter/monitor.py",
        files={"/opt/dcgm-exporter/monitor.py": "import signal\nsignal.pause()\n"},
    ),
    daemon("another program under its unit's name", "dcgm-exporter", "/usr/sbin/gpu-metricsd"),
    daemon("a tool of its", "tool", "/usr/bin/dcgm-exporter-tool"),
    daemon(
        "variable",
        "variable",
        "/usr/sbin/variabled $TARGET",
        f"Environment=TARGET={PROGRAM}",
    ),
)

# An exporter among the processes of something else.
HOSTS = (
    Stranger(
        "cron",
        "cron.service",
        {"/etc/cron.d/exporter": f"@reboot root {PROGRAM} -a :9501\n"},
        ("rm -f /run/crond.reboot", "systemctl restart cron.service"),
        9501,
    ),
    Stranger(
        "supervisor",
        "supervisor.service",
        {
            "/etc/supervisor/conf.d/exporter.conf": (
                f"[program:exporter]\ncommand={PROGRAM} -a :9502\n"
                "[program:other]\ncommand=/usr/sbin/supervised\n"
            ),
            "/usr/sbin/supervised": DAEMON_TEXT,
        },
        ("systemctl restart supervisor.service",),
        9502,
    ),
    Stranger(
        "rc.local",
        "rc-local.service",
        {"/etc/rc.local": noting("rc.local", f"{PROGRAM} -a :9503 &", "exit 0")},
        ("systemctl start rc-local.service",),
        9503,
    ),
    script(
        "cloud-init's last stage",
        "cloud-final",
        f"nohup {PROGRAM} -a :9504 >/dev/null 2>&1 &",
        more=(*ONESHOT, "KillMode=process"),
        port=9504,
    ),
    daemon("slurmd", "slurmd", "/usr/sbin/slurmd -D", "Delegate=yes", port=9505),
    daemon("nomad", "nomad", "/usr/bin/nomad agent", "KillMode=process", port=9506),
    daemon("amazon-ssm-agent", "amazon-ssm-agent", "/usr/bin/amazon-ssm-agent", port=9507),
    service(
        "containerd with the systemd driver spelled as a path",
        "containerd",
        "/usr/bin/containerd",
        "Delegate=yes",
        files={
            "/usr/bin/containerd": DAEMON_TEXT,
            f"{CHILDREN}/containerd": (
                f"{IN_CGROUP} /system.slice/containerd.service/"
                f"kubepods-burstable-pod77.slice:cri-containerd:{CONTAINER}"
                f" {PROGRAM} -a :9508\n"
            ),
        },
        port=9508,
    ),
    script(
        "script that starts an exporter and something else",
        "pair",
        f"{PROGRAM} -a :9509 &",
        "exec /usr/sbin/paired",
        port=9509,
    ),
    service(
        "pipe",
        "pipe",
        f"/bin/sh -c '{PROGRAM} -a :9510 | cat'",
        port=9510,
    ),
    Stranger(
        "program that starts an exporter",
        "launcher.service",
        {
            f"{ETC}/launcher.service": unit("/usr/bin/python3 /opt/launcher.py"),
            "/opt/launcher.py": (
                f'import subprocess\nsubprocess.run(["{PROGRAM}", "-a", ":9511"], check=True)\n'
            ),
        },
        port=9511,
    ),
    # What we can set does not reach it.
    service(
        "exporter without an environment", "bare", f"/usr/bin/env -i {PROGRAM} -a :9517", port=9517
    ),
    Stranger(
        "somebody's session",
        "session-7.scope",
        {},
        (
            (
                "systemd-run --quiet --scope --unit=session-7.scope --slice=user-0.slice"
                f" sh -c '{PROGRAM} -a :9512 >/dev/null 2>&1 &'"
            ),
        ),
        9512,
    ),
    Stranger(
        "unit of a user's manager",
        f"user@{PEOPLE}.service",
        {
            "/home/lab/.config/systemd/user/gpu.service": (
                f"[Service]\nExecStart={PROGRAM} -a :9513\n[Install]\nWantedBy=default.target\n"
            ),
            # As podman's generator makes them from ~/.config/containers/systemd.
            "/home/lab/.config/systemd/user/quadlet.service": (
                "[Unit]\nSourcePath=/home/lab/.config/containers/systemd/quadlet.container\n"
                f"[Service]\nExecStart=/bin/sh -c 'exec {PROGRAM} -a :9514'\n"
            ),
        },
        (
            "mkdir -p /home/lab/.config/systemd/user/default.target.wants",
            (
                "ln -s ../gpu.service ../quadlet.service"
                " /home/lab/.config/systemd/user/default.target.wants/"
            ),
            f"useradd --uid {PEOPLE} --home-dir /home/lab lab",
            "chown -R lab: /home/lab",
            f"systemctl start user@{PEOPLE}.service",
        ),
        9513,
    ),
    Stranger(
        "unit of the same name in a guest of systemd-nspawn",
        SCOPE,
        {},
        (
            (
                "systemd-run --quiet --scope --property=Delegate=yes --slice=machine.slice"
                f" --unit='{SCOPE}' sh -c '{IN_CGROUP} /machine.slice/\"{SCOPE}\""
                f"/payload/system.slice/{EXPORTERS_UNIT} {PROGRAM} -a :9515 >/dev/null 2>&1 &'"
            ),
        ),
        9515,
    ),
    Stranger(
        "unit of the same name in a guest of LXC",
        "",
        {},
        (
            (
                f"{IN_CGROUP} /lxc.payload.{GUEST}/system.slice/{EXPORTERS_UNIT}"
                f" sh -c '{PROGRAM} -a :9516 >/dev/null 2>&1 &'"
            ),
        ),
        9516,
    ),
)


def container(name: str, stem: str, command: str, *more: str, **others: object) -> Stranger:
    """Return a stranger whose unit runs a container that is called like the unit."""
    return service(name, stem, command, *more, container=stem, **others)


def run(stem: str, image: str = IMAGE) -> str:
    """Return the words that run a container with a network of its own."""
    return f"run --rm --name {stem} --gpus all {image}"


COMPOSE = "/srv/gpu/compose.yaml"
CONTAINERS = (
    container("sudo docker", "by-sudo", f"/usr/bin/sudo /usr/bin/docker {run('by-sudo')}"),
    container("env docker", "by-env", f"/usr/bin/env LANG=C docker {run('by-env')}"),
    container("nvidia-docker", "by-nvidia", f"/usr/bin/nvidia-docker {run('by-nvidia')}"),
    container("nerdctl", "by-nerdctl", f"/usr/bin/nerdctl {run('by-nerdctl')}"),
    container("podman", "by-podman", f"/usr/bin/podman {run('by-podman')}"),
    container(
        "image of a mirror",
        "mirrored",
        f"/usr/bin/docker {run('mirrored', 'mirror:5000/dcgm_exporter')}",
    ),
    Stranger(
        "docker in a script",
        "by-script.service",
        {
            f"{ETC}/by-script.service": unit("/usr/local/sbin/by-script"),
            "/usr/local/sbin/by-script": noting("by-script", f"exec docker {run('by-script')}"),
        },
        container="by-script",
    ),
    Stranger(
        "docker-compose",
        "by-compose.service",
        {
            f"{ETC}/by-compose.service": unit(
                f"/usr/bin/docker-compose -f {COMPOSE} up dcgm-exporter"
            ),
            COMPOSE: f"services:\n  dcgm-exporter:\n    image: {IMAGE}\n",
        },
        container="gpu-dcgm-exporter-1",
    ),
    Stranger(
        "docker compose up -d",
        "composed.service",
        {
            f"{ETC}/composed.service": unit(
                "/usr/bin/docker compose -f /srv/lab/compose.yaml up -d", *ONESHOT
            ),
            "/srv/lab/compose.yaml": f"services:\n  dcgm-exporter:\n    image: {IMAGE}\n",
        },
        container="lab-dcgm-exporter-1",
    ),
    daemon("ctr", "by-ctr", f"/usr/bin/ctr run --rm --net-host {IMAGE} dcgm-exporter"),
    Stranger(
        "task of Nomad",
        start=(
            (
                "docker run -d --name gpu-77d0 --network host -e DCGM_EXPORTER_LISTEN=:9521"
                f" --label com.hashicorp.nomad.alloc_id=77d0 {IMAGE}"
            ),
        ),
        port=9521,
        container="gpu-77d0",
    ),
    Stranger(
        "task of ECS",
        start=(
            (
                "docker run -d --name ecs-gpu-1 --network host -e DCGM_EXPORTER_LISTEN=:9522"
                f" --label com.amazonaws.ecs.task-arn=arn:aws:ecs:x {IMAGE}"
            ),
        ),
        port=9522,
        container="ecs-gpu-1",
    ),
)

STRANGERS = (*KEEPERS, *MENTIONS, *HOSTS, *CONTAINERS)
UNIT_NAMES = frozenset(stranger.unit for stranger in STRANGERS if stranger.unit)


def put(system: System) -> None:
    """Put all of them on a machine, and start what is to run."""
    put_program(system)
    for tool in ("docker", "podman", "nvidia-docker", "docker-compose", "nerdctl"):
        put_tool(system, tool)
    for path in (DAEMON, "/usr/sbin/paired"):
        write(system, path, DAEMON_TEXT)
    write(system, IN_CGROUP, IN_CGROUP_TEXT)
    (system.root / RAN.lstrip("/")).mkdir()
    system.write("/var/log/dcgm-exporter", "")
    for name in BADLY_NAMED:
        system.write(f"{ETC}/{name}", unit(f"{PROGRAM} -a :9400"))
        system.write(f"{ETC}/{name}.d/override.conf", "[Service]\nEnvironment=A=1\n")
    for stranger in STRANGERS:
        for path, text in stranger.files.items():
            write(system, path, text)
    system.run("systemctl", "daemon-reload")
    for stranger in STRANGERS:
        for command in stranger.commands:
            system.run("sh", "-c", command)


def write(system: System, path: str, text: str) -> None:
    """Write a file, which can be run if it is a script."""
    system.write(path, text)
    if text.startswith("#!"):
        (system.root / path.lstrip("/")).chmod(0o755)
