"""``apply``: look, decide, change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from do_dcgm_exporter.dcgm.engine_answer import EngineAnswer
from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.changes import Changes
from do_dcgm_exporter.integration.changing.running import Means
from do_dcgm_exporter.integration.changing.undoing import carry_over
from do_dcgm_exporter.integration.deciding.exporter import Exporters, UnitExporter
from do_dcgm_exporter.integration.deciding.plan import (
    Circumstances,
    Decision,
    Reason,
    decide,
    is_loaded,
    is_stale,
    needs_engine,
)
from do_dcgm_exporter.integration.deciding.records import Records, records_in
from do_dcgm_exporter.integration.exporters_here import exporters_here
from do_dcgm_exporter.integration.host import ENGINE_SERVICE
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.engine_probe import is_expected
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided and what else there is.

    Units that ``failed`` are not as decided, and those ``pending`` are left to the next run.
    """

    decisions: tuple[Decision, ...]
    exporters: Exporters
    failed: frozenset[str] = frozenset()
    pending: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    leaves_all: bool = False


class Applying:
    """One run of ``apply``. The caller holds the lock.

    ``choice`` is instead of that in the settings; with ``retry``, refusals are forgotten.
    """

    def __init__(
        self,
        means: Means,
        settings: IntegrationSettings,
        ask: Callable[[], EngineAnswer],
        choice: Choice | None = None,
        *,
        retry: bool = False,
    ) -> None:
        self._means = means
        self._settings = settings
        self._ask = ask
        self._now = Circumstances(choice or settings.choice, settings.local_engine, retry=retry)
        if choice:
            self._now = replace(self._now, chosen_by="--choice")
        self._records = Records()
        self._exporters = Exporters()
        self._find = partial(exporters_here, means.host, means.systemd, settings.local_engine)

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
        files.sweep(self._means.host)
        if carry_over(self._means, self._records):
            self._look()
        failed = self._undo_strangers() | self._renew()
        decisions, changes = self._decide(), self._changes()
        changes.carry_out(decisions)
        failed |= changes.failed
        return Outcome(
            decisions,
            self._exporters,
            frozenset(failed),
            complaints=self._records.complaints,
            leaves_all=self._now.choice is Choice.LEAVE,
        )

    def write_only(self) -> Outcome:
        """Write the drop-ins of new clients; restart, undo and stop nothing."""
        self._find = partial(self._find, with_containers=False)
        self._look()
        decisions, changes = self._decide(), self._changes()
        pending = [
            made.unit for made in decisions if made.reason is Reason.ENGINE or changes.is_work(made)
        ]
        new = [made for made in decisions if made.text and made.unit not in self._records.stopped]
        if [made for made in new if changes.write(made)]:
            self._means.reload()
        return Outcome(decisions, self._exporters, frozenset(changes.failed), tuple(pending))

    def _changes(self) -> Changes:
        return Changes(self._means, self._records, self._exporters, self._now.address)

    # Look

    def _read(self) -> None:
        self._records = records_in(look_at_our_files(self._means.host))
        self._exporters = self._find((*self._records.ours, *self._records.stopped))

    def _look(self) -> None:
        self._read()
        if any(map(self._is_unread, self._exporters.units)):
            self._means.reload()  # which an interrupted run has not come to
            self._read()

    def _is_unread(self, exporter: UnitExporter) -> bool:
        ours = self._records.ours.get(exporter.name)
        return ours is not None and ours.withdrawn == is_loaded(exporter)

    def _undo_strangers(self) -> set[str]:
        """Undo what was done to units that are gone, or are no exporters any more."""
        names = {exporter.name for exporter in self._exporters.units}
        changes = self._changes()
        if strangers := [unit for unit in self._records.units if unit not in names]:
            changes.undo(strangers)
            self._look()
        return changes.failed

    def _stale(self) -> list[str]:
        """Return the units whose drop-in has to be made anew."""
        return [
            one.name
            for one in self._exporters.units
            if (ours := self._records.ours.get(one.name)) and is_stale(one, ours, self._now.address)
        ]

    def _renew(self) -> set[str]:
        """See units whose drop-in has to be made anew as they are without it."""
        stale, changes = self._stale(), self._changes()
        if stale and self._answer().answers:
            for unit in stale:
                changes.withdraw(unit)
            self._means.reload()
            self._look()
        return changes.failed

    # Decide

    def _decide(self) -> tuple[Decision, ...]:
        units = self._exporters.units
        if any(needs_engine(one, self._records, self._now) for one in units):
            self._answer()
        return tuple(decide(one, self._records, self._now) for one in units)

    def _answer(self) -> EngineAnswer:
        """Ask the engine, once."""
        if self._now.engine is None:
            engine = self._ask()
            expected = engine.answers or self._is_expected()
            self._now = replace(self._now, engine=engine, engine_is_expected=expected)
            return engine
        return self._now.engine

    def _is_expected(self) -> bool:
        try:
            view = self._means.systemd.view(ENGINE_SERVICE)
        except CommandFailed:
            return True  # that is no sign of anything
        return is_expected(view, self._settings.engine_unit)
