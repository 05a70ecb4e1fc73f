"""Commands that run a container: docker, podman and nerdctl, and what hides them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form
from do_dcgm_exporter.integration.deciding.wrapper_script import Call, ReadText
from do_dcgm_exporter.integration.exporter_arguments import WORD

_RUNTIMES = frozenset(
    {"ctr", "docker", "docker-compose", "nerdctl", "nvidia-docker", "podman", "podman-compose"}
)
# What follows the last slash of an image's name: the name itself, a tag, a digest.
_IMAGE = re.compile(r"(?:^|/)[\w.-]*dcgm[-_]exporter[\w.-]*(?:[:@].*)?$")
_COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
# Options of "run" without a value; all others have one.
_SWITCHES = frozenset(
    {"--detach", "--disable-content-trust", "--env-host", "--help", "--http-proxy", "--init",
     "--interactive", "--net-host", "--no-healthcheck", "--no-hosts", "--oom-kill-disable",
     "--privileged", "--publish-all", "--quiet", "--read-only", "--replace", "--rm", "--rmi",
     "--rootfs", "--sig-proxy", "--tls-verify", "--tty"}
)  # fmt: skip
# -it, -p 9400:9400, -p9400:9400, -dp 9400:9400, -e=NAME=VALUE
_SHORT = re.compile(r"-([diqtP]*)(\w?)=?(.*)", re.DOTALL)

_UNKNOWN = ExporterCommand(Form.CONTAINER)


def container_run(call: Call, read: ReadText) -> ExporterCommand | None:
    """Return the exporter that a command starts in a container, however its runtime is hidden."""
    names = [os.path.basename(word) for word in call.words]
    place = next((index for index, name in enumerate(names) if name in _RUNTIMES), None)
    if place is None:
        return None
    runtime, rest = call.words[place], call.words[place + 1 :]
    if names[place].endswith("-compose") or rest[:1] == ("compose",):
        return _composed(rest, call.directory, read) if {"up", "start"} & set(rest) else None
    if "run" not in rest:
        named = next((word for word in rest if WORD.search(word)), "")
        is_started = named and "start" in rest
        return replace(_UNKNOWN, container=named) if is_started else None
    verb = rest.index("run")
    # An option of docker with a value may be the address of another machine's.
    is_direct = place == 0 and all(word == "container" or "=" in word for word in rest[:verb])
    return _run(runtime, rest[verb + 1 :], call.environment, is_direct)


def _composed(words: Sequence[str], directory: str, read: ReadText) -> ExporterCommand | None:
    given = [file for option, file in pairwise(words) if option in ("-f", "--file")]
    given += [word.removeprefix("--file=") for word in words if word.startswith("--file=")]
    paths = [os.path.join(directory, file) for file in given or _COMPOSE_FILES]
    file = next((path for path in paths if WORD.search(read(path))), "")
    is_exporter = file or any(map(WORD.search, words))
    return replace(_UNKNOWN, compose_file=file) if is_exporter else None


def _run(
    runtime: str, words: Sequence[str], environment: Mapping[str, str], is_direct: bool
) -> ExporterCommand | None:
    options, rest = _split(words)
    if not rest or not _IMAGE.search(rest[0]):
        return None
    image, *arguments = rest
    for word in arguments[:2]:
        if WORD.search(os.path.basename(word)) and not word.startswith("-"):
            arguments = arguments[arguments.index(word) + 1 :]  # what it is called with
            break
    variables = {}
    for option, value in options:
        variable, equals, text = value.partition("=")
        if option in ("-e", "--env") and (equals or variable in environment):
            variables[variable] = text if equals else environment[variable]
    last = dict(options)
    name = last.get("--name", "")
    has_hosts_network = "host" in (last.get("--network"), last.get("--net"))
    is_detached = "true" in (last.get("-d"), last.get("--detach"))
    is_plain = is_direct and has_hosts_network and not is_detached
    return ExporterCommand(
        Form.CONTAINER, tuple(arguments), variables, runtime, image, name, is_plain=is_plain
    )


def _split(words: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split what follows ``run`` into options with values, and the image with its arguments."""
    options, rest = [], list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if word.startswith("--"):
            if not equals:
                value = "true" if name in _SWITCHES or not rest else rest.pop(0)
            options.append((name, value))
        elif match := _SHORT.fullmatch(word):
            options += [(f"-{letter}", "true") for letter in match[1]]
            if match[2]:
                options.append((f"-{match[2]}", match[3] or (rest.pop(0) if rest else "")))
    return options, rest
