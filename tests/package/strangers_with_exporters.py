"""Programs with an exporter among their processes, and containers of exporters."""

from __future__ import annotations

from tests.package.exporter_kinds import ETC, PROGRAM, unit
from tests.package.stranger import (
    CHILDREN,
    DAEMON_TEXT,
    EXPORTERS_UNIT,
    IN_CGROUP,
    ONESHOT,
    Stranger,
    daemon,
    noting,
    script,
    service,
)

IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
PEOPLE = 1200  # a user with a service manager
GUEST = "gpu-guest"
SCOPE = r"machine-gpu\x2dguest.scope"  # systemd-escape(1)
CONTAINER = "4f5d" * 16

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
