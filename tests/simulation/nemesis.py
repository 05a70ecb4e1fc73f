"""When things go wrong in a simulated run: all of it drawn from the seed.

Each run leaves some kinds of trouble out altogether, so that others meet undisturbed; a run may
also be given the only ones to make.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.simulation.engine import CallFault
from tests.simulation.scheduler import Scheduler
from tests.simulation.tampering import CALL_STATUSES, CHANGES, tamper
from tests.simulation.troubles import ALL_TROUBLES, Trouble, Troubles

from dcgm_simulator.wire import Function


@dataclass
class _Armed:
    """A trouble that comes with a call yet to be made."""

    calls: int
    kind: Trouble


@dataclass
class Nemesis:
    """Makes ``troubles`` at drawn times and at drawn calls to the engine."""

    generator: random.Random
    scheduler: Scheduler
    troubles: Troubles
    only: Sequence[Trouble] = ()
    _armed: list[_Armed] = field(default_factory=list)

    def plan(self, duration: float) -> None:
        """Draw what will happen in ``duration`` seconds."""
        draw = self.generator
        kinds = self.only or [kind for kind in ALL_TROUBLES if draw.random() < 0.5]
        for _ in range(draw.randrange(1, 14)):
            kind = draw.choice(kinds or [Troubles.kill])
            if draw.random() < 0.4:
                self._armed.append(_Armed(draw.randrange(1, draw.choice((8, 80, 300))), kind))
            else:
                self.scheduler.at(draw.uniform(0, duration), partial(self.troubles.make, kind))

    def fault_at(self, function: Function) -> CallFault | None:
        """What befalls the call that is made now."""
        for armed in list(self._armed):
            armed.calls -= 1
            if armed.calls == 0:
                self._armed.remove(armed)
                return self._armed_fault(function, armed.kind)
        if function in self.troubles.unwilling:
            return self.troubles.unwilling[function]
        if self.troubles.flaky and self.generator.random() < self.troubles.flaky:
            return self._refusal(function)
        if self.troubles.tampering and function is Function.LATEST_VALUES:
            name, share = self.troubles.tampering
            self.troubles.tell(f"{share:.0%} {name}")
            return CallFault(
                tampered=lambda body: tamper(body, CHANGES[name], share, self.generator)
            )
        return None

    def _armed_fault(self, function: Function, kind: Trouble) -> CallFault:
        after = self.generator.random() < 0.5
        self.troubles.tell(f"at {function.name.lower()}{', answered' if after else ''}:")
        return CallFault(strike=lambda: self.troubles.make(kind), after=after)

    def _refusal(self, function: Function) -> CallFault:
        status = self.generator.choice(CALL_STATUSES)
        self.troubles.tell(f"{function.name.lower()} is refused with {status}")
        self.troubles.calm_since = None
        return CallFault(refused=status)

    def heal(self, version: str) -> None:
        """End all trouble."""
        self._armed.clear()
        self.troubles.heal(version)
