"""``apply``: look, decide, change. Files come first; once systemd has read them, what runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import EngineAnswer
from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.proof import Proof
from do_dcgm_exporter.integration.changing.running import Level, Means
from do_dcgm_exporter.integration.changing.undoing import Undoing, carry_out, carry_over
from do_dcgm_exporter.integration.deciding import plan
from do_dcgm_exporter.integration.deciding.exporter import Exporters, UnitExporter
from do_dcgm_exporter.integration.deciding.records import (
    DropIn,
    Records,
    StoppedUnit,
    record_of,
    records_in,
    with_record,
)
from do_dcgm_exporter.integration.exporters_here import exporters_here
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.engine_probe import is_expected
from do_dcgm_exporter.integration.looking.our_files import links_of, look_at_our_files


@dataclass(frozen=True, slots=True)
class Change(Undoing):
    """A decision about an exporter, and what undoes earlier changes to it."""

    decision: plan.Decision
    exporter: UnitExporter
    address: EngineAddress

    @property
    def is_needed(self) -> bool:
        """Whether a unit has to be written, proven, started again, stopped or restored."""
        if self.decision.goal is plan.Goal.STOPPED:
            has_links = any(links_of(self.means.host, self.unit))
            return self.exporter.view.will_run or has_links or self.ours is not None
        if self.decision.goal is plan.Goal.CLIENT:
            return self.decision.reason is plan.Reason.NONE or self.stopped is not None
        return self.decision.goal is plan.Goal.ORIGINAL

    def write(self) -> None:
        """Put the unit's files in place. Raises CannotChange or OSError."""
        host, unit = self.means.host, self.unit
        if self.decision.goal is plan.Goal.ORIGINAL:
            Undoing.write(self)
        elif self.decision.goal is plan.Goal.STOPPED:
            files.disable(host, unit, self._as_it_is())
            if self.ours:
                files.withdraw(host, unit, self.ours.text)
        else:
            if self.stopped:
                files.enable(host, unit, self.stopped)
            if self.decision.text:
                files.install(host, unit, self.decision.text)

    def _as_it_is(self) -> StoppedUnit:
        view, before = self.exporter.view, self.stopped or StoppedUnit(was_active=False)
        fell = view.active_state == "failed" and self.ours and self.ours.record.was_active
        links = dict.fromkeys([*before.links, *links_of(self.means.host, self.unit)])
        return StoppedUnit(bool(view.will_run or fell or before.was_active), tuple(links))

    def finish(self) -> None:
        """Stop the unit, restore it, or make it run as a client; its files have been read."""
        if self.decision.goal is plan.Goal.ORIGINAL:
            Undoing.finish(self)
            if self.decision.reason is plan.Reason.REFUSED:
                self._remember_refusal(self.decision.why)
        else:
            stops = self.decision.goal is plan.Goal.STOPPED
            self.means.attempt(self.unit, self._stop if stops else self._prove)

    def _prove(self) -> None:
        """Make the unit run as a client, or restore it if it does not."""
        text = self.decision.text or (self.ours.text if self.ours else "")
        view, record = self.exporter.view, record_of(text)
        fell = view.is_in_trouble and (record.was_active or view.invocation != record.invocation)
        if view.is_running or fell or (self.stopped and self.stopped.was_active):
            proof = Proof(self.means, self.exporter, self.address.port)
            is_new = self.decision.restart or not proof.is_given()
            obstacle, is_final = proof.restart_and_wait() if is_new else ("", True)
            if obstacle:
                ours = DropIn(text, replace(record, was_active=True))
                replace(self, ours=ours)._take_back(obstacle, is_final)
                return
            # Unless it has been edited in the meantime.
            if files.is_there(self.means.host, self.unit, text):
                proven = with_record(text, replace(record, proven=True))
                files.install(self.means.host, self.unit, proven)
            if is_new:
                self._tell(f"is a client of {self.address} now")
        else:
            self._tell(f"will be a client of {self.address} when it is started")
        files.forget(self.means.host, self.unit)

    def _take_back(self, obstacle: str, is_final: bool) -> None:
        """Undo a drop-in that does not work; if that is final, remember not to try it again."""
        Undoing.write(self)
        self.means.reload()
        runs = self.run_as_before()
        if is_final:
            self._remember_refusal(obstacle)
        how = "runs as before, with an embedded DCGM" if runs else "does not run"
        self.means.fail(f"{self.unit}: {obstacle}; its drop-in was removed, and it {how}")

    def _remember_refusal(self, why: str) -> None:
        tried = plan.tried_with(self.exporter, self.address)
        files.remember_refusal(self.means.host, self.unit, tried, why)

    def _stop(self) -> None:
        triggers = " ".join(self.exporter.view.triggered_by)
        try:
            systemd.stop(self.unit)
        except CommandFailed as error:
            self.means.fail(f"{self.unit}: cannot be stopped: {error}")
            return
        if self.ours:
            files.remove(self.means.host, self.unit, self.ours.record.made_folder)
        self._tell("is stopped and disabled")
        if triggers:
            how = f"systemctl disable --now {triggers}"
            self.means.fail(f"{self.unit}: {triggers} may start it again: {how}")

    def _tell(self, what: str) -> None:
        self.means.tell(Level.INFO, f"{self.unit}: {what}")


