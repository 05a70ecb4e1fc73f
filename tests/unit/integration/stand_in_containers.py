"""Stands in for docker and podman: containers are entries of the tree's /proc.

They only implement what the tool uses. Commands are logged with those of the stand-in
service manager.
"""

import json
import os
import sys
import time
import uuid

from stand_in_tree import HOME, named, put_process, remove_process

NAME = os.path.basename(sys.argv[0])
CONTAINERS = HOME / f"{NAME}.json"
# Files with the names of containers that exit as clients, and words of commands that fail.
REFUSES = HOME / "containers-that-refuse"
FAILS = HOME / "container-commands-that-fail"
HANGS = HOME / "containers-hang"
SWITCHES = {"--detach", "--privileged", "--rm", "--read-only", "--init"}
IMAGE_ENVIRONMENT = ["PATH=/usr/bin", "NVIDIA_VISIBLE_DEVICES=all"]


def load() -> list:
    return json.loads(CONTAINERS.read_text()) if CONTAINERS.exists() else []


def find(containers: list, name: str) -> dict:
    for container in containers:
        if name in (container["Id"], container["Name"][1:]):
            return container
    sys.exit(f"Error: No such container: {name}")


def parse(words: list) -> tuple:
    options: dict = {}
    while words and words[0].startswith("-"):
        flag, equals, value = words.pop(0).partition("=")
        if not equals:
            value = "" if flag in SWITCHES else words.pop(0)
        options.setdefault(flag, []).append(value)
    return options, words[0], words[1:]


def create(words: list) -> dict:
    options, image, arguments = parse(words)
    name = options["--name"][-1]
    policy, _, tries = options.get("--restart", ["no"])[-1].partition(":")
    ports = {}
    for published in options.get("--publish", ()):
        outside, _, inside = published.rpartition(":")
        ports[f"{inside}/tcp"] = [{"HostIp": "0.0.0.0", "HostPort": outside}]
    return {
        "Id": uuid.uuid4().hex * 2,
        "Name": f"/{name}",
        "Path": "/entrypoint.sh",
        "Args": arguments,
        "Image": f"sha256:{'0' * 64}",
        "Config": {
            "Image": image,
            "Env": [*options.get("--env", ()), *IMAGE_ENVIRONMENT],
            "Cmd": arguments or None,
            "Entrypoint": ["/entrypoint.sh"],
            "Labels": dict(label.partition("=")[::2] for label in options.get("--label", ())),
            "User": "",
            "WorkingDir": "/",
        },
        "HostConfig": {
            "NetworkMode": options.get("--network", ["default"])[-1],
            "PortBindings": ports,
            "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(tries or 0)},
            "AutoRemove": "--rm" in options,
            "CapAdd": options.get("--cap-add", []),
        },
        "NetworkSettings": {"Ports": ports},
        "State": {"Running": False, "Pid": 0},
    }


def start(container: dict) -> None:
    if container["State"]["Running"]:
        return
    environment = dict(entry.partition("=")[::2] for entry in container["Config"]["Env"])
    remote = environment.get("DCGM_REMOTE_HOSTENGINE_INFO", "")
    if remote and named(container["Name"][1:], REFUSES):
        return
    port = environment.get("DCGM_EXPORTER_LISTEN", ":9400").rpartition(":")[2]
    pid = 100000 + int(container["Id"][:4], 16)
    argv = ["/usr/bin/dcgm-exporter", *container["Args"], "-a", f":{port}"]
    scope = f"{'libpod' if NAME == 'podman' else 'docker'}-{container['Id']}.scope"
    put_process(pid, scope, argv, environment, remote)
    container["State"] = {"Running": True, "Pid": pid}


def stop(container: dict) -> None:
    if container["State"]["Running"]:
        remove_process(container["State"]["Pid"])
        container["State"] = {"Running": False, "Pid": 0}


def inspect(containers: list, kind: str, names: list) -> list:
    if kind == "image":
        config = {"Env": IMAGE_ENVIRONMENT, "Entrypoint": ["/entrypoint.sh"], "Cmd": None,
                  "WorkingDir": "/"}  # fmt: skip
        return [{"Config": config}]
    return [find(containers, name) for name in names]


def main() -> None:
    verb, *words = sys.argv[1:]
    HOME.mkdir(exist_ok=True)
    with (HOME / "asked").open("a") as asked:
        asked.write(json.dumps([NAME, verb, *words]) + "\n")
    if HANGS.exists():
        time.sleep(3600)
    if named(verb, FAILS):
        sys.exit(f"Error response from daemon: no {verb} today")
    containers = load()
    plain = [word for word in words if not word.startswith("-")]
    if verb == "ps":
        for each in filter(lambda one: one["State"]["Running"], containers):
            print(each["Id"])
    elif verb == "inspect":
        print(json.dumps(inspect(containers, words[0].partition("=")[2], plain)))
    elif verb == "run":
        made = create(words)
        if any(each["Name"] == made["Name"] for each in containers):
            sys.exit("Error: Conflict. The container name is already in use")
        containers.append(made)
        start(made)
    elif verb == "rename":
        find(containers, plain[0])["Name"] = f"/{plain[1]}"
    elif verb == "update":
        name, _, tries = words[0].partition("=")[2].partition(":")
        policy = {"Name": name, "MaximumRetryCount": int(tries or 0)}
        find(containers, plain[0])["HostConfig"]["RestartPolicy"] = policy
    elif verb == "start":
        start(find(containers, plain[0]))
    elif verb in ("stop", "rm"):
        container = find(containers, plain[0])
        stop(container)
        if verb == "rm":
            containers.remove(container)
    new = CONTAINERS.with_suffix(".new")
    new.write_text(json.dumps(containers))
    new.replace(CONTAINERS)
