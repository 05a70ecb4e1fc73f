"""What an engine says of itself when it is asked once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Condition(str, Enum):
    """What came of asking."""

    ANSWERS = "answers"
    NO_DRIVER = "answers without a driver"
    DOES_NOT_FIT = "does not fit"
    HUNG = "hung"
    ABSENT = "absent"
    NO_CLIENT = "no client library"
    FAILED = "failed"


class Profiling(str, Enum):
    """Whether the engine can profile the GPUs."""

    WORKS = "works"
    NOT_LOADED = "module not loaded"
    UNSUPPORTED = "not supported"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    """What is known of the engine; releases are empty where nobody told them."""

    condition: Condition
    reason: str = ""
    client: str = ""
    engine: str = ""
    gpus: int = 0
    profiling: Profiling = Profiling.UNKNOWN
    simulated: bool = False

    @classmethod
    def from_json(cls, text: str) -> EngineAnswer:
        """Read an answer as dcgm.probe prints it."""
        data: dict[str, Any] = json.loads(text)
        condition, profiling = Condition(data.pop("condition")), Profiling(data.pop("profiling"))
        return cls(condition, profiling=profiling, **data)

    @property
    def answers(self) -> bool:
        """Whether an exporter can connect to it, if it speaks the same DCGM."""
        return self.condition in (Condition.ANSWERS, Condition.NO_DRIVER, Condition.DOES_NOT_FIT)

    @property
    def major(self) -> int:
        """The engine's major release, 0 when it is not known."""
        first = self.engine.partition(".")[0]
        return int(first) if first.isdigit() else 0
