"""Where a person tells an exporter of the engine, by what it was started by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.systemd import UnitView

# Where Compose says which files describe a container.
CONFIG_FILES = "com.docker.compose.project.config_files"
# How the labels begin that makers of containers leave. Swarm's may have one of Compose, too.
_KUBERNETES, _NOMAD, _ECS = "io.kubernetes.", "com.hashicorp.nomad.", "com.amazonaws.ecs."
_SWARM, _COMPOSE = "com.docker.swarm.service.name", "com.docker.compose.service"
_MAKERS = (_KUBERNETES, _NOMAD, _ECS, _SWARM, _COMPOSE)

# Where those that start other people's programs are told of them.
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


@dataclass(frozen=True, slots=True)
class Place:
    """A file, or what a person knows it by, and the lines to write there."""

    place: str
    lines: tuple[str, ...]


def place_of_unit(view: UnitView, script: str, engine: str) -> Place:
    """Return where a unit's exporter is set up: a script, a Quadlet file, or the unit itself."""
    if script:
        return Place(script, (f"export {REMOTE_VARIABLE}={engine}",))
    variable = f"Environment={REMOTE_VARIABLE}={engine}"
    if view.source_path.endswith(".container"):
        return Place(view.source_path, ("[Container]", "Network=host", variable))
    return Place(view.source_path or view.fragment, ("[Service]", variable))


def place_in_users_unit(engine: str) -> Place:
    """Return where a unit of a user's manager is set up."""
    lines = ("[Service]", f"Environment={REMOTE_VARIABLE}={engine}")
    return Place("that user's unit: systemctl --user edit", lines)


def place_of_child(view: UnitView, script: str, engine: str) -> Place:
    """Return where an exporter among the processes of another unit is set up."""
    if view.name in _OF_UNITS:
        return Place(_OF_UNITS[view.name], arguments(engine))
    if script:
        return place_of_unit(view, script, engine)
    return Place(view.source_path or view.fragment, arguments(engine))


def arguments(engine: str) -> tuple[str, ...]:
    """Return what to add to a command line."""
    return (f"dcgm-exporter -r {engine}  # and its other options",)


def compose_lines(service: str, engine: str) -> tuple[str, ...]:
    """Return what to add to a file of Compose."""
    return (
        "services:",
        f"  {service}:",
        "    network_mode: host",
        "    environment:",
        f"      {REMOTE_VARIABLE}: {engine}",
    )


def run_options(engine: str) -> tuple[str, ...]:
    """Return what to add to ``docker run``."""
    return (f"--network host -e {REMOTE_VARIABLE}={engine}",)


def pod_lines(engine: str) -> tuple[str, ...]:
    """Return what to add to the description of a pod."""
    return (
        "hostNetwork: true",
        "containers:",
        "- env:",
        f"  - name: {REMOTE_VARIABLE}",
        f"    value: {engine}",
    )


def place_of_container(container: Container, engine: str) -> Place:
    """Return where a container is described, by the labels that its maker leaves."""
    labels, name = container.labels, container.name
    maker = next((made for made in _MAKERS if any(label.startswith(made) for label in labels)), "")
    if maker == _KUBERNETES:
        pod = labels.get("io.kubernetes.pod.name", name)
        return Place(f"what describes the pod {pod}", pod_lines(engine))
    if maker == _NOMAD:
        task = labels.get("com.hashicorp.nomad.task_name", name)
        job = labels.get("com.hashicorp.nomad.job_name", "")
        lines = ('config { network_mode = "host" }', f'env {{ {REMOTE_VARIABLE} = "{engine}" }}')
        return Place(f"the job {job} of Nomad, task {task}".replace(" job  ", " job "), lines)
    if maker == _ECS:
        family = labels.get("com.amazonaws.ecs.task-definition-family", name)
        variable = f'{{"name": "{REMOTE_VARIABLE}", "value": "{engine}"}}'
        lines = ('"networkMode": "host"', f'"environment": [{variable}]')
        return Place(f"the task definition of ECS, {family}", lines)
    if maker == _SWARM:
        command = f"docker service update --env-add {REMOTE_VARIABLE}={engine} {labels[_SWARM]}"
        return Place(f"the service {labels[_SWARM]} of Swarm", (command,))
    if maker == _COMPOSE:
        files = labels.get(CONFIG_FILES, "") or "its file of Compose"
        return Place(files, compose_lines(labels[_COMPOSE], engine))
    return Place(f"the command that made it: {container.runtime} run", run_options(engine))
