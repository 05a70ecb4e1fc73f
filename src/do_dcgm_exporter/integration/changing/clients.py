"""Make units clients of the engine: files first, then one restart each, and a proof."""

from __future__ import annotations

from do_dcgm_exporter.integration.changing import drop_in_files, refusals, stopped_units
from do_dcgm_exporter.integration.changing.means import Level, Means
from do_dcgm_exporter.integration.changing.proof import Watched
from do_dcgm_exporter.integration.changing.undoing import Undoing
from do_dcgm_exporter.integration.deciding.exporter import UnitExporter
from do_dcgm_exporter.integration.deciding.plan import Decision
from do_dcgm_exporter.integration.deciding.record import Refusal, proven, record_of
from do_dcgm_exporter.integration.deciding.records import DropIn, Owner, Records
from do_dcgm_exporter.settings import EngineAddress


class Client:
    """One unit on its way to being a client."""

    def __init__(
        self,
        means: Means,
        records: Records,
        exporter: UnitExporter,
        decision: Decision,
        address: EngineAddress,
    ) -> None:
        self._means = means
        self._exporter = exporter
        self.unit = exporter.name
        self._decision = decision
        self._address = address
        ours = records.ours.get(self.unit)
        self._text = decision.text or (ours.text if ours else "")
        self._stopped = records.stopped.get(self.unit)

    def write(self) -> None:
        """Put its files in place. Raises CannotChange."""
        if self._stopped:
            stopped_units.enable(self._means.host, self.unit, self._stopped)
        if self._decision.text:
            drop_in_files.install(self._means.host, self.unit, self._text)

    def announce(self) -> None:
        """Say what becomes of one that is not restarted now."""
        when = "once it is restarted" if self._exporter.view.is_running else "when it is started"
        self._tell(Level.INFO, f"will be a client of {self._address} {when}")

    def restart_and_prove(self) -> bool:
        """Have it run as a client; return False if it does not and was put back."""
        if not self._is_to_run():
            self._settle()
            self.announce()
            return True
        watched = Watched(self._means, self._exporter, self._address.port)
        if not self._decision.restart and watched.is_back():
            self._settle_proven()
            return True
        if not self._means.may_restart(self.unit):
            self._tell(
                Level.WARNING,
                f"policy-rc.d forbids to restart it; to make it a client of {self._address}:"
                f" systemctl restart {self.unit}",
            )
            return True
        watched.note()
        obstacle = watched.restart_and_wait()
        if obstacle:
            self._put_back(obstacle)
            return False
        self._settle_proven()
        self._tell(Level.INFO, f"is a client of {self._address} now")
        return True

    def _is_to_run(self) -> bool:
        """Whether it runs, or ran before we stopped it or broke off."""
        view = self._exporter.view
        if view.is_running or (self._stopped is not None and self._stopped.was_active):
            return True
        return view.is_in_trouble and record_of(self._text).was_active

    def _settle_proven(self) -> None:
        if drop_in_files.is_there(self._means.host, self.unit, self._text):
            drop_in_files.install(self._means.host, self.unit, proven(self._text))
        self._settle()

    def _settle(self) -> None:
        stopped_units.forget(self._means.host, self.unit)
        refusals.forget(self._means.host, self.unit)

    def _put_back(self, obstacle: str) -> None:
        """Undo it, and remember not to try the same again."""
        record = record_of(self._text)
        ours = {self.unit: DropIn(Owner.OURS, record, self._text)}
        undoing = Undoing(self._means, Records(ours))
        if not undoing.put_files_back(self.unit):
            return
        self._means.reload()
        runs = undoing.run_as_before(self.unit)
        refusal = Refusal(self._exporter.source, str(self._address), obstacle)
        refusals.remember(self._means.host, self.unit, refusal)
        how = "runs as before, with an embedded DCGM" if runs else "does not run"
        self._tell(Level.WARNING, f"{obstacle}; its drop-in was taken back and it {how}")

    def _tell(self, level: Level, what: str) -> None:
        self._means.tell(level, f"{self.unit}: {what}")
