"""What options accept: functions from text to value.

Each raises ConfigurationError with what is wrong and what is allowed; the caller adds which
option it was and where it was set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from do_dcgm_exporter.errors import ConfigurationError

BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

# All labels that series can have (docs/metrics.md): a second one of that name is invalid.
TAKEN_LABELS = frozenset(
    {"gpu", "UUID", "pci_bus_id", "device", "modelName", "GPU_I_PROFILE", "GPU_I_ID"}
    | {"GPU_CI_ID"}
    | {"nvlink", "nvswitch", "cpu", "cpucore", "hpc_job", "err_code", "err_msg"}
    | {"xid", "clock_event", "window_size_in_ms", "link_status", "peer_gpu"}
    | {"health_watch", "health_error_code", "health_error_severity", "health_error_category"}
    | {"connectx"}
)


def parse_boolean(text: str, *further: str) -> bool:
    """Parse the value of a switch in the environment or the file.

    ``further`` are words that the caller accepts itself; the complaint lists them too.
    """
    try:
        return BOOLEANS[text.lower()]
    except KeyError:
        allowed = ", ".join((*BOOLEANS, *further))
        raise ConfigurationError(f"{text!r} is not one of {allowed}") from None


def milliseconds(lowest: int, highest: int) -> Callable[[str], float]:
    """Return the parser of a duration: milliseconds in the option, seconds in Settings."""

    def parse(text: str) -> float:
        if not re.fullmatch("[0-9]{1,12}", text) or not lowest <= int(text) <= highest:
            raise ConfigurationError(
                f"{text!r} is not a whole number of milliseconds from {lowest} to {highest}"
            )
        return int(text) / 1000

    return parse


class OneOf:
    """The parser of an option that takes one of a few words; ``meaning`` makes its value."""

    def __init__(self, *allowed: str, meaning: Callable[[str], object] = str) -> None:
        self.allowed = allowed
        self._meaning = meaning

    def __call__(self, text: str) -> object:
        """Return the value of ``text``. Raises ConfigurationError."""
        if text not in self.allowed:
            raise ConfigurationError(f"{text!r} is not one of {', '.join(self.allowed)}")
        return self._meaning(text)


def parse_label_name(text: str) -> str:
    """Parse the name of a label that series do not have already."""
    if not re.fullmatch("[a-zA-Z_][a-zA-Z0-9_]*", text) or text.startswith("__"):
        raise ConfigurationError(
            f"{text!r} is not a label name: letters, digits and underscores, no digit first"
        )
    if text in TAKEN_LABELS:
        raise ConfigurationError(f"{text!r} is the name of another label; write for example host")
    return text


def parse_path(text: str) -> Path:
    """Parse a path, which need not exist."""
    if not text:
        raise ConfigurationError("the path is empty")
    return Path(text)


def parse_directory(text: str) -> Path:
    """Parse the path of a directory that exists."""
    # Not pathlib, whose is_dir() raises for a path that is too long or closed to us.
    if not os.path.isdir(text):
        raise ConfigurationError(f"{text!r} is not a directory that can be read")
    return Path(text)


def parse_bindings_directory(text: str) -> Path:
    """Parse the path of a directory with NVIDIA's Python bindings, or a stand-in for them."""
    path = parse_directory(text)
    if not os.path.isfile(path / "dcgm_structs.py"):
        raise ConfigurationError(
            f"{text} does not hold NVIDIA's Python bindings: there is no dcgm_structs.py"
        )
    return path
