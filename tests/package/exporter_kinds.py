"""The exporters that may be on a machine: their files, and the state of their units.

All of them fit on one machine: each has a port and a unit of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from tests.package.system import System

PROGRAM = "/usr/bin/dcgm-exporter"
RENAMED = "/usr/local/bin/nvidia_dcgm_exporter"
UNRECOGNIZABLE = "/opt/gpu/metricsd"  # by its name
IN_ITS_DIRECTORY = "/opt/relative/dcgm-exporter"
OLD_PROGRAM = "/opt/dcgm3/dcgm-exporter"
REFUSER = "/opt/refuser/dcgm-exporter"
ETC = "/etc/systemd/system"
LIB = "/usr/lib/systemd/system"
OTHER_ENGINE = "gpu7:5556"
DROP_IN = "zz-do-dcgm-exporter.conf"


class Left(Enum):
    """The state in which the admin left an exporter."""

    RUNNING = "enabled and active"
    STARTED = "active, not enabled"
    OFF = "neither enabled nor active"
    FAILED = "failed"
    MASKED = "masked"


class Fate(Enum):
    """What is expected to happen to it."""

    CONNECTED = "a client of our engine"
    UNTOUCHED = "as before"


@dataclass(frozen=True)
class Kind:
    """One exporter on a machine."""

    name: str
    unit: str
    port: int
    files: Mapping[str, str] = field(default_factory=dict)
    left: Left = Left.RUNNING
    fate: Fate = Fate.CONNECTED
    engine: str = "embedded"  # what it reads before we come

    @property
    def drop_ins(self) -> tuple[str, ...]:
        """Where our drop-in would be: the instance's own folder or its template's."""
        units = {self.unit, f"{self.unit.partition('@')[0]}@.service" if "@" in self.unit else ""}
        return tuple(f"{ETC}/{unit}.d/{DROP_IN}" for unit in sorted(units - {""}))


def unit(command: str, *more: str) -> str:
    """Return a unit's text."""
    lines = ["[Unit]", "Description=An exporter", "[Service]", f"ExecStart={command}", *more]
    return "\n".join([*lines, "[Install]", "WantedBy=multi-user.target", ""])


def drop_in(*lines: str) -> str:
    """Return a drop-in's text."""
    return "\n".join(["[Service]", *lines, ""])


def on(port: int, program: str = PROGRAM, more: str = "") -> str:
    """Return the command of an exporter on a port."""
    return f"{program} -a :{port}{more}"


DOCKER_RUN = (
    "/usr/bin/docker run --rm {} --gpus all"
    " nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04 -a :{}"
)


def plain(name: str, stem: str, port: int, command: str, *more: str) -> Kind:
    """Return an exporter that is just a unit."""
    return Kind(name, f"{stem}.service", port, {f"{ETC}/{stem}.service": unit(command, *more)})


# NVIDIA's own package is installed beside them, see exporters.py.
VENDOR = Kind("vendor unit", "nvidia-dcgm-exporter.service", 9400)

