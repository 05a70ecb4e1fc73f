"""The command that makes a container anew as a client of the engine, from what is told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.exporter_arguments import (
    LISTEN_FLAGS,
    LISTEN_VARIABLE,
    REMOTE_VARIABLE,
    flag,
    listen_address,
)
from do_dcgm_exporter.integration.looking.containers import COPY_LABEL, Container

KEPT_SUFFIX = ".before-do-dcgm-exporter"

# Networks in which nobody finds another container by its name.
_NAMELESS_NETWORKS = ("default", "bridge", "podman", "slirp4netns", "pasta")

# HostConfig key → flag, for settings with one value, and that value if nobody sets it.
_VALUES: Mapping[str, tuple[str, tuple[object, ...]]] = {
    "Runtime": ("--runtime", ("runc", "crun", "oci")),
    "ShmSize": ("--shm-size", (67108864, 65536000)),
    "PidMode": ("--pid", ("private",)),
    "IpcMode": ("--ipc", ("private", "shareable")),
    "UsernsMode": ("--userns", ()),
    "Memory": ("--memory", ()),
    "MemorySwap": ("--memory-swap", (-1,)),
    "CpusetCpus": ("--cpuset-cpus", ()),
    "CgroupParent": ("--cgroup-parent", ("user.slice", "system.slice", "machine.slice")),
    "OomScoreAdj": ("--oom-score-adj", ()),
}
_LISTS = {
    "Binds": "--volume",
    "CapAdd": "--cap-add",
    "CapDrop": "--cap-drop",
    "SecurityOpt": "--security-opt",
    "GroupAdd": "--group-add",
    "ExtraHosts": "--add-host",
}
_SWITCHES = {"Privileged": "--privileged", "ReadonlyRootfs": "--read-only", "Init": "--init"}
# What would be lost; nobody gives these to an exporter.
_NOT_CARRIED_OVER = (
    "Links", "VolumesFrom", "DeviceCgroupRules", "StorageOpt", "Sysctls", "CpuShares",
    "CpuQuota", "BlkioWeight", "CpusetMems",
)  # fmt: skip


class CannotCopy(ExporterError):
    """Raised when a container has something that a copy in the host's network would not have."""


def kept_name(name: str) -> str:
    """Return the name under which an original is kept."""
    return name + KEPT_SUFFIX


def restart_policy(container: Container) -> str:
    """Return the restart policy, as ``--restart`` takes it."""
    policy = _host_config(container).get("RestartPolicy") or {}
    name, tries = str(policy.get("Name") or "no"), int(policy.get("MaximumRetryCount") or 0)
    return f"{name}:{tries}" if name == "on-failure" and tries else name


def new_address(container: Container) -> tuple[str, int]:
    """Return host and port that the copy serves on: those that the original is published on.

    Raises CannotCopy.
    """
    host, port = listen_address(container.arguments, container.environment)
    network = str(_host_config(container).get("NetworkMode") or "default")
    if network == "host":
        return host, port
    if network.partition(":")[0] not in _NAMELESS_NETWORKS:
        raise CannotCopy(f"others may reach it by its name in the network {network}")
    published = (container.inspected.get("NetworkSettings") or {}).get("Ports") or {}
    bindings = published.get(f"{port}/tcp") or (
        (_host_config(container).get("PortBindings") or {}).get(f"{port}/tcp")
    )
    if not bindings or not str(bindings[0].get("HostPort") or "").isdigit():
        raise CannotCopy(f"its port {port} is not published")
    address = str(bindings[0].get("HostIp") or "")
    return "" if address in ("0.0.0.0", "::") else address, int(bindings[0]["HostPort"])


def commands(container: Container, engine: str) -> list[list[str]]:
    """Return the commands that put a copy in the place of a container. Raises CannotCopy."""
    name, program = container.name, container.engine
    policy = restart_policy(container)
    update = [[program, "update", "--restart=no", name]] if policy != "no" else []
    return [
        [program, "stop", name],
        *update,
        [program, "rename", name, kept_name(name)],
        run_command(container, engine),
    ]


def run_command(container: Container, engine: str) -> list[str]:
    """Return the command that starts the copy. Raises CannotCopy."""
    host_config, config = _host_config(container), container.inspected.get("Config") or {}
    _refuse_what_would_be_lost(host_config)
    of_image = container.image.get("Config") or {}
    listen, arguments = _listening(container)
    environment = {**_own_variables(config, of_image), **listen, REMOTE_VARIABLE: engine}
    labels = _without(config.get("Labels") or {}, of_image.get("Labels") or {})
    options = [
        "--name", container.name,
        "--network", "host",
        *_repeated("--env", (f"{key}={value}" for key, value in environment.items())),
        *_repeated("--label", (f"{key}={value}" for key, value in labels.items())),
        "--label", f"{COPY_LABEL}={container.id}",
        *_host_options(host_config),
        *_config_options(container, config, of_image),
    ]  # fmt: skip
    entrypoint = config.get("Entrypoint")
    if entrypoint and entrypoint != of_image.get("Entrypoint"):
        first, *rest = [entrypoint] if isinstance(entrypoint, str) else entrypoint
        options += ["--entrypoint", first]
        arguments = [*rest, *arguments]
    return [container.engine, "run", "--detach", *options, container.image_name, *arguments]


