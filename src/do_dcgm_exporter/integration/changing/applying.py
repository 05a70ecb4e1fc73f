"""``apply``: look, decide, change the files, reload once, then restart and prove in parallel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from do_dcgm_exporter.dcgm.engine_answer import EngineAnswer
from do_dcgm_exporter.integration.changing import carrying_over, drop_in_files, refusals
from do_dcgm_exporter.integration.changing.clients import Client
from do_dcgm_exporter.integration.changing.drop_in_files import CannotChange
from do_dcgm_exporter.integration.changing.means import Level, Means
from do_dcgm_exporter.integration.changing.parallel import in_parallel
from do_dcgm_exporter.integration.changing.stopping import Stop
from do_dcgm_exporter.integration.changing.undoing import Undoing
from do_dcgm_exporter.integration.deciding.exporter import Exporters, UnitExporter
from do_dcgm_exporter.integration.deciding.plan import (
    Circumstances,
    Decision,
    Goal,
    Reason,
    decide,
    is_loaded,
    is_stale,
    needs_engine,
)
from do_dcgm_exporter.integration.deciding.record import Refusal
from do_dcgm_exporter.integration.deciding.records import Records, records_in
from do_dcgm_exporter.integration.exporters_here import exporters_here
from do_dcgm_exporter.integration.host import ENGINE_SERVICE
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.engine_probe import is_expected
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files

AskEngine = Callable[[], EngineAnswer]
# A unit, what writes its files, and what is to be done once the manager has read them.
_Work = tuple[str, Callable[[], None], Callable[[], bool]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants otherwise than the configuration says, or besides."""

    choice: Choice | None = None
    retry: bool = False

    @property
    def chosen_by(self) -> str:
        """Where the choice was made."""
        return "--choice" if self.choice else "embedded-exporters"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: what was chosen and decided, what else there is.

    Units that ``failed`` are not as decided, and those ``pending`` are left to the next run.
    """

    choice: Choice
    decisions: tuple[Decision, ...]
    exporters: Exporters
    failed: frozenset[str]
    complaints: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


class Applying:
    """One run of ``apply``. The caller holds the lock."""

    def __init__(
        self, means: Means, settings: IntegrationSettings, wish: Wish, ask: AskEngine
    ) -> None:
        self._means = means
        self._settings = settings
        self._wish = wish
        self._choice = wish.choice or settings.choice
        self._address = settings.local_engine
        self._ask = ask
        self._engine: EngineAnswer | None = None
        self._records = Records()
        self._exporters = Exporters()
        self._failed: set[str] = set()
        self._find = partial(exporters_here, means.host, means.systemd, self._address)

    def plan(self) -> tuple[Decision, ...]:
        """Return what would be done, without changing anything."""
        self._read()
        stale = self._stale()
        return tuple(
            replace(made, why="its drop-in would be written anew") if made.unit in stale else made
            for made in self._decide()
        )

    def run(self) -> Outcome:
        """Change what has to be changed."""
        self._look()
        drop_in_files.sweep(self._means.host)
        if carrying_over.carry_over(self._means, self._records):
            self._look()
        self._undo_strangers()
        self._renew()
        decisions = self._decide()
        self._carry_out(decisions)
        return self._outcome(decisions)

    def write_only(self) -> Outcome:
        """Write the drop-ins of new clients; restart, undo and stop nothing."""
        self._find = partial(self._find, with_containers=False)
        self._look()
        decisions = self._decide()
        made = [one for one in decisions if one.text and one.unit not in self._records.stopped]
        clients = [self._client(one) for one in made]
        if [one for one in clients if self._try(one.unit, one.write)]:
            self._means.reload()
        return self._outcome(decisions, tuple(self._pending(decisions)))

    def _pending(self, decisions: Sequence[Decision]) -> Iterator[str]:
        """Yield the units that the next run has something to do for."""
        for made in decisions:
            waits = made.goal is Goal.ORIGINAL or made.reason is Reason.ENGINE
            if waits or any((*self._stop(made), *self._prove(made))):
                yield made.unit

    def _outcome(self, decisions: tuple[Decision, ...], pending: tuple[str, ...] = ()) -> Outcome:
        complaints = self._records.complaints
        failed = frozenset(self._failed)
        return Outcome(self._choice, decisions, self._exporters, failed, complaints, pending)

    # Look

    def _read(self) -> None:
        self._records = records_in(look_at_our_files(self._means.host))
        self._exporters = self._find(self._records.units)

    def _look(self) -> None:
        self._read()
        if any(map(self._is_unread, self._exporters.units)):
            self._means.reload()  # which an interrupted run has not come to
            self._read()

    def _is_unread(self, exporter: UnitExporter) -> bool:
        ours = self._records.ours.get(exporter.name)
        return ours is not None and ours.withdrawn == is_loaded(exporter)

    def _undo_strangers(self) -> None:
        """Undo what was done to units that are gone, or are no exporters any more."""
        names = {exporter.name for exporter in self._exporters.units}
        if strangers := [unit for unit in self._records.units if unit not in names]:
            self._undo(strangers)
            self._look()

    def _stale(self) -> list[str]:
        """Return the units whose drop-in has to be made anew."""
        return [
            exporter.name
            for exporter in self._exporters.units
            if (ours := self._records.ours.get(exporter.name))
            and is_stale(exporter, ours, self._address)
        ]

    def _renew(self) -> None:
        """See units whose drop-in has to be made anew as they are without it."""
        stale = self._stale()
        if not (stale and self._answer().answers):
            return
        for unit in stale:
            text = self._records.ours[unit].text
            self._try(unit, partial(drop_in_files.withdraw, self._means.host, unit, text))
        self._means.reload()
        self._look()

    # Decide

    def _decide(self) -> tuple[Decision, ...]:
        units, now = self._exporters.units, self._circumstances()
        if any(needs_engine(one, self._records, now) for one in units):
            self._answer()
            now = self._circumstances()
        return tuple(decide(one, self._records, now) for one in units)

    def _circumstances(self) -> Circumstances:
        return Circumstances(
            self._choice,
            self._address,
            self._engine,
            self._engine_is_expected(),
            self._wish.chosen_by,
            self._wish.retry,
        )

    def _engine_is_expected(self) -> bool:
        if self._engine is None or self._engine.answers:
            return True
        try:
            view = self._means.systemd.view(ENGINE_SERVICE)
        except CommandFailed:
            return True  # that is no sign of anything
        return is_expected(view, self._settings.engine_unit)

    def _answer(self) -> EngineAnswer:
        if self._engine is None:
            self._engine = self._ask()
        return self._engine

    # Change

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        originals = [made for made in decisions if made.goal is Goal.ORIGINAL]
        stops = [work for made in decisions for work in self._stop(made)]
        clients = [work for made in decisions for work in self._prove(made)]
        self._undo([made.unit for made in originals])
        self._remember_refusals(originals)
        jobs = [
            partial(self._finish, unit, finish)
            for unit, write, finish in (*stops, *clients)
            if self._try(unit, write)
        ]
        if jobs:
            self._means.reload()
            in_parallel(jobs, self._means.pace)
        if clients:
            self._means.reload()  # what was proven is written in the drop-ins

    def _stop(self, made: Decision) -> Iterator[_Work]:
        if made.goal is Goal.STOPPED:
            stop = Stop(self._means, self._records, self._exporter(made.unit).view)
            if stop.is_needed:
                yield made.unit, stop.write, stop.stop

    def _prove(self, made: Decision) -> Iterator[_Work]:
        # One that was stopped by us is started again.
        is_work = made.text or made.reason is Reason.NONE or made.unit in self._records.stopped
        if made.goal is Goal.CLIENT and is_work:
            client = self._client(made)
            yield made.unit, client.write, client.restart_and_prove

    def _client(self, made: Decision) -> Client:
        exporter = self._exporter(made.unit)
        return Client(self._means, self._records, exporter, made, self._address)

    def _undo(self, units: Sequence[str]) -> None:
        if units and not Undoing(self._means, self._records).put_back(units):
            self._failed.update(units)

    def _remember_refusals(self, originals: Sequence[Decision]) -> None:
        for made in originals:
            if made.reason is Reason.REFUSED:
                source = self._exporter(made.unit).source
                refusal = Refusal(source, str(self._address), made.why)
                refusals.remember(self._means.host, made.unit, refusal)

    def _exporter(self, unit: str) -> UnitExporter:
        return next(one for one in self._exporters.units if one.name == unit)

    def _finish(self, unit: str, finish: Callable[[], bool]) -> None:
        try:
            if not finish():
                self._failed.add(unit)
        except CannotChange as error:
            self._fail(unit, error)

    def _try(self, unit: str, change: Callable[[], None]) -> bool:
        try:
            change()
        except CannotChange as error:
            self._fail(unit, error)
            return False
        return True

    def _fail(self, unit: str, error: CannotChange) -> None:
        self._failed.add(unit)
        self._means.tell(Level.WARNING, str(error))