KINDS = (
    VENDOR,
    Kind("odd unit name", "telemetry.service", 9411, {f"{ETC}/telemetry.service": unit(on(9411))}),
    Kind(
        "user's drop-in with an empty ExecStart= and a new one",
        "lab-exporter.service",
        9412,
        {
            f"{LIB}/lab-exporter.service": unit(on(9499), "Environment=MINE=1"),
            f"{ETC}/lab-exporter.service.d/override.conf": drop_in(
                "ExecStart=", f"ExecStart={PROGRAM} -f /etc/dcgm-exporter/x.csv -c 5000 -a :9412"
            ),
        },
    ),
    Kind(
        "admin's drop-in with another host",
        "decided.service",
        9413,
        {
            f"{ETC}/decided.service": unit(on(9413)),
            f"{ETC}/decided.service.d/mine.conf": drop_in(
                f"Environment=DCGM_REMOTE_HOSTENGINE_INFO={OTHER_ENGINE}"
            ),
        },
        fate=Fate.UNTOUCHED,
        engine=OTHER_ENGINE,
    ),
    Kind(
        "wrapper script",
        "wrapped.service",
        9414,
        {
            f"{ETC}/wrapped.service": unit("/usr/local/bin/start-exporter 9414"),
            "/usr/local/bin/start-exporter": f'#!/bin/sh\nset -eu\nexec {PROGRAM} -a ":$1"\n',
        },
    ),
    Kind(
        "flags in an EnvironmentFile",
        "from-file.service",
        9415,
        {
            f"{ETC}/from-file.service": unit(
                f"{PROGRAM} $OPTIONS", "EnvironmentFile=-/etc/default/from-file"
            ),
            "/etc/default/from-file": 'OPTIONS="-a :9415 -c 2000"\n',
        },
    ),
    Kind(
        "program in an EnvironmentFile",
        "program-from-file.service",
        9416,
        {
            f"{ETC}/program-from-file.service": unit(
                "/bin/sh -c 'exec $EXPORTER $OPTIONS'",
                "EnvironmentFile=/etc/default/program-from-file",
            ),
            "/etc/default/program-from-file": f'EXPORTER={PROGRAM}\nOPTIONS="-a :9416"\n',
        },
    ),
    Kind(
        "engine in an EnvironmentFile",
        "decided-in-file.service",
        9417,
        {
            f"{ETC}/decided-in-file.service": unit(
                on(9417), "EnvironmentFile=/etc/default/decided-in-file"
            ),
            "/etc/default/decided-in-file": f"DCGM_REMOTE_HOSTENGINE_INFO={OTHER_ENGINE}\n",
        },
        fate=Fate.UNTOUCHED,
        engine=OTHER_ENGINE,
    ),
    Kind(
        "flags already there",
        "flags.service",
        9418,
        {f"{ETC}/flags.service": unit(on(9418, more=" -r localhost:5555"))},
        fate=Fate.UNTOUCHED,
        engine="localhost:5555",
    ),
    Kind(
        "disabled",
        "dormant.service",
        9419,
        {f"{LIB}/dormant.service": unit(on(9419))},
        left=Left.OFF,
    ),
    Kind(
        "started and not enabled",
        "by-hand.service",
        9420,
        {f"{LIB}/by-hand.service": unit(on(9420))},
        left=Left.STARTED,
    ),
    Kind(
        "masked",
        "forbidden.service",
        9421,
        {f"{LIB}/forbidden.service": unit(on(9421))},
        left=Left.MASKED,
        fate=Fate.UNTOUCHED,
    ),
    Kind(
        "failed",
        "broken.service",
        9422,
        {f"{ETC}/broken.service": unit(on(9422), "ExecStartPre=/bin/false")},
        left=Left.FAILED,
    ),
    Kind(
        "instance of a template",
        "gpu-exporter@9423.service",
        9423,
        {f"{ETC}/gpu-exporter@.service": unit(f"{PROGRAM} -a :%i", "Environment=PERCENT=5%%")},
    ),
    Kind("another instance of it", "gpu-exporter@9424.service", 9424),
    Kind(
        "docker run with the host's network",
        "in-docker.service",
        9425,
        {f"{ETC}/in-docker.service": unit(DOCKER_RUN.format("--net host", 9425))},
    ),
    Kind(
        "docker run with a network of its own",
        "in-its-network.service",
        9426,
        {f"{ETC}/in-its-network.service": unit(DOCKER_RUN.format("-p 9426:9400", 9426))},
        fate=Fate.UNTOUCHED,
        engine="",  # nobody can reach it here
    ),
    Kind(
        "library of another major version",
        "old-library.service",
        9427,
        {f"{ETC}/old-library.service": unit(on(9427, OLD_PROGRAM, " -c 500"))},
        fate=Fate.UNTOUCHED,
    ),
    Kind(
        "refuses to run remote",
        "refuser.service",
        9428,
        {f"{ETC}/refuser.service": unit(on(9428, REFUSER))},
        fate=Fate.UNTOUCHED,
    ),
    plain("renamed copy", "renamed", 9430, on(9430, RENAMED)),
    plain("copy under a name that says nothing", "metricsd", 9431, on(9431, UNRECOGNIZABLE)),
    plain("behind env", "by-env-alone", 9432, f"/usr/bin/env LANG=C {on(9432)}"),
    plain("behind nice", "by-nice", 9433, f"/usr/bin/nice -n 5 {on(9433)}"),
    plain("behind ionice", "by-ionice", 9434, f"/usr/bin/ionice -c 3 {on(9434)}"),
    plain("behind taskset", "by-taskset", 9435, f"/usr/bin/taskset -c 0 {on(9435)}"),
    plain("behind numactl", "by-numactl", 9436, f"/usr/bin/numactl --localalloc {on(9436)}"),
    plain("behind nohup", "by-nohup", 9437, f"/usr/bin/nohup {on(9437)}"),
    # It forks, for systemd has made it the leader of a group.
    plain("behind setsid", "by-setsid", 9438, f"/usr/bin/setsid {on(9438)}", "Type=forking"),
    plain("shell", "by-shell", 9439, f"/bin/sh -c '{on(9439)}'"),
    plain("shell that is replaced", "by-exec", 9440, f"/bin/bash -c 'exec {on(9440)}'"),
    plain(
        "several launchers",
        "by-several",
        9441,
        f"/usr/bin/env LANG=C /usr/bin/nice -n 1 taskset -c 0 {on(9441)}",
    ),
    Kind(
        "wrapper script with settings",
        "wrapped-with-settings.service",
        9442,
        {
            f"{ETC}/wrapped-with-settings.service": unit("/opt/gpu/run-exporter"),
            "/opt/gpu/run-exporter": (
                "#!/bin/bash\n# Starts the exporter.\nset -euo pipefail\n"
                ". /etc/default/wrapped-with-settings\nulimit -n 4096\n"
                'exec "$EXPORTER" -a "$LISTEN"\n'
            ),
            "/etc/default/wrapped-with-settings": f"EXPORTER={PROGRAM}\nLISTEN=:9442\n",
        },
    ),
    plain("continued line", "continued", 9443, f"{PROGRAM} \\\n  -c 5000 \\\n  -a :9443"),
    plain("name without a path", "in-path", 9444, "dcgm-exporter -a :9444"),
    plain(
        "relative path",
        "relative",
        9445,
        "/bin/sh -c 'cd /opt/relative && exec ./dcgm-exporter -a :9445'",
    ),
    plain(
        "arguments in a variable",
        "arguments",
        9446,
        f"{PROGRAM} $ARGS",
        'Environment="ARGS=-a :9446"',
    ),
    plain(
        "-r behind a bare word, where Go reads no flags",
        "bare-word",
        9447,
        on(9447, more=" --kubernetes false -r localhost:5555"),
    ),
    plain("another argv[0]", "renamed-process", 9448, f"-@{PROGRAM} metrics -a :9448"),
    plain("another user", "as-nobody", 9449, on(9449), "User=nobody", "Restart=always"),
)


def put(system: System, kinds: tuple[Kind, ...] = KINDS) -> None:
    """Put exporters on a machine, in the state their admins leave them in."""
    for kind in kinds:
        for path, text in kind.files.items():
            system.write(path, text)
            if text.startswith("#!"):
                (system.root / path.lstrip("/")).chmod(0o755)
    system.run("systemctl", "daemon-reload")
    by_state = {left: [kind.unit for kind in kinds if kind.left is left] for left in Left}
    if by_state[Left.RUNNING]:
        system.run("systemctl", "enable", "--quiet", "--now", *by_state[Left.RUNNING])
    if by_state[Left.STARTED]:
        system.run("systemctl", "start", *by_state[Left.STARTED])
    if by_state[Left.MASKED]:
        system.run("systemctl", "mask", "--quiet", *by_state[Left.MASKED])
    if by_state[Left.FAILED]:
        system.systemctl("start", *by_state[Left.FAILED])
