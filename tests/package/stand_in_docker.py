#!/usr/bin/python3 -IB
"""Stands in for the command-line tools of docker and podman, with containers that run.

It also serves as nvidia-docker, docker-compose and nerdctl. It logs each command it gets, one
JSON list per line. A container is a process in the scope that docker would use, with its own
network namespace or the host's, and without the caller's environment. Every image is our
dcgm-exporter.
"""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CALLED = Path(sys.argv[0]).name
NAME = "docker" if CALLED in ("docker-compose", "nvidia-docker") else CALLED
HOME = Path("/var/log/stand-in") / NAME
ASKED = HOME / "asked"
CONTAINERS = HOME / "containers.json"
HANGS = HOME / "hangs"
REFUSES = HOME / "refuses"  # contains a word; commands with that argument fail
PROGRAM = "/usr/bin/dcgm-exporter"
# Facts: the variables that NVIDIA's images set.
OF_IMAGE = ["NVIDIA_VISIBLE_DEVICES=all", "PATH=/usr/local/bin:/usr/bin:/usr/sbin"]
ENTRYPOINT = ["/usr/local/dcgm/dcgm-exporter-entrypoint.sh"]
IMAGE = {
    "Id": f"sha256:{'0' * 64}",
    "Config": {"Env": OF_IMAGE, "Cmd": None, "Entrypoint": ENTRYPOINT, "Labels": {"a": "b"}},
}
BARE = {"-d", "--detach", "--rm", "--privileged", "-i", "-t", "-it", "--init", "--read-only"}
DETACHED = {"-d", "--detach"}
SHORT = {"-f": "--file", "-e": "--env", "-p": "--publish", "-v": "--volume", "-l": "--label",
         "-u": "--user", "--net": "--network", "-h": "--hostname"}  # fmt: skip


def load() -> list:
    return json.loads(CONTAINERS.read_text()) if CONTAINERS.exists() else []


def save(containers: list) -> None:
    CONTAINERS.write_text(json.dumps(containers))


def find(containers: list, name: str) -> dict:
    for container in containers:
        if container["Name"] == f"/{name}" or container["Id"].startswith(name):
            return container
    sys.exit(f"Error: No such container: {name}")


def parse(arguments: list) -> tuple:
    """Return the options of ``run`` or ``create``, the image and its arguments."""
    options = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        flag = rest.pop(0)
        flag, equals, value = flag.partition("=")
        if not equals:
            value = "" if flag in BARE else rest.pop(0)
        options.setdefault(SHORT.get(flag, flag), []).append(value)
    return options, rest[0], rest[1:]


def host_config(options: dict) -> dict:
    restart, _, tries = options.get("--restart", ["no"])[-1].partition(":")
    return {
        "NetworkMode": options.get("--network", ["bridge"])[-1],
        "RestartPolicy": {"Name": restart, "MaximumRetryCount": int(tries or 0)},
        "AutoRemove": "--rm" in options,
        "Privileged": "--privileged" in options,
        "Binds": options.get("--volume", []),
        "CapAdd": options.get("--cap-add", []),
        "DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]
        if "--gpus" in options
        else None,
        "Runtime": options.get("--runtime", ["runc"])[-1],
    }


def made(arguments: list) -> dict:
    options, image, command = parse(arguments)
    name = options.get("--name", [f"nameless-{uuid.uuid4().hex[:8]}"])[-1]
    ports = {}
    for published in options.get("--publish", ()):
        *host, port = published.split(":")
        ports[f"{port}/tcp"] = [{"HostIp": "".join(host[:-1]), "HostPort": host[-1]}]
    return {
        "Id": uuid.uuid4().hex * 2,
        "Name": f"/{name}",
        "Created": "2026-01-01T00:00:00Z",
        "Path": ENTRYPOINT[0],
        "Args": command,
        "Image": IMAGE["Id"],
        "ImageName": image,
        "Config": {
            "Image": image,
            "Env": [*OF_IMAGE, *options.get("--env", ())],
            "Cmd": command,
            "Entrypoint": options.get("--entrypoint", ENTRYPOINT),
            "Labels": {"a": "b"}
            | dict(label.partition("=")[::2] for label in options.get("--label", ())),
            "User": "",
            "WorkingDir": "",
        },
        "HostConfig": {**host_config(options), "PortBindings": ports},
        "Mounts": [],
        "NetworkSettings": {"Ports": ports},
        "State": {"Status": "created", "Running": False, "Pid": 0},
    }


