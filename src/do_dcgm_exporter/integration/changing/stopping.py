"""Stop and disable a unit, as the choice "stop" asks for."""

from __future__ import annotations

from do_dcgm_exporter.integration.changing import drop_in_files, stopped_units
from do_dcgm_exporter.integration.changing.means import Level, Means
from do_dcgm_exporter.integration.deciding.record import StoppedUnit
from do_dcgm_exporter.integration.deciding.records import Records
from do_dcgm_exporter.integration.looking import enablement
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.systemd import UnitView


class Stop:
    """One unit on its way to being stopped and disabled."""

    def __init__(self, means: Means, records: Records, view: UnitView) -> None:
        self._means = means
        self._view = view
        self._unit = view.name
        self._ours = records.ours.get(self._unit)
        self._before = records.stopped.get(self._unit)
        self._links = tuple(enablement.links_of(means.host, self._unit))

    @property
    def is_needed(self) -> bool:
        """Whether it runs, or will, or has a drop-in."""
        return self._runs or bool(self._links) or self._ours is not None

    @property
    def _runs(self) -> bool:
        return self._view.is_running or self._view.sub_state == "auto-restart"

    @property
    def _ran(self) -> bool:
        """Whether it ran before anything was changed of it."""
        if self._runs or (self._before is not None and self._before.was_active):
            return True
        is_down = self._view.active_state == "failed"
        return is_down and self._ours is not None and self._ours.record.was_active

    def write(self) -> None:
        """Write down how it is, and disable it. Raises CannotChange."""
        links = dict.fromkeys([*(self._before.links if self._before else ()), *self._links])
        stopped_units.disable(self._means.host, self._unit, StoppedUnit(self._ran, tuple(links)))
        if self._ours:
            drop_in_files.withdraw(self._means.host, self._unit, self._ours.text)

    def stop(self) -> bool:
        """Stop it; return whether that worked."""
        if not self._means.may_restart(self._unit):
            return self._fail("policy-rc.d forbids to stop it")
        try:
            self._means.systemd.stop(self._unit)
        except CommandFailed as error:
            self._means.pace.check()
            return self._fail(f"cannot be stopped: {error}")
        if self._ours:
            with_folder = self._ours.record.made_folder
            drop_in_files.remove(self._means.host, self._unit, with_folder=with_folder)
        self._means.tell(Level.INFO, f"{self._unit}: is stopped and disabled")
        if self._view.triggered_by:
            names = " ".join(self._view.triggered_by)
            return self._fail(f"{names} may start it again: systemctl disable --now {names}")
        return True

    def _fail(self, what: str) -> bool:
        self._means.tell(Level.WARNING, f"{self._unit}: {what}")
        return False
