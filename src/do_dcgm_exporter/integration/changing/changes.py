"""Change units as decided: their files first, then one reload, then all side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from do_dcgm_exporter.integration.changing import files, undoing
from do_dcgm_exporter.integration.changing.proof import Proof
from do_dcgm_exporter.integration.changing.running import CannotChange, Level, Means, in_parallel
from do_dcgm_exporter.integration.deciding.exporter import UnitExporter
from do_dcgm_exporter.integration.deciding.plan import Decision, Goal, Reason, tried_with
from do_dcgm_exporter.integration.deciding.records import (
    DropIn,
    Records,
    StoppedUnit,
    record_of,
    with_record,
)
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.our_files import links_of
from do_dcgm_exporter.settings import EngineAddress


@dataclass(frozen=True, slots=True)
class Change:
    """What was decided of a unit, and what is known of it."""

    means: Means
    decision: Decision
    exporter: UnitExporter
    address: EngineAddress
    ours: DropIn | None
    stopped: StoppedUnit | None

    @property
    def unit(self) -> str:
        """The unit's name."""
        return self.decision.unit

    @property
    def is_needed(self) -> bool:
        """Whether a unit has to be written, proven, started again, stopped or put back."""
        if self.decision.goal is Goal.STOPPED:
            has_links = any(links_of(self.means.host, self.unit))
            return self.exporter.view.will_run or has_links or self.ours is not None
        if self.decision.goal is Goal.CLIENT:
            return self.decision.reason is Reason.NONE or self.stopped is not None
        return self.decision.goal is Goal.ORIGINAL

    def write(self) -> bool:
        """Put the files of a unit in place; return whether that worked."""
        host, unit, attempt = self.means.host, self.unit, self.means.attempt
        stopped = self.stopped or StoppedUnit(was_active=False)
        if self.decision.goal is not Goal.STOPPED:
            text = self.decision.text
            return attempt(unit, files.enable, stopped) and (
                not text or attempt(unit, files.install, text)
            )
        view, ours = self.exporter.view, self.ours
        fell = view.active_state == "failed" and ours is not None and ours.record.was_active
        links = dict.fromkeys([*stopped.links, *links_of(host, unit)])
        ran = StoppedUnit(view.will_run or fell or stopped.was_active, tuple(links))
        return attempt(unit, files.disable, ran) and (
            not ours or attempt(unit, files.withdraw, ours.text)
        )

    def finish(self) -> None:
        """Stop a unit, or have it run as a client, now that the manager has read its files."""
        try:
            self._stop() if self.decision.goal is Goal.STOPPED else self._prove()
        except CannotChange as error:
            self.means.fail(str(error))

    def _prove(self) -> None:
        """Have a unit run as a client; one that does not is put back."""
        view, text = self.exporter.view, self.decision.text or (self.ours.text if self.ours else "")
        proof = Proof(self.means, self.exporter, self.address.port)
        fell = view.is_in_trouble and record_of(text).was_active
        ran = self.stopped is not None and self.stopped.was_active
        if not (view.is_running or fell or ran):
            self._tell(f"will be a client of {self.address} when it is started")
        elif not self.decision.restart and proof.is_given():
            self._settle(text)
        elif not self.means.may_restart(self.unit):
            how = f"to make it a client of {self.address}: systemctl restart {self.unit}"
            self._tell(f"policy-rc.d forbids to restart it; {how}", Level.WARNING)
            return
        elif obstacle := proof.restart_and_wait():
            self._put_back(text, obstacle)
            return
        else:
            self._settle(text)
            self._tell(f"is a client of {self.address} now")
        files.forget(self.means.host, self.unit)

    def _settle(self, text: str) -> None:
        """Write down that a unit is proven, unless somebody has edited its drop-in meanwhile."""
        if files.is_there(self.means.host, self.unit, text):
            proven = replace(record_of(text), proven=True)
            files.install(self.means.host, self.unit, with_record(text, proven))

    def _put_back(self, text: str, obstacle: str) -> None:
        """Undo a drop-in, and remember not to try the same again."""
        records = Records({self.unit: DropIn(text, record_of(text))})
        if undoing.put_files_back(self.means, records, self.unit):
            self.means.reload()
            runs = undoing.run_as_before(self.means, records, self.unit)
            self.remember_refusal(obstacle)
            how = "runs as before, with an embedded DCGM" if runs else "does not run"
            what = f"{obstacle}; its drop-in was taken back and it {how}"
            self.means.fail(f"{self.unit}: {what}")

    def remember_refusal(self, why: str) -> None:
        """Remember that a unit would not be a client."""
        tried = tried_with(self.exporter, self.address)
        files.remember_refusal(self.means.host, self.unit, tried, why)

    def _stop(self) -> None:
        means, unit, triggers = self.means, self.unit, " ".join(self.exporter.view.triggered_by)
        if not means.may_restart(unit):
            means.fail(f"{unit}: policy-rc.d forbids to stop it")
            return
        try:
            means.ask(partial(means.systemd.stop, unit))
        except CommandFailed as error:
            means.fail(f"{unit}: cannot be stopped: {error}")
            return
        if self.ours:
            files.remove(means.host, unit, self.ours.record.made_folder)
        self._tell("is stopped and disabled")
        if triggers:
            how = f"systemctl disable --now {triggers}"
            means.fail(f"{unit}: {triggers} may start it again: {how}")

    def _tell(self, what: str, level: Level = Level.INFO) -> None:
        self.means.tell(level, f"{self.unit}: {what}")


def carry_out(means: Means, records: Records, changes: Sequence[Change]) -> None:
    """Bring every unit to its goal."""
    originals = [one for one in changes if one.decision.goal is Goal.ORIGINAL]
    undoing.put_back(means, records, [one.unit for one in originals])
    for one in originals:
        if one.decision.reason is Reason.REFUSED:
            one.remember_refusal(one.decision.why)
    others = [one for one in changes if one not in originals and one.is_needed and one.write()]
    if others:
        means.reload()
        in_parallel([one.finish for one in others])
        means.reload()  # what was proven stands in the drop-ins
