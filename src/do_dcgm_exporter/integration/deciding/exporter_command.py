"""What a unit's command does: whether it runs an exporter, how, and told of which engine."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from do_dcgm_exporter.integration.deciding.exporter_arguments import (
    REMOTE_VARIABLE,
    flag,
    own_arguments,
    remote_engine,
)
from do_dcgm_exporter.integration.host import EXPORTER, EXPORTER_WORD
from do_dcgm_exporter.integration.looking.quoting import expanded
from do_dcgm_exporter.integration.looking.systemd import ExecCommand

# Returns the text of a script, nothing of a program.
ReadScript = Callable[[str], str]


class Form(Enum):
    """How a unit runs an exporter."""

    DIRECT = "program"
    SCRIPT = "script"
    CONTAINER = "container run"
    CONTAINER_SCRIPT = "container run by a script"
    CONTAINER_START = "container start"


@dataclass(frozen=True, slots=True)
class ExporterCommand:
    """An exporter's command.

    ``remote`` is the engine it is told of, ``?`` where only that there is one can be seen.
    ``arguments`` are the exporter's own, and ``program`` is its file, as far as they are
    known; ``image`` and ``host_network`` are a container's. ``position`` is that of the
    command among the unit's.
    """

    form: Form
    remote: str | None
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    program: str = ""
    image: str = ""
    container: str = ""
    host_network: bool = False
    position: int = 0


_SHELLS = frozenset({"sh", "bash", "dash", "ash", "busybox", "ksh", "zsh"})
_ENGINES_OF_CONTAINERS = frozenset({"docker", "podman", "nerdctl"})
_WORD = re.compile(EXPORTER_WORD)
_IMAGE = re.compile(r"(?:^|/)dcgm-exporter(?:[:@].*)?$")
_CONTAINER_RUN = re.compile(r"\b(?:docker|podman|nerdctl)\b[^\n]*\brun\b")
_SCRIPT_PATH = re.compile(r"(?<![\w./])/[\w./+@-]+")
_DEEPEST = 3

# Flags of "docker run" and "podman run" without a value; all others have one.
_SWITCHES = frozenset(
    {
        "--detach", "--disable-content-trust", "--env-host", "--help", "--http-proxy", "--init",
        "--interactive", "--no-healthcheck", "--no-hosts", "--oom-kill-disable", "--privileged",
        "--publish-all", "--quiet", "--read-only", "--replace", "--rm", "--rmi", "--rootfs",
        "--sig-proxy", "--tls-verify", "--tty",
    }
)  # fmt: skip
_SHORT_SWITCHES = frozenset("diqtP")


def exporter_command(
    commands: Sequence[ExecCommand], environment: Mapping[str, str], read_script: ReadScript
) -> ExporterCommand | None:
    """Return the exporter that a unit runs; ``environment`` is what its processes get."""
    for position, command in enumerate(commands):
        literal = "no-env-expand" in command.flags
        words = list(command.argv) if literal else expanded(command.argv, environment)
        # argv[0] may be anything: systemd.service(5), "@".
        found = _exporter_in([command.path, *words[1:]], environment, read_script)
        if found is not None:
            return replace(found, position=position)
    return None


def _exporter_in(
    words: list[str], environment: Mapping[str, str], read_script: ReadScript
) -> ExporterCommand | None:
    program = os.path.basename(words[0])
    if program in _ENGINES_OF_CONTAINERS:
        return _container(words[1:], environment)
    if program in _SHELLS and (text := _shell_text(words)):
        return _script(text, environment, read_script)
    names = [os.path.basename(word) for word in words]
    if EXPORTER in names:
        position = names.index(EXPORTER)
        text = read_script(words[position])
        if not _is_shell_script(text):
            # What stands before it may set variables: env(1).
            before = dict(_assignments(words[:position]))
            return ExporterCommand(
                Form.DIRECT,
                remote_engine(words[position + 1 :], {**environment, **before}),
                tuple(words[position + 1 :]),
                {**environment, **before},
                program=words[position],
            )
    texts = [text for word in words[:3] if word.startswith("/") and (text := read_script(word))]
    return next(filter(None, (_script(text, environment, read_script) for text in texts)), None)


def _assignments(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            yield name, value


def _shell_text(words: Sequence[str]) -> str:
    """Return what follows ``-c``, which may be one of several letters."""
    for index, word in enumerate(words[1:-1], 1):
        if re.fullmatch(r"-[a-z]*c", word):
            return words[index + 1]
    return ""


def _is_shell_script(text: str) -> bool:
    first = text.partition("\n")[0].split()
    return text.startswith("#!") and any(os.path.basename(word) in _SHELLS for word in first[:2])


# Scripts


def _script(
    text: str, environment: Mapping[str, str], read_script: ReadScript
) -> ExporterCommand | None:
    text = _substituted(_with_called(text, read_script), environment)
    if not _WORD.search(text):
        return None
    if _CONTAINER_RUN.search(text):
        return ExporterCommand(Form.CONTAINER_SCRIPT, _remote_in_text(text, environment))
    words = _words_after_exporter(text, environment)
    program = next((w for w in _SCRIPT_PATH.findall(text) if os.path.basename(w) == EXPORTER), "")
    return ExporterCommand(
        Form.SCRIPT,
        _remote_in_text(text, environment),
        tuple(words),
        {**environment, **dict(_exports(text))},
        program=program,
    )


def _with_called(text: str, read_script: ReadScript) -> str:
    """Return a script with the scripts it calls, without comments and line breaks in commands."""
    seen: set[str] = set()
    found, level = [text], [text]
    for _ in range(_DEEPEST):
        paths = {path for part in level for path in _SCRIPT_PATH.findall(part)} - seen
        seen |= paths
        level = [text for path in sorted(paths) if (text := read_script(path))]
        found += level
    joined = "\n".join(found).replace("\\\n", " ")
    return re.sub(r"(?m)(?:^|\s)#.*$", "", joined)


def _remote_in_text(text: str, environment: Mapping[str, str]) -> str | None:
    """Return what a script sets, or else its environment.

    ``-r`` means something else to many programs: it counts beside the exporter's name, or
    where an address follows.
    """
    beside = flag(_words_after_exporter(text, environment), ("r", "remote-hostengine-info"))
    if beside is not None:
        return beside or "?"
    for pattern in (
        rf"\b{REMOTE_VARIABLE}[=:]\s*[\"']?([^\s\"']*)",
        r"(?<![\w-])--?remote-hostengine-info[= ]\s*[\"']?([^\s\"']*)",
        r"(?<![\w-])-r[= ]\s*[\"']?((?:[\w.-]+|\[[\da-f:]+\]):\d+|localhost|unix://[^\s\"']+)",
    ):
        if match := re.search(pattern, text):
            return match[1] or "?"
    return environment.get(REMOTE_VARIABLE)


def _words_after_exporter(text: str, environment: Mapping[str, str]) -> list[str]:
    """Return the words behind the exporter's name, with variables put in where they are known."""
    text = _substituted(text, {**environment, **dict(_exports(text))})
    for line in text.splitlines():
        match = re.search(EXPORTER_WORD + r"[\"']?((?:\s+[^\n;&|]*)?)$", line.split("&&")[-1])
        if match and not line.lstrip().startswith(("echo", "[", "test", "command")):
            return [word.strip("\"'") for word in match[1].split()]
    return []


