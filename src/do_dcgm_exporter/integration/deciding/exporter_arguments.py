"""The arguments and variables of NVIDIA's dcgm-exporter that matter here.

It reads its arguments with Go's flag package: one dash or two, ``-x=V`` or ``-x V``, and
the last one counts. A flag beats its variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from do_dcgm_exporter.integration.host import EXPORTER

REMOTE_VARIABLE = "DCGM_REMOTE_HOSTENGINE_INFO"
LISTEN_VARIABLE = "DCGM_EXPORTER_LISTEN"
_INTERVAL_VARIABLE = "DCGM_EXPORTER_INTERVAL"
_REMOTE = ("r", "remote-hostengine-info")
LISTEN_FLAGS = ("a", "address")
_INTERVAL = ("c", "collect-interval")
_WEB = ("web-config-file",)

DEFAULT_PORT = 9400
_DEFAULT_INTERVAL = 30.0


def remote_engine(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the engine that it is told to connect to, None if it will run its own."""
    value = flag(arguments, _REMOTE)
    return environment.get(REMOTE_VARIABLE) if value is None else value


def listen_address(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int]:
    """Return host and port that it serves on; no host means all."""
    text = flag(arguments, LISTEN_FLAGS) or environment.get(LISTEN_VARIABLE) or ""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else DEFAULT_PORT


def collect_interval(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return its interval in seconds."""
    text = flag(arguments, _INTERVAL) or environment.get(_INTERVAL_VARIABLE) or ""
    return int(text) / 1000 if text.isdigit() else _DEFAULT_INTERVAL


def serves_tls(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether it has a web configuration, which may ask for TLS and passwords."""
    return bool(flag(arguments, _WEB) or environment.get("DCGM_EXPORTER_WEB_CONFIG_FILE"))


def flag(arguments: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the value of a flag with one of these names, None if it is not there."""
    found = None
    for index, word in enumerate(arguments):
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if name.startswith("-") and name.lstrip("-") in names and not name.startswith("---"):
            following = arguments[index + 1] if index + 1 < len(arguments) else ""
            found = value if equals else following
    return found


def own_arguments(words: Sequence[str]) -> Sequence[str]:
    """Return what follows the exporter's name in a command line."""
    names = [os.path.basename(word) for word in words]
    return words[names.index(EXPORTER) + 1 :] if EXPORTER in names else words


def is_local(remote: str, ports: Iterable[int]) -> bool:
    """Whether an engine's address leads to one of these ports of this host."""
    match = re.fullmatch(r"(?:tcp://)?(localhost|127[.\d]*|\[::1\]|::1)(?::(\d+))?", remote)
    return match is not None and int(match[2] or 5555) in set(ports)
