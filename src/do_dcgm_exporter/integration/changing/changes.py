"""Change a unit as decided: its files first, and then, once they have been read, what runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.proof import Proof
from do_dcgm_exporter.integration.changing.running import Level
from do_dcgm_exporter.integration.changing.undoing import Undoing
from do_dcgm_exporter.integration.deciding.exporter import UnitExporter
from do_dcgm_exporter.integration.deciding.plan import Decision, Goal, Reason, tried_with
from do_dcgm_exporter.integration.deciding.records import (
    DropIn,
    StoppedUnit,
    record_of,
    with_record,
)
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.our_files import links_of


@dataclass(frozen=True, slots=True)
class Change(Undoing):
    """What was decided of an exporter, beside what undoes what was done to it before."""

    decision: Decision
    exporter: UnitExporter
    address: EngineAddress

    @property
    def is_needed(self) -> bool:
        """Whether a unit has to be written, proven, started again, stopped or put back."""
        if self.decision.goal is Goal.STOPPED:
            has_links = any(links_of(self.means.host, self.unit))
            return self.exporter.view.will_run or has_links or self.ours is not None
        if self.decision.goal is Goal.CLIENT:
            return self.decision.reason is Reason.NONE or self.stopped is not None
        return self.decision.goal is Goal.ORIGINAL

    def write(self) -> None:
        """Put the unit's files in place. Raises CannotChange or OSError."""
        host, unit = self.means.host, self.unit
        if self.decision.goal is Goal.ORIGINAL:
            Undoing.write(self)
        elif self.decision.goal is Goal.STOPPED:
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
        """Stop the unit, put it back, or have it run as a client: its files have been read."""
        if self.decision.goal is Goal.ORIGINAL:
            Undoing.finish(self)
            if self.decision.reason is Reason.REFUSED:
                self._remember_refusal(self.decision.why)
        elif self.decision.goal is Goal.STOPPED:
            self.means.attempt(self.unit, self._stop)
        else:
            self.means.attempt(self.unit, self._prove)

    def _prove(self) -> None:
        """Have the unit run as a client; one that does not is put back."""
        text = self.decision.text or (self.ours.text if self.ours else "")
        view, record = self.exporter.view, record_of(text)
        fell = view.is_in_trouble and record.was_active
        if view.is_running or fell or (self.stopped and self.stopped.was_active):
            proof = Proof(self.means, self.exporter, self.address.port)
            is_new = self.decision.restart or not proof.is_given()
            if is_new and (obstacle := proof.restart_and_wait()):
                replace(self, ours=DropIn(text, record))._take_back(obstacle)
                return
            # Unless somebody has edited it meanwhile.
            if files.is_there(self.means.host, self.unit, text):
                proven = with_record(text, replace(record, proven=True))
                files.install(self.means.host, self.unit, proven)
            if is_new:
                self._tell(f"is a client of {self.address} now")
        else:
            self._tell(f"will be a client of {self.address} when it is started")
        files.forget(self.means.host, self.unit)

    def _take_back(self, obstacle: str) -> None:
        """Undo a drop-in that does not work, and remember not to try the same again."""
        Undoing.write(self)
        self.means.reload()
        runs = self.run_as_before()
        self._remember_refusal(obstacle)
        how = "runs as before, with an embedded DCGM" if runs else "does not run"
        self.means.fail(f"{self.unit}: {obstacle}; its drop-in was taken back and it {how}")

    def _remember_refusal(self, why: str) -> None:
        tried = tried_with(self.exporter, self.address)
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
