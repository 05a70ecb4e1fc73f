"""Commands that run a container: docker, podman and nerdctl, and what hides them."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

_RUNTIMES = frozenset(
    {"ctr", "docker", "docker-compose", "nerdctl", "nvidia-docker", "podman", "podman-compose"}
)
_WORD = re.compile(r"dcgm[-_]exporter")
# What follows the last slash of an image's name: the name itself, a tag, a digest.
_IMAGE = re.compile(r"(?:^|/)[\w.-]*dcgm[-_]exporter[\w.-]*(?:[:@].*)?$")
_COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")

# Options of "docker run" and "podman run" without a value; all others have one.
_SWITCHES = frozenset(
    {
        "--detach", "--disable-content-trust", "--env-host", "--help", "--http-proxy", "--init",
        "--interactive", "--no-healthcheck", "--no-hosts", "--oom-kill-disable", "--privileged",
        "--publish-all", "--quiet", "--read-only", "--replace", "--rm", "--rmi", "--rootfs",
        "--sig-proxy", "--tls-verify", "--tty",
    }
)  # fmt: skip
_SHORT_SWITCHES = frozenset("diqtP")

Option = tuple[str, str]
ReadText = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """A command that starts a container of an exporter.

    ``is_plain`` is whether it is nothing but ``docker run`` that stays in the foreground and
    has the host's network. ``file`` is Compose's, if that describes the container.
    """

    image: str = ""
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    file: str = ""
    is_plain: bool = False


def container_run(
    words: Sequence[str], environment: Mapping[str, str], directory: str, read: ReadText
) -> ContainerRun | None:
    """Return what a command starts as a container, however its runtime is hidden."""
    names = [os.path.basename(word) for word in words]
    place = next((index for index, name in enumerate(names) if name in _RUNTIMES), None)
    if place is None:
        return None
    runtime, rest = names[place], list(words[place + 1 :])
    if runtime.endswith("-compose") or rest[:1] == ["compose"]:
        return _composed(words, directory, read) if {"up", "start"} & set(rest) else None
    if "run" not in rest:
        named = next((word for word in rest if _WORD.search(word)), "")
        return ContainerRun(name=named) if named and "start" in rest else None
    verb = rest.index("run")
    if runtime == "ctr":
        image = next((word for word in rest[verb:] if _IMAGE.search(word)), "")
        # Neither docker nor podman knows what containerd runs by itself.
        return ContainerRun() if image else None
    run = _run(rest[verb + 1 :], environment)
    # An option of docker with a value may be the address of another machine's.
    is_direct = place == 0 and all(word == "container" or "=" in word for word in rest[:verb])
    return replace(run, is_plain=run.is_plain and is_direct) if run else None


def _run(words: Sequence[str], environment: Mapping[str, str]) -> ContainerRun | None:
    options, image, arguments = split_container_run(words)
    if not _IMAGE.search(image):
        return None
    is_detached = _last(options, ("-d", "--detach")) == "true"
    return ContainerRun(
        image,
        own_arguments(arguments),
        dict(_variables(options, environment)),
        _last(options, ("--name",)),
        is_plain=_last(options, ("--network", "--net")) == "host" and not is_detached,
    )


def own_arguments(words: Sequence[str]) -> tuple[str, ...]:
    """Return what follows the exporter's name in a container's command, or all of it."""
    for index, word in enumerate(words[:2]):
        if _WORD.search(os.path.basename(word)) and not word.startswith("-"):
            return tuple(words[index + 1 :])
    return tuple(words)


def _composed(words: Sequence[str], directory: str, read: ReadText) -> ContainerRun | None:
    files = (path for path in _compose_files(words, directory) if _WORD.search(read(path)))
    file = next(files, "")
    return ContainerRun(file=file) if file or any(map(_WORD.search, words)) else None


def _compose_files(words: Sequence[str], directory: str) -> Iterator[str]:
    for option, following in itertools.pairwise(words):
        if option in ("-f", "--file"):
            yield os.path.join(directory, following)
    for word in words:
        if word.startswith("--file="):
            yield os.path.join(directory, word.removeprefix("--file="))
    for name in _COMPOSE_FILES:
        yield os.path.join(directory, name)


def split_container_run(words: Sequence[str]) -> tuple[list[Option], str, Sequence[str]]:
    """Split what follows ``run`` into options with values, the image, and its arguments."""
    options: list[Option] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if not word.startswith("--") and set(word[1:]) <= _SHORT_SWITCHES:
            options += [(f"-{letter}", "true") for letter in word[1:]]
            continue
        if not word.startswith("--") and len(word) > 2:
            name, value = word[:2], word[2:].removeprefix("=")  # -p9400:9400, -eNAME=VALUE
        elif name in _SWITCHES and not equals:
            value = "true"
        elif not equals:
            value = rest.pop(0) if rest else ""
        options.append((name, value))
    return options, rest[0] if rest else "", rest[1:]


def _variables(
    options: Sequence[Option], environment: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    for name, value in options:
        if name in ("-e", "--env"):
            variable, equals, text = value.partition("=")
            if equals:
                yield variable, text
            elif variable in environment:
                yield variable, environment[variable]


def _last(options: Sequence[Option], names: Sequence[str]) -> str:
    return next((value for name, value in reversed(options) if name in names), "")
