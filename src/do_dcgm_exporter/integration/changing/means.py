"""What all changing needs: the machine, whom to tell, and when to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.host import COMMAND, Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView


class Level(Enum):
    """How important a message is."""

    INFO = "info"
    WARNING = "warning"


Tell = Callable[[Level, str], None]
MayRestart = Callable[[str], bool]


class Interrupted(ExporterError):
    """Raised where work stops because somebody asks for it: by Ctrl-C, or by SIGTERM."""

    exit_status = 130

    def __init__(self) -> None:
        super().__init__(
            f"interrupted; '{COMMAND} apply' goes on, '{COMMAND} restore' undoes it all"
        )


class Pace:
    """Lets time pass, and ends all waiting when the run is interrupted."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have whoever waits, now or later, raise Interrupted."""
        self._stopped.set()

    def sleep(self, seconds: float) -> None:
        """Wait. Raises Interrupted."""
        if self._stopped.wait(seconds):
            raise Interrupted

    def check(self) -> None:
        """Raise Interrupted if the run is."""
        if self._stopped.is_set():
            raise Interrupted


@dataclass(frozen=True, slots=True)
class Means:
    """What work on units needs, all of it replaceable.

    ``proof_seconds`` is how long a unit may take to come back as a client, ``settle_seconds``
    when a unit that was started is looked at.
    """

    host: Host
    tell: Tell
    systemd: Systemd = field(default_factory=Systemd)
    may_restart: MayRestart = lambda _: True
    pace: Pace = field(default_factory=Pace)
    proof_seconds: float = 120.0
    settle_seconds: float = 1.0
    # Units are changed in parallel, and the manager reads its files once at a time.
    reloading: threading.Lock = field(default_factory=threading.Lock)

    def reload(self) -> None:
        """Have the manager read the unit files anew."""
        with self.reloading:
            self.systemd.reload()

    def restart(self, view: UnitView, seconds: float | None = None) -> None:
        """Restart a unit. Raises CommandFailed, or Interrupted."""
        try:
            self.systemd.restart(view.name, seconds)
        except CommandFailed:
            self.pace.check()  # it was ended together with us
            raise
