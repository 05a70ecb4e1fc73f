"""What the classes around dcgm_agent raise."""

from __future__ import annotations

from typing import NoReturn


class DcgmException(Exception):
    """A class of pydcgm was used wrongly."""


class NotSimulated(NotImplementedError):
    """NVIDIA's bindings have it, the simulator does not."""


class Absent:
    """A part of a class that is not simulated, and says so whatever is asked of it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> NoReturn:
        """Raise NotSimulated for any method."""
        raise NotSimulated(f"{self._name}.{name} is not simulated")
