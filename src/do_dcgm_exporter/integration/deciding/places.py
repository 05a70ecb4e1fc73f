"""Where a person tells an exporter of the engine, by what it was started by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.systemd import UnitView

# Where Compose says which files describe a container.
CONFIG_FILES = "com.docker.compose.project.config_files"

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
    labels = container.labels
    name = container.name
    if any(label.startswith("io.kubernetes.") for label in labels):
        pod = labels.get("io.kubernetes.pod.name", name)
        space = labels.get("io.kubernetes.pod.namespace", "")
        return Place(f"what describes the pod {space}/{pod}".replace(" /", " "), pod_lines(engine))
    if any(label.startswith("com.hashicorp.nomad.") for label in labels):
        task = labels.get("com.hashicorp.nomad.task_name", name)
        job = labels.get("com.hashicorp.nomad.job_name")
        return Place(
            f"the task {task} in the job {job} of Nomad" if job else f"the task {task} of Nomad",
            ('config { network_mode = "host" }', f'env {{ {REMOTE_VARIABLE} = "{engine}" }}'),
        )
    if any(label.startswith("com.amazonaws.ecs.") for label in labels):
        family = labels.get("com.amazonaws.ecs.task-definition-family", "")
        return Place(
            f"the task definition {family} of ECS".replace("  ", " "),
            (
                '"networkMode": "host"',
                f'"environment": [{{"name": "{REMOTE_VARIABLE}", "value": "{engine}"}}]',
            ),
        )
    if service := labels.get("com.docker.swarm.service.name"):
        command = f"docker service update --env-add {REMOTE_VARIABLE}={engine} {service}"
        return Place(f"the service {service} of Swarm", (command,))
    if service := labels.get("com.docker.compose.service", ""):
        files = labels.get(CONFIG_FILES, "")
        return Place(files or "its file of Compose", compose_lines(service, engine))
    return Place(f"the command that made it: {container.runtime} run", run_options(engine))
