"""What all changing needs: the machine, the records, and whom to tell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from do_dcgm_exporter.integration.changing import state
from do_dcgm_exporter.integration.changing.state import State, UnitRecord
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.systemd import Systemd

# How long an exporter may take to serve metrics again; longer if its interval is long.
SHORTEST_WAIT = 60.0


class Level(Enum):
    """How important a message is."""

    INFO = "info"
    WARNING = "warning"


Tell = Callable[[Level, str], None]
MayRestart = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all work on units needs."""

    host: Host
    systemd: Systemd
    state: State
    tell: Tell
    engine: str = "localhost:5555"
    engine_port: int = 5555
    may_restart: MayRestart = lambda _: True
    shortest_wait: float = SHORTEST_WAIT
    # Units are changed in parallel.
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def save(self) -> None:
        """Save the state."""
        state.save(self.host, self.state)

    def save_unit(self, record: UnitRecord) -> None:
        """Save one record, while others may save theirs."""
        with self.mutex:
            self.state.units[record.unit] = record
            self.save()

    def forget_unit(self, unit: str) -> None:
        """Drop the record of a unit, while others may save theirs."""
        with self.mutex:
            self.state.units.pop(unit, None)
            self.save()

    def reload(self) -> None:
        """Have the manager read the unit files anew, while others may ask for the same."""
        with self.mutex:
            self.systemd.reload()


def in_parallel(jobs: Sequence[Callable[[], None]]) -> None:
    """Run jobs at once and wait for all; raises the first error, once all have ended."""
    errors: list[Exception] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
