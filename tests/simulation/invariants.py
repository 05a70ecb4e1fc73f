"""The invariants of a simulated run, whatever goes wrong."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.e2e.pages import Page as ParsedPage
from tests.simulation import leaks, openmetrics
from tests.simulation.counting import XidCounts
from tests.simulation.energy import EnergyTruth
from tests.simulation.peaks import PeakTruth
from tests.simulation.values import ValueTruth

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.page.publication import Page
from do_dcgm_exporter.service.agent import Agent

if TYPE_CHECKING:
    from tests.simulation.world import World

# supervisor.py: how long a cycle may take, and how often that is checked.
SHORTEST_LIMIT, TICK = 2.0, 1.0
STALLED = ("no value of any GPU", "samples nothing")  # lost_gpus.py
SLACK = 1.5  # the pause between two looks of this suite
YIELD = 3.0  # rooms.py: for how long other threads may run before a publication


@dataclass
class Invariants:
    """The promises, checked in one world."""

    world: World
    own_counters: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)
    forwarded: list[tuple[bytes, float]] = field(default_factory=list)
    """The forwarded part of each page, and when (true time) it was made."""
    _parsed: tuple[Page, ParsedPage] | None = None
    _forwarded: bytes = b""
    _reason: str = ""
    _made_at: float = 0.0
    _spoiled_at: float = -math.inf
    _seen_gpus: set[str] = field(default_factory=set)
    _profiling: set[tuple[str, str, str]] = field(default_factory=set)
    _undisturbed: object = None
    _instances: dict[tuple[int, int], object] = field(default_factory=dict)
    """The instances on the last page and on the machine, by GPU and NVML's number."""

    def __post_init__(self) -> None:
        self.peaks = PeakTruth(self.world)
        self.energy = EnergyTruth(self.world)
        self.values = ValueTruth(self.world, self.peaks.means)
        self.xids = XidCounts(self.world)

    @property
    def _oldest(self) -> float:
        """How old a page with values may be."""
        return 2 * max(SHORTEST_LIMIT, self.world.interval)

    # Called by the world

    def published(self, page: Page) -> None:
        """Every published page is valid and true."""
        world = self.world
        parsed = self._parse(page)
        up = parsed.own("hostengine_up")
        self._note_spoilt_values()
        world.tell(
            f"published: up {up:g}, {len(parsed.dcgm)} families,"
            f" {len(page.forwarded)} bytes, crc {zlib.crc32(page.forwarded):08x}:"
            f" {page.health.reason or 'healthy'} {' '.join(page.health.notes)}"
        )
        self._counters_do_not_fall(parsed)
        self._health_fits(page, parsed)
        self._no_gpu_disappears(parsed)
        self._profiling_stays(page, parsed)
        self._instances_stay(page, parsed)
        self.xids.hold(parsed)
        if page.forwarded and page.forwarded is not self._forwarded:
            self.values.hold(parsed)
            self.peaks.hold(parsed)
            self.energy.hold(parsed)
            if page.health.healthy:
                self.values.fresh_of_each_gpu(parsed)
            self._made_at = world.clocks.true()
            self.forwarded.append((page.forwarded, self._made_at))
        self._forwarded = page.forwarded

    def scraped(self, page: Page) -> None:
        """What a scraper gets now is not out of date."""
        world = self.world
        self._note_spoilt_values()
        limit = max(SHORTEST_LIMIT, world.interval) + TICK + SLACK + YIELD
        parsed = self._parse(page)
        if page.health.healthy or parsed.dcgm:
            age = world.clocks.true() - self._made_at
            assert age <= self._oldest, f"the page is {age:.1f} s old, and healthy or with values"
        calm = world.troubles.calm_since
        if calm is not None and world.clocks.true() - calm > world.interval + limit:
            assert parsed.own("hostengine_up") == 1, f"still down: {page.health.reason}"
            self._lost_gpus_are_told(parsed, world.interval + limit)

    def after_cycle(self, agent: Agent) -> None:
        """Between cycles there is one connection and what it needs."""
        leaks.between_cycles(self.world, agent)

    def posted(self, body: bytes) -> None:
        """What is forwarded is a complete page that was published."""
        made = [made_at for forwarded, made_at in self.forwarded[-3:] if forwarded == body]
        assert made, "something else than a page is posted"
        settings = self.world.service._configuration.settings
        age, late = self.world.clocks.true() - made[-1], settings.forward_timeout + YIELD
        assert age <= self._oldest + late, f"a page that is {age:.1f} s old is posted"

    def reloaded(self, good: bool) -> None:
        """A refused reload is reported, until one succeeds."""
        page = self._parse(self.world.service._publisher.publication.page)
        assert page.own("config_last_reload_successful") == good

    def logged(self, record: logging.LogRecord) -> None:
        """The log shows no bug."""
        message = record.getMessage()
        self.world.tell(f"log: {record.levelname} {message}")
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, ExporterError):
            self.world.scheduler.fail(AssertionError(f"{message}: {error!r}"))

    # At the end

    def is_whole(self) -> bool:
        """Whether the page claims to be complete."""
        health = self.world.service._publisher.publication.page.health
        waits = self._may_warm_up() or self._leaves_values_alone()
        return health.healthy and not self._notes() and not waits

    def _may_warm_up(self) -> bool:
        """Whether profiling may still have to warm up."""
        session = self.world.service._agent._session
        if session is None or session.profiling.warming_up:
            return True  # a module that came late is watched by an old session
        return session.profiling.age() < 2 * self.world.interval + 3.0

    def _leaves_values_alone(self) -> bool:
        """Whether values that have long had a status are only read again after some minutes."""
        session = self.world.service._agent._session
        return session is not None and bool(session.valueless.left_alone())

    def _notes(self) -> list[str]:
        health = self.world.service._publisher.publication.page.health
        host = self.world.engine.host
        away = host is not None and not host.machine.layout.profiling
        return [
            note
            for note in health.notes
            if not note.startswith("forwarding") and not (away and "profiling" in note)
        ]

    def must_be_whole(self) -> None:
        """After all has been well for long enough, nothing is missing."""
        health = self.world.service._publisher.publication.page.health
        assert health.healthy, f"it does not recover: {health.reason}"
        assert not self._notes(), f"it does not recover: {self._notes()}"

    def all_counted(self) -> None:
        """A page that claims to be complete is, and every XID was counted once."""
        page = self._parse(self.world.service._publisher.publication.page)
        self.values.nothing_missing(page)
        self.xids.complete(page)

    def nothing_left(self) -> None:
        """After the service has stopped, no thread, connection or socket remains."""
        leaks.after_the_end(self.world)

    # Single promises

    def _parse(self, page: Page) -> ParsedPage:
        if self._parsed is None or self._parsed[0] is not page:
            self._parsed = page, ParsedPage(page.text.plain.decode())
            openmetrics.check(page.openmetrics.plain.decode(), page.text.plain.decode())
            forwarded = page.forwarded.decode()
            assert page.text.plain.decode().startswith(forwarded)
        return self._parsed[1]

    def _counters_do_not_fall(self, page: ParsedPage) -> None:
        for key, value in _own_counters(page):
            before = self.own_counters.get(key, 0.0)
            assert value >= before, f"{key[0]} falls from {before} to {value}"
            self.own_counters[key] = value

    def _no_gpu_disappears(self, page: ParsedPage) -> None:
        """A known GPU is on the page, or reported as lost."""
        if page.own("gpus"):
            told = {sample.labels["gpu"] for sample in page.samples("do_dcgm_exporter_gpu_up")}
            self._seen_gpus |= told
            missing = self._seen_gpus - told
            assert not missing, f"GPUs {sorted(missing)} have disappeared without a word"

    def _lost_gpus_are_told(self, page: ParsedPage, within: float) -> None:
        host = self.world.engine.host
        assert host is not None
        for gpu in host.machine.gpus():
            since = host.faults.lost_since(gpu, host.clock())
            if since is not None and host.clock() - since > within * 1e6:
                assert page.own("gpu_up", gpu=str(gpu)) == 0, f"GPU {gpu} is lost, and up"

    def _profiling_stays(self, page: Page, parsed: ParsedPage) -> None:
        """Profiling values stay as long as no trouble takes them away."""
        world, now = self.world, self.values.profiling_on(parsed)
        undisturbed = (
            world.troubles.disturbances,
            world.engine.life,
            tuple(world.configuration.counters.counters),
            self._inventory(),  # a GPU that is cut gets other series, a little later
        )
        excused = [note for note in page.health.notes if "stay blank" not in note]
        is_whole = page.health.healthy and not excused
        if undisturbed == self._undisturbed and is_whole and not world.troubles.spoils_values():
            missing = self._profiling - now
            assert not missing, f"profiling has gone: {min(missing)}"
            self._profiling |= now
        else:
            # What was read before the trouble may still be on this page.
            self._profiling.clear()
        self._undisturbed = undisturbed

    def _inventory(self) -> object:
        session = self.world.service._agent._session
        return None if session is None else session.inventory

    def _instances_stay(self, page: Page, parsed: ParsedPage) -> None:
        """A refused call is not an absence: an instance that exists and was shown stays."""
        host = self.world.engine.host
        told = any("would not watch" in note for note in page.health.notes)
        if host is None or not page.health.healthy or told or self.world.troubles.spoils_values():
            self._instances = {}
            return
        there = {(i.gpu, i.nvml_id): i for cut in host.machine.instances.values() for i in cut}
        shown = {
            (int(sample.labels["gpu"]), int(sample.labels["GPU_I_ID"]))
            for sample in parsed.samples("DCGM_FI_DEV_GPU_TEMP")
            if "GPU_I_ID" in sample.labels
        }
        # If cut again in the same way, it is a new instance that is not watched yet.
        stayed = {key for key, known in self._instances.items() if there.get(key) is known}
        missing = stayed - shown
        assert not missing, f"instances that are there have disappeared: {sorted(missing)}"
        watched = self._watched_instances()
        self._instances = {
            key: found
            for key, found in there.items()
            if key in shown and (found.id, found.nvml_id) in watched
        }

    def _watched_instances(self) -> set[tuple[int, int]]:
        """What the session took for instances, by the engine's number and NVML's.

        After a recut it may show what was there before under the same names.
        """
        session = self.world.service._agent._session
        nodes = () if session is None else session.inventory.mig_nodes
        return {(node.entity.id, node.instance_id) for node in nodes}

    def _nothing_was_sampled(self) -> None:
        """If the page says that there are no current values, there are none."""
        world = self.world
        if world.clocks.set_at >= world.cycle_began_at:
            return  # in between, the offset is not known
        now = world.clocks.true()
        spoiled_at = max(self._spoiled_at, world.engine.spoiled_at)
        if now - spoiled_at > world.interval + SLACK + YIELD:
            age, limit = self.values.age_of_newest(), world.configuration.settings.stale_after
            assert age > limit, f"there are values that are {age:.1f} s old"

    def _note_spoilt_values(self) -> None:
        if self.world.troubles.spoils_all_values():
            self._spoiled_at = self.world.clocks.true()

    def _health_fits(self, page: Page, parsed: ParsedPage) -> None:
        up, health = parsed.own("hostengine_up"), page.health
        gpus_up = [sample.value for sample in parsed.samples("do_dcgm_exporter_gpu_up")]
        if health.healthy:
            assert up == 1, "healthy without an engine"
            assert gpus_up, "healthy without a GPU"
            assert all(gpus_up), "healthy, and GPUs are not there"
            assert parsed.own("gpus") == self.world.engine.layout.gpus
        else:
            assert health.reason, "unhealthy for no reason"
            if "has not answered" in health.reason and health.reason != self._reason:
                silent = self.world.clocks.monotonic() - self.world.engine.answered_at
                assert silent > 0.9 * TICK, f"it has answered {silent:.1f} s ago"
            assert not health.reason.startswith("internal error"), health.reason
            is_stalled = any(words in health.reason for words in STALLED)
            if is_stalled and health.reason != self._reason:
                self._nothing_was_sampled()
        self._reason = health.reason
        if not up:
            assert not parsed.dcgm, "values of an engine that does not answer"
            assert not gpus_up


def _own_counters(
    page: ParsedPage,
) -> Iterator[tuple[tuple[str, tuple[tuple[str, str], ...]], float]]:
    families: Mapping[str, object] = page.families
    for name in families:
        if name.startswith("do_dcgm_exporter_") and name.endswith("_total"):
            for sample in page.samples(name):
                yield (name, tuple(sample.labels.items())), sample.value