def _host_config(container: Container) -> Mapping[str, Any]:
    return container.inspected.get("HostConfig") or {}


def _refuse_what_would_be_lost(host_config: Mapping[str, Any]) -> None:
    if host_config.get("AutoRemove"):
        raise CannotCopy("it is removed once it is stopped (--rm)")
    for key in _NOT_CARRIED_OVER:
        if host_config.get(key):
            raise CannotCopy(f"its setting {key} would be lost")


def _listening(container: Container) -> tuple[dict[str, str], list[str]]:
    """Return variables and arguments that make the copy listen on its new address."""
    config = container.inspected.get("Config") or {}
    of_image = (container.image.get("Config") or {}).get("Cmd")
    arguments = list(config.get("Cmd") or ()) if config.get("Cmd") != of_image else []
    host, port = new_address(container)
    if (host, port) == listen_address(container.arguments, container.environment):
        return {}, arguments
    address = f"{host}:{port}"
    if flag(arguments, LISTEN_FLAGS) is not None:
        return {}, [*arguments, "--address", address]  # the last one counts
    return {LISTEN_VARIABLE: address}, arguments


def _own_variables(config: Mapping[str, Any], of_image: Mapping[str, Any]) -> dict[str, str]:
    inherited = set(of_image.get("Env") or ())
    own = [entry for entry in config.get("Env") or () if entry not in inherited]
    return {
        name: value
        for name, _, value in (entry.partition("=") for entry in own)
        if name not in ("PATH", "HOSTNAME", "container", "TERM", "HOME")
    }


def _without(own: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in own.items() if inherited.get(key) != value}


def _host_options(host_config: Mapping[str, Any]) -> Iterator[str]:
    policy = host_config.get("RestartPolicy") or {}
    if policy.get("Name") and policy["Name"] != "no":
        tries = int(policy.get("MaximumRetryCount") or 0)
        yield from ("--restart", f"{policy['Name']}:{tries}" if tries else str(policy["Name"]))
    for key, switch in _SWITCHES.items():
        if host_config.get(key):
            yield switch
    for key, option in _LISTS.items():
        yield from _repeated(option, host_config.get(key) or ())
    for key, (option, usual) in _VALUES.items():
        value = host_config.get(key)
        if value and value not in usual:
            yield from (option, str(value))
    if host_config.get("NanoCpus"):
        yield from ("--cpus", f"{host_config['NanoCpus'] / 1e9:g}")
    for path, options in (host_config.get("Tmpfs") or {}).items():
        yield from ("--tmpfs", f"{path}:{options}" if options else path)
    yield from _gpus(host_config.get("DeviceRequests") or ())
    for device in host_config.get("Devices") or ():
        inside = device.get("PathInContainer") or device["PathOnHost"]
        permissions = device.get("CgroupPermissions") or "rwm"
        yield from ("--device", f"{device['PathOnHost']}:{inside}:{permissions}")
    for limit in host_config.get("Ulimits") or ():
        name = str(limit["Name"]).removeprefix("RLIMIT_").lower()
        yield from ("--ulimit", f"{name}={limit['Soft']}:{limit['Hard']}")
    yield from _logging(host_config.get("LogConfig") or {})


def _gpus(requests: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for request in requests:
        devices, count = request.get("DeviceIDs") or (), request.get("Count")
        if devices:
            # docker reads the value as CSV: several devices need quotes.
            yield from ("--gpus", f'"device={",".join(devices)}"')
        else:
            yield from ("--gpus", "all" if count in (-1, None) else str(count))


def _logging(log: Mapping[str, Any]) -> Iterator[str]:
    driver, options = log.get("Type"), log.get("Config") or {}
    if driver and (options or driver not in ("json-file", "journald", "k8s-file")):
        yield from ("--log-driver", str(driver))
        yield from _repeated("--log-opt", (f"{key}={value}" for key, value in options.items()))


def _config_options(
    container: Container, config: Mapping[str, Any], of_image: Mapping[str, Any]
) -> Iterator[str]:
    for key, option in (("User", "--user"), ("WorkingDir", "--workdir")):
        if config.get(key) and config[key] != of_image.get(key):
            yield from (option, str(config[key]))
    hostname = str(config.get("Hostname") or "")
    if hostname and not container.id.startswith(hostname):
        yield from ("--hostname", hostname)
    for mount in _host_config(container).get("Mounts") or ():
        parts = [f"type={mount.get('Type', 'bind')}", f"target={mount['Target']}"]
        parts += [f"source={mount['Source']}"] if mount.get("Source") else []
        parts += ["readonly"] if mount.get("ReadOnly") else []
        yield from ("--mount", ",".join(parts))


def _repeated(option: str, values: Iterable[object]) -> list[str]:
    return [word for value in values for word in (option, str(value))]
