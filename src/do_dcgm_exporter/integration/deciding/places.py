"""Where a person tells an exporter of the engine, by what started it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.integration.deciding.exporter import Role
from do_dcgm_exporter.integration.deciding.exporter_command import Judged
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Kind
from do_dcgm_exporter.integration.looking.systemd import UnitView

# Where Compose says which files describe a container.
CONFIG_FILES = "com.docker.compose.project.config_files"

# Lines to write. In them, %(engine)s is the engine; other names are of a container's labels.
_SETTING = f"{REMOTE_VARIABLE}=%(engine)s"
_ARGUMENTS = ("dcgm-exporter -r %(engine)s  # and its other options",)
_EXPORT = (f"export {_SETTING}",)
_SERVICE = ("[Service]", f"Environment={_SETTING}")
_QUADLET = ("[Container]", "Network=host", f"Environment={_SETTING}")
_RUN_OPTIONS = (f"--network host -e {_SETTING}",)
_COMPOSE = (
    "services:",
    "  %(service)s:",
    "    network_mode: host",
    "    environment:",
    f"      {REMOTE_VARIABLE}: %(engine)s",
)
_POD = (
    "hostNetwork: true",
    "containers:",
    "- env:",
    f"  - name: {REMOTE_VARIABLE}",
    "    value: %(engine)s",
)
_NOMAD = ('config { network_mode = "host" }', f'env {{ {REMOTE_VARIABLE} = "%(engine)s" }}')
_ECS_VARIABLE = f'{{"name": "{REMOTE_VARIABLE}", "value": "%(engine)s"}}'
_ECS = ('"networkMode": "host"', f'"environment": [{_ECS_VARIABLE}]')
_SWARM = (f"docker service update --env-add {_SETTING} %(service.name)s",)

# How the labels of a container's maker begin, what describes the container there, and the
# lines to write in it. One of Swarm may have labels of Compose, too.
_MAKERS = (
    ("io.kubernetes.", "what describes the pod %(pod.name)s", _POD),
    ("com.hashicorp.nomad.", "the job %(job_name)s of Nomad, task %(task_name)s", _NOMAD),
    ("com.amazonaws.ecs.", "the task definition of ECS, %(task-definition-family)s", _ECS),
    ("com.docker.swarm.", "the service %(service.name)s of Swarm", _SWARM),
    ("com.docker.compose.", "the Compose file %(project.config_files)s", _COMPOSE),
)

# Containers with such labels are nobody's who only says "run".
MAKERS_LABELS = tuple(prefix for prefix, _, _ in _MAKERS)

# Where services that start other people's programs are told of them.
_OF_UNITS: Mapping[str, str] = {
    "amazon-ssm-agent.service": "the document that SSM runs",
    "anacron.service": "/etc/anacrontab",
    "cloud-final.service": "the instance's user data",
    "containerd.service": "what describes its pod or container",
    "cron.service": "the crontab that starts it: /etc/crontab, /etc/cron.d, crontab -e",
    "nomad.service": "the job that it is a task of",
    "rc-local.service": "/etc/rc.local",
    "slurmd.service": "the script of the job, or Prolog= in slurm.conf",
    "supervisor.service": "/etc/supervisor/conf.d",
}
_OF_OWNERS: Mapping[Kind, tuple[Role, str, Sequence[str]]] = {
    Kind.CONTAINER: (Role.CONTAINER, "what describes it", _RUN_OPTIONS),
    Kind.GUEST: (Role.GUEST, "the guest", ()),
    Kind.NOTHING: (Role.PROCESS, "", _ARGUMENTS),
    Kind.SESSION: (Role.SESSION, "", _ARGUMENTS),
    Kind.UNIT: (Role.PARENT, "", _ARGUMENTS),
    Kind.USER_UNIT: (Role.USER_UNIT, "that user's unit: systemctl --user edit", _SERVICE),
}

# A file, or what a person knows it by, and the lines to write there.
Place = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Places:
    """The places where exporters are told to use ``engine`` (HOST:PORT)."""

    engine: str

    def of_unit(self, view: UnitView, role: Role, judged: Judged) -> Place:
        """Return where a unit's exporter is set up: another file that it uses, or its own."""
        own, script = view.source_path or view.fragment, judged.script
        if judged.run and judged.run.compose_file:
            return self._place(judged.run.compose_file, _COMPOSE)
        if own.endswith(".container"):
            return self._place(own, _QUADLET)
        if role is Role.CONTAINER:
            return self._place(script or own, _RUN_OPTIONS)
        if role is Role.PARENT:
            return self._place(_OF_UNITS.get(view.name) or script or own, _ARGUMENTS)
        return self._place(script, _EXPORT) if script else self._place(own, _SERVICE)

    def of_container(self, container: Container) -> Place:
        """Return where a container is described, by the labels that its maker leaves."""
        for prefix, where, lines in _MAKERS:
            labels = {
                label.removeprefix(prefix): value
                for label, value in container.labels.items()
                if label.startswith(prefix)
            }
            if labels:
                values = defaultdict(lambda: container.name, labels, engine=self.engine)
                return where % values, tuple(line % values for line in lines)
        return self._place(f"the command that made it: {container.runtime} run", _RUN_OPTIONS)

    def of_process(self, process: DcgmProcess) -> tuple[Role, str, Place]:
        """Return what a process is that belongs to nothing that was seen, its name and place."""
        role, where, lines = _OF_OWNERS[process.owner.kind]
        if process.owner.pod:
            where, lines = "what describes its pod", _POD
        name = f"{process.command} (pid {process.pid})"
        name = process.belongs_to if process.owner.name else name
        return role, name, self._place(where, lines)

    def _place(self, where: str, lines: Sequence[str]) -> Place:
        values = {"engine": self.engine, "service": "dcgm-exporter"}
        return where, tuple(line % values for line in lines)