def _substituted(text: str, variables: Mapping[str, str]) -> str:
    """Put variables into a script where they are known."""
    return re.sub(r"\$\{?(\w+)\}?", lambda m: variables.get(m[1], m[0]), text)


def _exports(text: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(
        r"(?m)^\s*(?:export\s+)?([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S*)", text
    ):
        yield match[1], match[2].strip("\"'")


# Containers


def _container(words: Sequence[str], environment: Mapping[str, str]) -> ExporterCommand | None:
    verbs = [word for word in words if not word.startswith("-")][:2]
    if "start" in verbs:
        name = next((word for word in words if _WORD.search(word)), "")
        return ExporterCommand(Form.CONTAINER_START, None, container=name) if name else None
    if "run" not in words:
        return None
    options, image, arguments = split_container_run(words[words.index("run") + 1 :])
    if not _IMAGE.search(image):
        return None
    variables = dict(_container_variables(options, environment))
    own = own_arguments(arguments)
    return ExporterCommand(
        Form.CONTAINER,
        remote_engine(own, variables),
        tuple(own),
        variables,
        image=image,
        container=_last(options, ("--name",)),
        host_network=_last(options, ("--network", "--net")) == "host",
    )


Option = tuple[str, str]


def split_container_run(words: Sequence[str]) -> tuple[list[Option], str, Sequence[str]]:
    """Split what follows ``run`` into options with values, the image, and its arguments."""
    options: list[Option] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2 and not equals:
            # -itd are switches, -p9400:9400 has its value in it.
            name, value = (
                (word, "true") if set(word[1:]) <= _SHORT_SWITCHES else (word[:2], word[2:])
            )
        elif not equals and (name in _SWITCHES or (len(word) == 2 and word[1] in _SHORT_SWITCHES)):
            value = "true"
        elif not equals:
            value = rest.pop(0) if rest else ""
        options.append((name, value))
    return options, rest[0] if rest else "", rest[1:]


def _container_variables(
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