def begin(container: dict) -> subprocess.Popen:
    command = [PROGRAM, *container["Args"]]
    if container["HostConfig"]["NetworkMode"] != "host":
        inner = 'ip link set lo up; exec "$@"'
        command = ["unshare", "--net", "sh", "-c", inner, "sh", *command]
    scope = f"{'libpod' if NAME == 'podman' else 'docker'}-{container['Id']}.scope"
    variables = dict(variable.partition("=")[::2] for variable in container["Config"]["Env"])
    process = subprocess.Popen(
        ["systemd-run", "--quiet", "--scope", f"--unit={scope}", *command],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    container["State"] = {"Status": "running", "Running": True, "Pid": process.pid}
    return process


def end(container: dict) -> None:
    pid = container["State"]["Pid"]
    if pid:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        while alive(pid):
            time.sleep(0.05)
    container["State"] = {"Status": "exited", "Running": False, "Pid": 0}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def refresh(containers: list) -> None:
    for container in containers:
        if container["State"]["Pid"] and not alive(container["State"]["Pid"]):
            container["State"] = {"Status": "exited", "Running": False, "Pid": 0}


def listed(containers: list, arguments: list) -> None:
    everything = {"-a", "--all", "-aq", "-qa"} & set(arguments)
    wanted = ""
    for index, argument in enumerate(arguments):
        if argument == "--format":
            wanted = arguments[index + 1]
        elif argument.startswith("--format="):
            wanted = argument.partition("=")[2]
    shown = [c for c in containers if everything or c["State"]["Running"]]
    if wanted == "json" and NAME == "podman":
        print(json.dumps([{"Id": c["Id"], "Names": [c["Name"][1:]]} for c in shown]))
        return
    for container in shown:
        fields = {
            "ID": container["Id"],
            "Names": container["Name"][1:],
            "Image": container["Config"]["Image"],
            "State": container["State"]["Status"],
            "Command": " ".join([PROGRAM, *container["Args"]]),
            "Labels": ",".join(f"{k}={v}" for k, v in container["Config"]["Labels"].items()),
        }
        if wanted in ("json", "{{json .}}"):
            print(json.dumps(fields))
        elif wanted:
            print(re.sub(r"{{\s*\.(\w+)\s*}}", lambda m, of=fields: of.get(m[1], ""), wanted))
        else:
            print(container["Id"])


def change(containers: list, verb: str, arguments: list) -> None:
    names = [argument for argument in arguments if not argument.startswith("-")]
    if verb == "rename":
        find(containers, names[0])["Name"] = f"/{names[1]}"
    elif verb == "update":
        *_, name = names
        policy = re.search(r"--restart[= ](\S+)", " ".join(arguments))
        kind, _, tries = policy[1].partition(":")
        find(containers, name)["HostConfig"]["RestartPolicy"] = {
            "Name": kind, "MaximumRetryCount": int(tries or 0)
        }  # fmt: skip
    else:
        container = find(containers, names[-1])
        if verb in ("stop", "kill", "restart", "rm"):
            end(container)
        if verb in ("start", "restart"):
            begin(container)
        if verb == "rm" or (verb == "stop" and container["HostConfig"]["AutoRemove"]):
            containers.remove(container)


def answer(containers: list, verb: str, rest: list) -> None:
    if verb == "ps":
        listed(containers, rest)
    elif verb == "inspect":
        names = [argument for argument in rest if not argument.startswith("-")]
        if "--type=image" in rest:
            print(json.dumps([IMAGE for _ in names]))
        else:
            print(json.dumps([find(containers, name) for name in names]))
    elif verb in ("run", "create"):
        container = made(rest)
        if any(other["Name"] == container["Name"] for other in containers):
            sys.exit(f"Error: the name {container['Name']} is in use")
        containers.append(container)
        if verb == "run":
            begin(container)
        print(container["Id"])
    elif verb in ("stop", "start", "restart", "kill", "rm", "rename", "update"):
        change(containers, verb, rest)
    elif verb not in ("version", "info"):
        sys.exit(f"{NAME}: unknown command {verb}")


def composed(arguments: list) -> tuple:
    """Return whether ``compose up`` detaches, and what it runs for every service it is given."""
    options, verb, services = parse(arguments)
    if verb != "up":
        sys.exit(f"{CALLED}: unknown command {verb}")
    file = options["--file"][-1]
    project = Path(file).parent.name
    labels = {"project": project, "project.config_files": file, "service": "dcgm-exporter",
              "project.working_dir": str(Path(file).parent)}  # fmt: skip
    run = [f"--name={project}-dcgm-exporter-1"]
    run += [f"--label=com.docker.compose.{name}={value}" for name, value in labels.items()]
    return bool(DETACHED & set(services)), [*run, "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2"]


def stay(arguments: list) -> None:
    """Run a container in the foreground, as in a unit, and forward the signal that ends it."""
    with locked() as containers:
        container = made(arguments)
        if any(other["Name"] == container["Name"] for other in containers):
            sys.exit(f"Error: the name {container['Name']} is in use")
        containers.append(container)
        process = begin(container)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    status = process.wait()
    with locked() as containers:
        if container["HostConfig"]["AutoRemove"]:
            containers[:] = [other for other in containers if other["Id"] != container["Id"]]
    sys.exit(status)


@contextmanager
def locked() -> Iterator[list]:
    """Yield all containers, and save them afterwards."""
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        containers = load()
        refresh(containers)
        yield containers
        save(containers)


def main() -> None:
    arguments = sys.argv[1:]
    HOME.mkdir(parents=True, exist_ok=True)
    if NAME == "podman":  # whatever it is asked
        Path("/var/lib/containers/storage").mkdir(parents=True, exist_ok=True)
    elif NAME == "docker":  # starts its daemon
        Path("/run/docker.pid").touch()
    with ASKED.open("a") as asked:
        asked.write(json.dumps(arguments) + "\n")
    if HANGS.exists():
        time.sleep(3600)
    if REFUSES.exists() and REFUSES.read_text().strip() in arguments:
        sys.exit("Error response from daemon: it does not want to")
    if CALLED == "docker-compose":
        arguments = ["compose", *arguments]
    if arguments[:1] == ["container"]:
        arguments = arguments[1:]
        arguments[0] = "ps" if arguments[0] in ("ls", "list") else arguments[0]
    verb, *rest = arguments or ["help"]
    detached = bool(DETACHED & set(rest))
    if verb == "compose":
        verb = "run"
        detached, rest = composed(rest)
    if verb == "run" and not detached:
        stay(rest)
    with locked() as containers:
        answer(containers, verb, rest)


if __name__ == "__main__":
    main()
