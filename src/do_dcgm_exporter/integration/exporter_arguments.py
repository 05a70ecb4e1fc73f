"""The arguments and variables of NVIDIA's dcgm-exporter that matter here.

It parses them with Go's flag package: one dash or two, ``-x=V`` or ``-x V``, and the last one
wins. A flag beats its variable. The flags are defined in pkg/cmd/app.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

REMOTE_VARIABLE = "DCGM_REMOTE_HOSTENGINE_INFO"
# Part of the names of its program, images and containers.
WORD = re.compile(r"dcgm[-_]exporter")
# Flags without a value; all others have one.
_SWITCHES = frozenset(
    {"debug", "disable-startup-validate", "dump-compression", "dump-enabled", "enable-dcgm-log",
     "enable-exporter-metrics", "enable-gpu-bind-unbind-watch", "enable-pprof", "fake-gpus", "h",
     "help", "k", "kubernetes", "kubernetes-enable-dra", "kubernetes-enable-pod-labels",
     "kubernetes-enable-pod-uid", "kubernetes-virtual-gpus", "n", "no-hostname", "o", "rbmn",
     "replace-blanks-in-model-name", "use-old-namespace", "v", "version", "web-systemd-socket"}
)  # fmt: skip
_DEFAULT_PORT = 9400
_DEFAULT_INTERVAL = 30.0


def remote_engine(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """Return the engine that it is told to connect to, None if it embeds DCGM."""
    value = flag(arguments, ("r", "remote-hostengine-info"))
    return environment.get(REMOTE_VARIABLE) if value is None else value


def listen_address(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port that it serves on; no host means all addresses."""
    text = flag(arguments, ("a", "address")) or environment.get("DCGM_EXPORTER_LISTEN") or ""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else _DEFAULT_PORT


def collect_interval(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    """Return its collection interval in seconds."""
    text = flag(arguments, ("c", "collect-interval")) or environment.get("DCGM_EXPORTER_INTERVAL")
    return int(text) / 1000 if text and text.isdigit() else _DEFAULT_INTERVAL


def serves_tls(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Return whether it has a web configuration, which may demand TLS and passwords."""
    return bool(
        flag(arguments, ("web-config-file",)) or environment.get("DCGM_EXPORTER_WEB_CONFIG_FILE")
    )


def flag(arguments: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the value of a flag with one of these names, None if there is none."""
    return next((value for name, value in reversed(list(flags(arguments))) if name in names), None)


def flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of all flags that the program sees.

    It stops at the first word that is not a flag. A switch takes no value from the next word,
    so anything after ``--kubernetes false`` is ignored.
    """
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if not word.startswith("-") or not name:
            return
        if not equals and name not in _SWITCHES:
            value = next(rest, "")
        yield name, value


def asks_only(arguments: Sequence[str]) -> bool:
    """Return whether it only prints its version or help."""
    return any(name in ("h", "help", "v", "version") for name, _ in flags(arguments))


def is_local(remote: str, ports: Iterable[int]) -> bool:
    """Return whether an engine's address is one of these ports on this host."""
    match = re.fullmatch(r"(?:tcp://)?(localhost|127[.\d]*|\[::1\]|::1)(?::(\d+))?", remote)
    return match is not None and int(match[2] or 5555) in set(ports)
