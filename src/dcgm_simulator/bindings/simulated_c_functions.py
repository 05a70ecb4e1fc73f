"""Functions of libdcgm that take C arguments and return a status."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from simulated_library import BEHAVIOUR, LIBRARY, STRUCTURES, constants, number

from dcgm_simulator.codes import StatusError
from dcgm_simulator.versions import build_information
from dcgm_simulator.wire import COUNT, RECORD_SIZE, Function, split_texts

_VERSION_INFO = constants("dcgm_structs")["dcgmVersionInfo_version2"]
_BAD_VERSION = -12
_VALUE_SIZE = ctypes.sizeof(STRUCTURES["c_dcgmFieldValue_v2"])
_VALUE = 32
# libdcgm allocates and clears this much in each of these calls (helperGetLatestValuesForFields
# in DcgmApi.cpp), which shows in a client's memory and time.
_MESSAGE_SIZE = 4 * 1024 * 1024 + 8400


def _returning_status(function: Callable[..., int]) -> Callable[..., int]:
    @functools.wraps(function)
    def call(*arguments: Any) -> int:
        try:
            return function(*arguments)
        except StatusError as error:
            return int(error.status)

    return call


@_returning_status
def _version_info(pointer: Any) -> int:
    """dcgmVersionInfo(dcgmVersionInfo_v2 *): the version of the bindings themselves."""
    return _fill_version_info(pointer, lambda: build_information(BEHAVIOUR.version))


@_returning_status
def _hostengine_version_info(handle: Any, pointer: Any) -> int:
    """dcgmHostengineVersionInfo(handle, dcgmVersionInfo_v2 *): the engine's version."""
    return _fill_version_info(
        pointer, lambda: LIBRARY.call(number(handle), Function.HOSTENGINE_VERSION_INFO)
    )


def _fill_version_info(pointer: Any, ask: Callable[[], str]) -> int:
    # What byref() gives has the structure in an attribute ctypes documents only by its use.
    target = getattr(pointer, "_obj", pointer)
    if target.version != _VERSION_INFO:
        return _BAD_VERSION
    target.rawBuildInfoString = ask()
    return 0


@_returning_status
def _entities_get_latest_values(
    handle: Any,
    entities: Any,
    entity_count: Any,
    fields: Any,
    field_count: Any,
    flags: Any,
    to: Any,
) -> int:
    """dcgmEntitiesGetLatestValues: fill ``to``, an array of dcgmFieldValue_v2 or room for it."""
    pairs = [(entity.entityGroupId, entity.entityId) for entity in entities[: number(entity_count)]]
    answer = LIBRARY.latest(
        number(handle),
        Function.LATEST_VALUES,
        pairs,
        list(fields[: number(field_count)]),
        number(flags),
    )
    message = bytearray(_MESSAGE_SIZE)
    message[: len(answer)] = answer
    body = memoryview(message)[: len(answer)]
    target = memoryview(to).cast("B")
    (count,) = COUNT.unpack_from(body)
    place = 0
    for offset in range(COUNT.size, COUNT.size + count * RECORD_SIZE, RECORD_SIZE):
        target[place : place + RECORD_SIZE] = body[offset : offset + RECORD_SIZE]
        place += _VALUE_SIZE
    for index, text in split_texts(body, count):
        start = index * _VALUE_SIZE + _VALUE
        # The library copies the end of a text with it.
        target[start : start + len(text) + 1] = bytes(text) + b"\0"
    return 0


C_FUNCTIONS: dict[str, Callable[..., int]] = {
    "dcgmEntitiesGetLatestValues": _entities_get_latest_values,
    "dcgmHostengineVersionInfo": _hostengine_version_info,
    "dcgmVersionInfo": _version_info,
}
