"""The protocol between simulated bindings and simulated engine.

A frame is a 12-byte head and a body. A request's head carries length, number and
function; a reply's carries length, the request's number and a status. Bodies of
frequent calls are packed records, all others JSON. Nothing here resembles NVIDIA's
protocol: real bindings cannot talk to this engine, nor these to a real one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import Any, NamedTuple

from dcgm_simulator.codes import Value

HEAD = struct.Struct("<III")
BODY_LIMIT = 64 << 20
MAGIC = "dcgm-simulator/1"


class Function(IntEnum):
    """What a request asks for."""

    HELLO = 1
    CONTROL = 2
    LATEST_VALUES = 10
    LATEST_VALUES_OF_ENTITY = 11
    VALUES_SINCE = 12
    WATCH_FIELDS = 13
    UNWATCH_FIELDS = 14
    UPDATE_ALL_FIELDS = 15
    GET_FIELD_SUMMARY = 16
    GROUP_CREATE = 20
    GROUP_DESTROY = 21
    GROUP_ADD_ENTITY = 22
    GROUP_REMOVE_ENTITY = 23
    GROUP_GET_INFO = 24
    GROUP_GET_ALL_IDS = 25
    FIELD_GROUP_CREATE = 26
    FIELD_GROUP_DESTROY = 27
    FIELD_GROUP_GET_INFO = 28
    FIELD_GROUP_GET_ALL = 29
    GET_ALL_DEVICES = 40
    GET_ALL_SUPPORTED_DEVICES = 41
    GET_DEVICE_ATTRIBUTES = 42
    GET_ENTITY_GROUP_ENTITIES = 43
    GET_GPU_INSTANCE_HIERARCHY = 44
    GET_NVLINK_LINK_STATUS = 45
    GET_NVLINK_P2P_STATUS = 46
    GET_CPU_HIERARCHY = 47
    GET_CPU_HIERARCHY_V2 = 48
    GET_GPU_STATUS = 49
    HEALTH_SET = 60
    HEALTH_GET = 61
    HEALTH_CHECK = 62
    PROF_GET_SUPPORTED_METRIC_GROUPS = 70
    MODULE_GET_STATUSES = 71
    HOSTENGINE_VERSION_INFO = 72


class Record(NamedTuple):
    """One value of one field of one entity."""

    entity_group: int
    entity: int
    field: int
    type: str
    status: int
    timestamp: int
    """Microseconds since 1970."""
    value: Value


# The first 40 bytes of dcgmFieldValue_v2, so that the client can just copy them:
# version, entity group, entity, field, type, status, unused, timestamp, value.
INT_RECORD = struct.Struct("<IIIHhiIqq")
DOUBLE_RECORD = struct.Struct("<IIIHhiIqd")
RECORD_SIZE = INT_RECORD.size
VALUE_VERSION = 0x2001020
"""dcgmFieldValue_version2: 4128 bytes, version 2."""
COUNT = struct.Struct("<I")
TEXT_HEAD = struct.Struct("<IB")
TEXT_LIMIT = 255


def pack_record(record: Record) -> tuple[bytes, bytes | None]:
    """Return the fixed part of a record and, for text, its bytes, truncated like DCGM's."""
    group, entity, field, kind, status, timestamp, value = record
    text = value.encode()[:TEXT_LIMIT] if isinstance(value, str) else None
    layout = DOUBLE_RECORD if isinstance(value, float) else INT_RECORD
    number = 0 if text is not None else value
    fixed = layout.pack(
        VALUE_VERSION, group, entity, field, ord(kind), status, 0, timestamp, number
    )
    return fixed, text


def join_records(parts: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    """Return a body of packed records: their number, fixed parts, texts."""
    fixed: list[bytes] = []
    texts: list[bytes] = []
    for index, (head, text) in enumerate(parts):
        fixed.append(head)
        if text:
            texts.append(TEXT_HEAD.pack(index, len(text)) + text)
    return b"".join([COUNT.pack(len(fixed)), *fixed, *texts])


def split_texts(body: memoryview, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the position of each record that has a text, with the text."""
    offset = COUNT.size + count * RECORD_SIZE
    while offset < len(body):
        index, length = TEXT_HEAD.unpack_from(body, offset)
        offset += TEXT_HEAD.size
        yield index, bytes(body[offset : offset + length])
        offset += length


def pack_frame(number: int, code: int, body: bytes = b"") -> bytes:
    """Return a frame; `code` is the function of a request or the status of a reply."""
    return HEAD.pack(len(body), number, code & 0xFFFFFFFF) + body


def pack_json(value: Any) -> bytes:
    """Return the body of a call that is not worth packing."""
    return json.dumps(value, separators=(",", ":")).encode()


def unpack_json(body: bytes | memoryview) -> Any:
    """Return what `pack_json` packed.

    Raises ValueError when the body is not JSON.
    """
    return json.loads(bytes(body)) if body else None


def signed(code: int) -> int:
    """Return the status in a reply's head."""
    return code - (1 << 32) if code & 0x80000000 else code


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes that arrived."""
        self._buffer += data

    def next_frame(self) -> tuple[int, int, bytes] | None:
        """Return number, code and body of the next whole frame, or None.

        Raises ValueError when the bytes cannot be a frame.
        """
        if len(self._buffer) < HEAD.size:
            return None
        length, number, code = HEAD.unpack_from(self._buffer)
        if length > BODY_LIMIT:
            message = f"frame of {length} bytes"
            raise ValueError(message)
        end = HEAD.size + length
        if len(self._buffer) < end:
            return None
        body = bytes(memoryview(self._buffer)[HEAD.size : end])
        del self._buffer[:end]
        return number, code, body
