"""Tell which GPUs the driver has lost, and which the engine no longer samples.

Before 4.5 the engine keeps a lost GPU on its list and calls its status OK, but the GPU's bus
id turns blank or, if that is what the driver says, not found; nothing else causes this. Since
4.5 the engine drops a lost GPU from its list of supported GPUs and refuses to watch it, provided
that the driver no longer gives a handle for it (all observed).

When a call to the driver never returns, the engine keeps answering from its cache with values
that grow old (observed on 3.3.9 and 4.6.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.plan import LIFE_SIGN_FIELD
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import EngineError
from do_dcgm_exporter.dcgm.topology import Gpu

# A sample is always older than its reading, but the clock of a remote engine may be ahead, in
# seconds.
_AHEAD = 10.0
_LOST_SIGNS = (Absence.BLANK, Absence.NOT_FOUND, Absence.GPU_LOST)


class EngineStalled(EngineError):
    """Raised when the engine answers but has no current value of any GPU.

    The connection stays good, since values may return at any moment.
    """


@dataclass(slots=True)
class Losses:
    """The GPUs that one session has seen lost.

    ``silent`` are the GPUs that gave no life sign in the last reading, ``ever`` all that
    have ever been lost.
    """

    silent: frozenset[int] = frozenset()
    ever: set[int] = field(default_factory=set)

    def judge(
        self, readings: Readings, gpus: Iterable[Gpu], told: frozenset[int]
    ) -> frozenset[int]:
        """Return the GPUs that are lost now: those the engine has ``told``, and the silent ones.

        A GPU whose UUID is unknown counts as lost until the driver reports one, as its series
        would have no UUID.
        """
        gpus = tuple(gpus)
        signs = {gpu.id: readings.get(gpu.entity, LIFE_SIGN_FIELD) for gpu in gpus}
        self.silent = frozenset(gpu_id for gpu_id, sign in signs.items() if sign in _LOST_SIGNS)
        nameless = {gpu.id for gpu in gpus if not gpu.uuid}
        lost = (self.silent | told) & signs.keys()
        self.ever |= lost
        return lost | nameless


def stalled_gpus(
    readings: Readings, gpus: Iterable[Gpu], gpu_id_of: Callable[[Entity], int | None]
) -> frozenset[int]:
    """Return those of ``gpus`` that have no current value and are not lost."""
    doubtful = {
        gpu.id
        for gpu in gpus
        if gpu.id not in readings.lost_gpus
        and isinstance(readings.get(gpu.entity, LIFE_SIGN_FIELD), Absence)
    }
    if not doubtful:
        return frozenset()
    # As with any field, the life sign alone may be missing.
    return frozenset(doubtful.difference(map(gpu_id_of, readings.sampled_entities())))


def engine_stalled(readings: Readings) -> EngineStalled:
    """Return the error that says why there may be no current value of any GPU.

    An engine samples again once the wall clock is an interval past the last sample. After the
    clock is set back, it samples nothing until the clock has caught up (tried on 4.6.0).
    """
    newest = max((raw.timestamp for raw in readings.raw.values()), default=0) / 1e6
    if newest - readings.now > _AHEAD:
        return EngineStalled(
            "the engine samples nothing until the clock, which was set back, has caught up:"
            " restart nvidia-dcgm"
        )
    return EngineStalled(
        "the engine answers, but has no value of any GPU that is less than"
        f" {readings.stale_after:g} s old: the driver may not answer it"
    )
