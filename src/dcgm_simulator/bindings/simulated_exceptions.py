"""What the classes around dcgm_agent raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

Class = TypeVar("Class", bound=type)


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


def lacks(*names: str) -> Callable[[Class], Class]:
    """Return a decorator that gives a class methods it has in NVIDIA's, which say they are not.

    As methods of their own they leave AttributeError to what NVIDIA's class has not either.
    """

    def decorate(owner: Class) -> Class:
        for name in names:
            setattr(owner, name, _refusing(f"{owner.__name__}.{name}"))
        return owner

    return decorate


def _refusing(name: str) -> Callable[..., NoReturn]:
    def refuse(*_arguments: Any, **_named: Any) -> NoReturn:
        raise NotSimulated(f"{name} is not simulated")

    return refuse
