"""Bugs to plant into the exporter, to show that the simulation finds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any
from unittest import mock

from tests.simulation import engine_troubles as engine
from tests.simulation import gpu_troubles as gpu
from tests.simulation import other_troubles as other
from tests.simulation.scheduler import Ended
from tests.simulation.troubles import Trouble

from do_dcgm_exporter.collect import session
from do_dcgm_exporter.collect.opening import _Scope
from do_dcgm_exporter.collect.peak_log import PeakLog
from do_dcgm_exporter.collect.profiling import ProfilingWatch
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sources import energy
from do_dcgm_exporter.collect.xid_log import XidLog
from do_dcgm_exporter.dcgm import discovery, handle, side_call
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.discovery import Discovery
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.page.health import Health
from do_dcgm_exporter.page.publication import Publication
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service.agent import Agent
from do_dcgm_exporter.service.supervisor import Supervisor

FAN_SPEED = 191
"""A field that no simulated configuration asks for."""

Plant = Callable[[], AbstractContextManager[object]]


def stale_values_kept() -> AbstractContextManager[object]:
    """No value is ever too old."""
    return mock.patch.object(Readings, "_max_age", return_value=math.inf)


def values_kept_in_an_outage() -> AbstractContextManager[object]:
    """An outage leaves the families of the last cycle on the page."""

    def publish_outage(self: Any, reason: str, engine_up: bool) -> None:
        self._telemetry.record_outage(engine_up)
        content = replace(self._content, health=Health(False, reason))
        self._publish(content, self._page(content))

    return mock.patch.object(Publisher, "_publish_outage", publish_outage)


def field_group_leaked() -> AbstractContextManager[object]:
    """A field group is never destroyed."""
    return mock.patch.object(HostEngine, "destroy_field_group")


def retired_session_kept() -> AbstractContextManager[object]:
    """The session from before a reload is not closed, so its groups stay."""

    def succeed(self: Any, *arguments: Any) -> Any:
        self._retired = None
        return original(self, *arguments)

    original = Agent._succeed
    return mock.patch.object(Agent, "_succeed", succeed)


def profiling_forgotten_at_reload() -> AbstractContextManager[object]:
    """A session for a new configuration watches no profiling fields."""
    first: list[object] = []

    def watch_profiling(self: Any, watcher: Any) -> ProfilingWatch:
        first.append(self.configuration)
        if self.configuration is first[0]:
            return original(self, watcher)
        nothing: dict[Any, Any] = {}
        return ProfilingWatch(
            watcher.engine, watcher, self.topology, self.interval, nothing, self.clock
        )

    original = _Scope.watch_profiling
    return mock.patch.object(_Scope, "watch_profiling", watch_profiling)


def xids_counted_anew_by_each_session() -> AbstractContextManager[object]:
    """XIDs that the engine replays on a new connection count as new."""

    def note_read(self: XidLog, entities: Iterable[Entity]) -> None:
        read = list(entities)
        original(self, read)
        for entity in read:
            self.of(entity).taken.clear()

    original = XidLog.note_read
    return mock.patch.object(XidLog, "note_read", note_read)


def xids_from_before_the_start_counted() -> AbstractContextManager[object]:
    """Totals begin with whatever the engine still has."""
    return mock.patch.object(
        XidLog, "look_at_the_clocks", lambda self, *_: setattr(self, "_counting_from", 0)
    )


def profiling_watched_anew_without_an_unwatch() -> AbstractContextManager[object]:
    """Profiling is slowed down by watching again, without an unwatch."""
    return mock.patch.object(HostEngine, "unwatch")


def blank_profiling_not_bridged() -> AbstractContextManager[object]:
    """A blank sample between two others leaves a gap."""
    return mock.patch.object(Readings, "put_back", return_value=False)


def lost_gpus_left_out() -> AbstractContextManager[object]:
    """Only GPUs that the engine supports at the moment exist."""
    return mock.patch.object(
        Discovery, "_gpu_ids", lambda self: tuple(self.engine.supported_gpu_ids())
    )


def refused_hierarchy_taken_for_none() -> AbstractContextManager[object]:
    """A refused hierarchy means that there are no instances."""
    return mock.patch.object(discovery, "_means_absent", return_value=True)


def any_refusal_taken_for_skew() -> AbstractContextManager[object]:
    """Any request that the engine does not understand is an outage."""
    functions = mock.MagicMock()
    functions.__contains__.return_value = True
    plant = ExitStack()
    plant.enter_context(mock.patch.object(handle, "DECISIVE_FUNCTIONS", functions))
    # As long as sources were asked in the cycle itself, it ended for all of them.
    plant.enter_context(mock.patch.object(side_call.SideCall, "answer", _asked_directly))
    return plant


def _asked_directly(self: Any) -> Any:
    return self.ask()


def unwatched_fields_read() -> AbstractContextManager[object]:
    """The same fields are read on every entity."""

    def batches_of(*arguments: Any) -> Any:
        batches = original(*arguments)
        return [replace(batch, field_ids=(*batch.field_ids, FAN_SPEED)) for batch in batches]

    original = session.batches_of
    return mock.patch.object(session, "batches_of", batches_of)


def stalled_engines_not_noticed() -> AbstractContextManager[object]:
    """An engine that no longer samples is considered healthy."""
    return mock.patch.object(session, "stalled_gpus", return_value=frozenset())


def sampled_gpus_called_stalled() -> AbstractContextManager[object]:
    """A GPU whose life sign stands still is given up, whatever else is sampled."""
    return mock.patch.object(Readings, "sampled_entities", return_value=frozenset())


def peaks_shown_twice() -> AbstractContextManager[object]:
    """Every page has the peaks of all samples that are kept, shown before or not."""
    return mock.patch.object(PeakLog, "advance")


def peaks_kept_over_a_loss() -> AbstractContextManager[object]:
    """A GPU that returns shows what it did before it was lost."""
    return mock.patch.object(PeakLog, "note_loss")


def outages_counted_as_energy() -> AbstractContextManager[object]:
    """Two samples of the power are joined however far they are apart."""
    return mock.patch.object(energy, "_INTERVALS_JOINED", math.inf)


def old_pages_shown() -> AbstractContextManager[object]:
    """The agent's thread ends with its first failure, nobody notices, and pages never expire."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(Agent, "_fail", side_effect=Ended))
    stack.enter_context(mock.patch.object(Supervisor, "tick"))
    stack.enter_context(mock.patch.object(Publication, "page", property(lambda self: self._page)))
    return stack


