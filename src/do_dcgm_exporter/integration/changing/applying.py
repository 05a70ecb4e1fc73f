"""``apply``: look, decide, change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from do_dcgm_exporter.dcgm.engine_answer import EngineAnswer
from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.changes import Change, carry_out
from do_dcgm_exporter.integration.changing.running import Level, Means
from do_dcgm_exporter.integration.changing.undoing import carry_over, put_back
from do_dcgm_exporter.integration.deciding import plan
from do_dcgm_exporter.integration.deciding.exporter import Exporters, UnitExporter
from do_dcgm_exporter.integration.deciding.records import Records, records_in
from do_dcgm_exporter.integration.exporters_here import exporters_here
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.engine_probe import is_expected
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files


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
        self._now = plan.Circumstances(
            choice or settings.choice, settings.local_engine, retry=retry
        )
        self._records = Records()
        self._exporters = Exporters()
        self._find = partial(exporters_here, means.host, means.systemd, settings.local_engine)

    def preview(self) -> tuple[plan.Decision, ...]:
        """Return what would be done, without changing anything."""
        self._read()
        stale = self._stale()
        return tuple(
            replace(made, why="its drop-in would be written anew") if made.unit in stale else made
            for made in self._decide()
        )

    def run(self) -> None:
        """Change what has to be changed, and name what is not as it should be."""
        self._look()
        files.sweep(self._means.host)
        if carry_over(self._means, self._records):
            self._look()
        self._undo_strangers()
        self._renew()
        decisions = self._decide()
        carry_out(self._means, self._records, [self._change(made) for made in decisions])
        self._name_what_is_left(decisions)

    def write_only(self) -> list[str]:
        """Write the drop-ins of new clients, and return the units that wait for the rest."""
        self._find = partial(self._find, with_containers=False)
        self._look()
        changes = [self._change(made) for made in self._decide()]
        waiting = [
            one.unit
            for one in changes
            if one.is_needed or one.decision.reason is plan.Reason.ENGINE
        ]
        new = [one for one in changes if one.decision.text and one.stopped is None]
        if [one for one in new if one.write()]:
            self._means.reload()
        return waiting

    def _name_what_is_left(self, decisions: tuple[plan.Decision, ...]) -> None:
        fail, wished = self._means.fail, partial(self._means.tell, Level.WARNING)
        for complaint in self._records.complaints:
            fail(complaint)
        logs = {one.name: one.view.log for one in self._exporters.units}
        for made in decisions:
            unit, why = made.unit, made.why or logs[made.unit]
            if made.reason is plan.Reason.DOWN:
                fail(f"{unit}, which is a client by our drop-in, does not run: {why}")
            elif made.goal in plan.LEFT and made.reason in plan.WISHED:
                wished(f"{unit} keeps its embedded DCGM: {why}")
            elif made.goal in plan.LEFT and made.reason not in plan.HARMLESS:
                fail(f"{unit} keeps its embedded DCGM: {why}")
        for mention in self._exporters.mentions:
            if mention.pids:
                what = f"{mention.name} {mention.role.value}, with an embedded DCGM"
                how = f"it is never changed; '{COMMAND} check' says how to connect it"
                is_wished = self._now.choice is Choice.LEAVE
                (wished if is_wished else fail)(f"{what}: {how}")

    def _change(self, made: plan.Decision) -> Change:
        exporter = next(one for one in self._exporters.units if one.name == made.unit)
        ours, stopped = self._records.ours.get(made.unit), self._records.stopped.get(made.unit)
        return Change(self._means, made, exporter, self._now.address, ours, stopped)

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
        return ours is not None and ours.withdrawn == plan.is_loaded(exporter)

    def _undo_strangers(self) -> None:
        """Undo what was done to units that are gone, or are no exporters any more."""
        names = {exporter.name for exporter in self._exporters.units}
        if strangers := [unit for unit in self._records.units if unit not in names]:
            put_back(self._means, self._records, strangers)
            self._look()

    def _stale(self) -> list[str]:
        """Return the units whose drop-in has to be made anew."""
        return [
            one.name
            for one in self._exporters.units
            if (ours := self._records.ours.get(one.name))
            and plan.is_stale(one, ours, self._now.address)
        ]

    def _renew(self) -> None:
        """See units whose drop-in has to be made anew as they are without it."""
        stale = self._stale()
        if stale and self._answer().answers:
            for unit in stale:
                self._means.attempt(unit, files.withdraw, self._records.ours[unit].text)
            self._means.reload()
            self._look()

    # Decide

    def _decide(self) -> tuple[plan.Decision, ...]:
        units = self._exporters.units
        if any(plan.needs_engine(one, self._records, self._now) for one in units):
            self._answer()
        return tuple(plan.decide(one, self._records, self._now) for one in units)

    def _answer(self) -> EngineAnswer:
        """Ask the engine, once."""
        if self._now.engine is not None:
            return self._now.engine
        engine = self._ask()
        try:
            view = None if engine.answers else self._means.systemd.view(ENGINE_SERVICE)
        except CommandFailed:
            view = None  # that is no sign of anything
        expected = is_expected(view, self._settings.engine_unit)
        self._now = replace(self._now, engine=engine, engine_is_expected=expected)
        return engine
