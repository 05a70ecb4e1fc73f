"""Runs collectors so that each fails alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from do_dcgm_exporter.collect.result import CollectorOutcome
from do_dcgm_exporter.dcgm.errors import EngineUnavailable
from do_dcgm_exporter.errors import ExporterError

_log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class CollectorRunner:
    """Times collectors and tells once when one begins or ceases to fail."""

    outcomes: list[CollectorOutcome] = field(default_factory=list)
    _failing: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Forget the outcomes of the cycle before."""
        self.outcomes = []

    def run(self, name: str, collect: Callable[[], _Answer], nothing: _Answer) -> _Answer:
        """Return what ``collect`` gives, or ``nothing`` if it fails.

        Raises EngineUnavailable: that concerns everybody.
        """
        started = time.perf_counter()
        try:
            answer = collect()
        except EngineUnavailable:
            raise
        except Exception as error:  # noqa: BLE001
            # However one source fails, the others must go on.
            self._note(name, started, error)
            return nothing
        self._note(name, started)
        return answer

    def _note(self, name: str, started: float, error: Exception | None = None) -> None:
        succeeded = error is None
        self.outcomes.append(CollectorOutcome(name, succeeded, time.perf_counter() - started))
        if not succeeded and name not in self._failing:
            self._failing.add(name)
            if isinstance(error, ExporterError):
                _log.error("a collector fails (collector=%s): %s", name, error)
            else:
                _log.error("a collector fails (collector=%s)", name, exc_info=error)
        elif succeeded and name in self._failing:
            self._failing.remove(name)
            _log.info("a collector works again (collector=%s)", name)