PLANTS: dict[str, tuple[Plant, tuple[Trouble, ...]]] = {
    plant.__name__: (plant, kinds)
    for plant, *kinds in (
        (stale_values_kept, engine.freeze, engine.stall),
        (values_kept_in_an_outage, engine.kill, engine.hang),
        (field_group_leaked, other.reconfigure),
        (retired_session_kept, other.reconfigure),
        (profiling_forgotten_at_reload, other.reconfigure),
        (xids_counted_anew_by_each_session, gpu.xid, other.reconfigure),
        (xids_from_before_the_start_counted, gpu.xid),
        (profiling_watched_anew_without_an_unwatch, engine.kill, other.other_client),
        (blank_profiling_not_bridged, other.other_client),
        (lost_gpus_left_out, gpu.lose),
        (refused_hierarchy_taken_for_none, engine.refuse_one),
        (any_refusal_taken_for_skew, engine.refuse_one),
        (unwatched_fields_read, other.reconfigure),
        (stalled_engines_not_noticed, engine.stall),
        (sampled_gpus_called_stalled, engine.freeze),
        (peaks_shown_twice, other.reconfigure),
        (peaks_kept_over_a_loss, gpu.lose),
        (outages_counted_as_energy, gpu.spoil, engine.refuse),
        (old_pages_shown, engine.kill, engine.drop),
    )
}
"""Each with the kinds of trouble that it takes to be found."""
