"""Change units as decided: their files first, then one reload, then all side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from do_dcgm_exporter.integration.changing import files
from do_dcgm_exporter.integration.changing.files import CannotChange
from do_dcgm_exporter.integration.changing.proof import Proof
from do_dcgm_exporter.integration.changing.running import Level, Means, in_parallel
from do_dcgm_exporter.integration.changing.undoing import Undoing
from do_dcgm_exporter.integration.deciding.exporter import Exporters
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
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.settings import EngineAddress


class Changes:
    """Changes to the units of a machine; ``failed`` are those that are not as decided."""

    def __init__(
        self, means: Means, records: Records, exporters: Exporters, address: EngineAddress
    ) -> None:
        self._means = means
        self._host = means.host
        self._records = records
        self._exporters = {one.name: one for one in exporters.units}
        self._address = address
        self.failed: set[str] = set()

    def carry_out(self, decisions: Sequence[Decision]) -> None:
        """Bring every unit to its goal."""
        originals = [made for made in decisions if made.goal is Goal.ORIGINAL]
        self.undo([made.unit for made in originals])
        for made in originals:
            if made.reason is Reason.REFUSED:
                self._remember_refusal(made.unit, made.why)
        others = [made for made in decisions if self.is_work(made) and made not in originals]
        written = [made for made in others if self.write(made)]
        if written:
            self._means.reload()
            in_parallel([partial(self._finish, made) for made in written])
            self._means.reload()  # what was proven stands in the drop-ins

    def undo(self, units: Sequence[str]) -> None:
        """Put units back as they were."""
        undoing = Undoing(self._means, self._records)
        undoing.put_back(units)
        self.failed |= undoing.failed

    def is_work(self, made: Decision) -> bool:
        """Whether a unit has to be written, proven, started again, stopped or put back."""
        unit = made.unit
        if made.goal is Goal.STOPPED:
            has_links = any(True for _ in links_of(self._host, unit))
            return _runs(self._view(unit)) or has_links or unit in self._records.ours
        if made.goal is Goal.CLIENT:
            return made.reason is Reason.NONE or unit in self._records.stopped
        return made.goal is Goal.ORIGINAL

    def write(self, made: Decision) -> bool:
        """Put the files of a unit in place; return whether that worked."""
        return self._try(made.unit, partial(self._write, made))

    def withdraw(self, unit: str) -> None:
        """Hide the drop-in of a unit, to see the unit as it is without."""
        text = self._records.ours[unit].text
        self._try(unit, partial(files.withdraw, self._host, unit, text))

    def _write(self, made: Decision) -> None:
        unit, ours = made.unit, self._records.ours.get(made.unit)
        stopped = self._records.stopped.get(unit, StoppedUnit(was_active=False))
        if made.goal is Goal.STOPPED:
            links = dict.fromkeys([*stopped.links, *links_of(self._host, unit)])
            files.disable(self._host, unit, StoppedUnit(self._ran(unit), tuple(links)))
            if ours:
                files.withdraw(self._host, unit, ours.text)
        else:
            files.enable(self._host, unit, stopped)
            if made.text:
                files.install(self._host, unit, made.text)

    def _finish(self, made: Decision) -> None:
        finish = self._stop if made.goal is Goal.STOPPED else self._prove
        self._try(made.unit, partial(finish, made))

    # Clients

    def _prove(self, made: Decision) -> None:
        """Have a unit run as a client; one that does not is put back."""
        unit, view = made.unit, self._view(made.unit)
        text = made.text or self._records.ours[unit].text
        proof = Proof(self._means, self._exporters[unit], self._address.port)
        fell = view.is_in_trouble and record_of(text).was_active
        if not (view.is_running or fell or self._was_stopped_by_us(unit)):
            self._tell(unit, f"will be a client of {self._address} when it is started")
        elif made.restart or not proof.is_given():
            if not self._means.may_restart(unit):
                how = f"to make it a client of {self._address}: systemctl restart {unit}"
                self._tell(unit, f"policy-rc.d forbids to restart it; {how}", Level.WARNING)
                return
            if obstacle := proof.restart_and_wait():
                self._put_back(unit, text, obstacle)
                return
            self._settle(unit, text)
            self._tell(unit, f"is a client of {self._address} now")
        else:
            self._settle(unit, text)
        files.forget(self._host, unit)

    def _settle(self, unit: str, text: str) -> None:
        """Write down that a unit is proven, unless somebody has edited its drop-in meanwhile."""
        if files.is_there(self._host, unit, text):
            proven = replace(record_of(text), proven=True)
            files.install(self._host, unit, with_record(text, proven))

    def _put_back(self, unit: str, text: str, obstacle: str) -> None:
        """Undo a drop-in, and remember not to try the same again."""
        self.failed.add(unit)
        undoing = Undoing(self._means, Records({unit: DropIn(text, record_of(text))}))
        if undoing.put_files_back(unit):
            self._means.reload()
            runs = undoing.run_as_before(unit)
            self._remember_refusal(unit, obstacle)
            how = "runs as before, with an embedded DCGM" if runs else "does not run"
            what = f"{obstacle}; its drop-in was taken back and it {how}"
            self._tell(unit, what, Level.WARNING)

    def _remember_refusal(self, unit: str, why: str) -> None:
        tried = tried_with(self._exporters[unit], self._address)
        files.remember_refusal(self._host, unit, tried, why)

    # Stopping

    def _was_stopped_by_us(self, unit: str) -> bool:
        return unit in self._records.stopped and self._records.stopped[unit].was_active

    def _ran(self, unit: str) -> bool:
        """Whether a unit ran before anything was changed of it."""
        view, ours = self._view(unit), self._records.ours.get(unit)
        fell = view.active_state == "failed" and ours is not None and ours.record.was_active
        return _runs(view) or fell or self._was_stopped_by_us(unit)

    def _stop(self, made: Decision) -> None:
        unit, view, means = made.unit, self._view(made.unit), self._means
        if not means.may_restart(unit):
            self._fail(unit, f"{unit}: policy-rc.d forbids to stop it")
            return
        try:
            means.ask(partial(means.systemd.stop, unit))
        except CommandFailed as error:
            self._fail(unit, f"{unit}: cannot be stopped: {error}")
            return
        if ours := self._records.ours.get(unit):
            files.remove(self._host, unit, with_folder=ours.record.made_folder)
        self._tell(unit, "is stopped and disabled")
        if view.triggered_by:
            names = " ".join(view.triggered_by)
            how = f"systemctl disable --now {names}"
            self._fail(unit, f"{unit}: {names} may start it again: {how}")

    def _view(self, unit: str) -> UnitView:
        return self._exporters[unit].view

    def _try(self, unit: str, change: Callable[[], None]) -> bool:
        try:
            change()
        except CannotChange as error:
            self._fail(unit, str(error))
            return False
        return True

    def _fail(self, unit: str, what: str) -> None:
        self.failed.add(unit)
        self._means.tell(Level.WARNING, what)

    def _tell(self, unit: str, what: str, level: Level = Level.INFO) -> None:
        self._means.tell(level, f"{unit}: {what}")


def _runs(view: UnitView) -> bool:
    return view.is_running or view.sub_state == "auto-restart"
