"""When things go wrong in a simulated run, as drawn from the seed.

Each run leaves out some kinds of trouble, so that the others can combine undisturbed; a run may
also be limited to a few kinds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from tests.simulation import engine_troubles, gpu_troubles, other_troubles
from tests.simulation.engine import CallFault
from tests.simulation.scheduler import Scheduler
from tests.simulation.tampering import CALL_STATUSES, CHANGES, tamper
from tests.simulation.troubles import Trouble, Troubles

from dcgm_simulator.wire import Function

ALL_TROUBLES: tuple[Trouble, ...] = (
    engine_troubles.kill,
    engine_troubles.kill,
    engine_troubles.drop,
    engine_troubles.hang,
    engine_troubles.refuse,
    engine_troubles.slow,
    engine_troubles.flake,
    engine_troubles.refuse_one,
    engine_troubles.refuse_one,
    engine_troubles.slow_one,
    engine_troubles.garble,
    other_troubles.lose_bindings,
    gpu_troubles.cut,
    gpu_troubles.lose,
    gpu_troubles.lose,
    gpu_troubles.xid,
    gpu_troubles.xid,
    gpu_troubles.kill_driver,
    gpu_troubles.spoil,
    engine_troubles.freeze,
    engine_troubles.freeze,
    engine_troubles.stall,
    gpu_troubles.profiling,
    other_troubles.other_client,
    other_troubles.other_client,
    gpu_troubles.health,
    other_troubles.step,
    other_troubles.suspend,
    other_troubles.reconfigure,
    other_troubles.change_endpoint,
)
"""Those listed twice come twice as often."""


@dataclass
class _Armed:
    """A trouble that comes with a future call."""

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
            kind = draw.choice(kinds or [engine_troubles.kill])
            if draw.random() < 0.4:
                self._armed.append(_Armed(draw.randrange(1, draw.choice((8, 80, 300))), kind))
            else:
                self.scheduler.at(draw.uniform(0, duration), partial(self.troubles.make, kind))

    def fault_at(self, function: Function) -> CallFault | None:
        """What happens to the present call."""
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