class Applying:
    """One run of ``apply``. The caller holds the lock."""

    def __init__(
        self, means: Means, settings: IntegrationSettings, ask: Callable[[], EngineAnswer]
    ) -> None:
        self._means = means
        self._settings = settings
        self._ask = ask
        self._now = plan.Circumstances(settings.choice, settings.local_engine)
        self._records = Records()
        self._exporters = Exporters()
        self._find = partial(exporters_here, means.host, settings.local_engine)

    def run(self) -> None:
        """Change what has to be changed, and report what is still not as it should be."""
        files.sweep(self._means.host)
        self._look()
        carry_over(self._means, self._records)
        self._ask_engine()
        self._renew()
        changes = [self._change(one) for one in self._exporters.units]
        # Units that are gone, or no longer exporters, are restored.
        strangers = set(self._records.units).difference(one.unit for one in changes)
        works = [Undoing(self._means, unit, *self._records.of(unit)) for unit in strangers]
        if carry_out(self._means, works + [one for one in changes if one.is_needed]):
            self._means.reload()  # the drop-ins say what was proven
        self._name_what_is_left([one.decision for one in changes])

    def write_only(self) -> list[str]:
        """Write the drop-ins of new clients, and return the units that need a restart."""
        self._find = partial(self._find, with_containers=False)
        files.sweep(self._means.host)
        self._look()
        self._ask_engine()
        changes = [self._change(one) for one in self._exporters.units]
        new = [one for one in changes if one.decision.text and one.stopped is None]
        if [one for one in new if self._means.attempt(one.unit, one.write)]:
            self._means.reload()
        absent = plan.Reason.ENGINE
        return [one.unit for one in changes if one.is_needed or one.decision.reason is absent]

    def _change(self, one: UnitExporter) -> Change:
        records, now = self._records, self._now
        decision = plan.decide(one, records, now)
        return Change(self._means, one.name, *records.of(one.name), decision, one, now.address)

    def _name_what_is_left(self, decisions: Sequence[plan.Decision]) -> None:
        fail, wished = self._means.fail, partial(self._means.tell, Level.WARNING)
        for complaint in self._records.complaints:
            fail(complaint)
        logs = {one.name: one.view.log for one in self._exporters.units}
        for made in decisions:
            unit, why = made.unit, made.why or logs[made.unit]
            if made.reason is plan.Reason.DOWN:
                fail(f"{unit}, which is a client by our drop-in, does not run: {why}")
            elif made.reason not in plan.HARMLESS | {plan.Reason.NONE}:
                is_wished = made.reason in plan.WISHED
                (wished if is_wished else fail)(f"{unit} keeps its embedded DCGM: {why}")
        for mention in self._exporters.mentions:
            if mention.pids:
                what = f"{mention.name} {mention.role.value}, with an embedded DCGM"
                how = f"it is never changed; '{COMMAND} check' says how to connect it"
                is_wished = self._now.choice is Choice.LEAVE
                (wished if is_wished else fail)(f"{what}: {how}")

    # Look

    def _look(self) -> None:
        self._records = records_in(look_at_our_files(self._means.host))
        ours, known = self._records.ours, self._records.units
        self._exporters = self._find(known)
        loaded = {one.name: plan.is_loaded(one) for one in self._exporters.units}
        if any(ours[unit].withdrawn == loaded[unit] for unit in ours.keys() & loaded.keys()):
            self._means.reload()  # which an interrupted run has left undone
            self._exporters = self._find(known)

    def _ask_engine(self) -> None:
        """Ask the engine, if any decision depends on its answer."""
        if self._now.choice is Choice.REWRITE and self._exporters.units:
            engine = self._ask()
            view = systemd.view(ENGINE_SERVICE)
            expected = is_expected(view, self._settings.engine_unit)
            self._now = replace(self._now, engine=engine, engine_is_expected=expected)

    def _renew(self) -> None:
        """Look at units with an outdated drop-in as they are without it."""
        ours, address, engine = self._records.ours, self._now.address, self._now.engine
        stale = [
            one.name
            for one in self._exporters.units
            if one.name in ours and plan.is_stale(one, ours[one.name], address)
        ]
        if stale and engine and engine.answers:
            for unit in stale:
                self._means.attempt(unit, files.withdraw, self._means.host, unit, ours[unit].text)
            self._means.reload()
            self._look()
