"""How the functions of the simulated dcgm_agent make their calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import dcgm_structs
from simulated_library import LIBRARY, number

from dcgm_simulator.codes import StatusError
from dcgm_simulator.wire import Function

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def raising(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Turn a failed call into the DCGMError NVIDIA's bindings raise."""

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except StatusError as error:
            status = int(error.status)
        raise dcgm_structs.DCGMError(status)

    return call


def ask(handle: Any, function: Function, asked: Any = None) -> Any:
    """Make a call and return its answer.

    Raises StatusError.
    """
    return LIBRARY.call(number(handle), function, asked)


def check_version(version: Any, expected: Any) -> None:
    """Refuse a structure of another version than the imitated release has.

    Raises StatusError.
    """
    if version != expected:
        raise StatusError(dcgm_structs.DCGM_ST_VER_MISMATCH)


def text(value: Any) -> str:
    """Return a string that may have been given as bytes."""
    return value.decode() if isinstance(value, bytes) else value
