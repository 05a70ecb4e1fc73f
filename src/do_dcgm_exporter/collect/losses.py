"""Which GPUs the driver has lost, by all the signs that releases give, and which stand still.

Before 4.5 the engine lists a lost GPU as before and finds its status well; its bus id,
which no other trouble touches, turns blank. Since 4.5 the engine takes it off its list of
supported GPUs and refuses to watch it (all observed).

Where a call to the driver does not return, the engine goes on answering from its cache, with
values that grow old (observed on 3.3.9 and 4.6.0).
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

# Samples are taken before they are read; the engine may be on another host, whose clock differs.
_AHEAD = 10.0
_LOST_SIGNS = (Absence.BLANK, Absence.GPU_LOST)


class EngineStalled(EngineError):
    """Raised when the engine answers and has no current value of any GPU.

    The connection stays good: values may come again any moment.
    """


@dataclass(slots=True)
class Losses:
    """The losses that one session has seen.

    ``silent`` are the GPUs whose life sign was blank at the last reading, ``ever`` all that
    were lost at any.
    """

    silent: frozenset[int] = frozenset()
    ever: set[int] = field(default_factory=set)

    def judge(
        self, readings: Readings, gpus: Iterable[Gpu], told: frozenset[int]
    ) -> frozenset[int]:
        """Return the GPUs that are lost now: those the engine has ``told``, and the silent ones.

        A GPU that nobody has told the name of counts as lost until it is asked again: its
        samples would be in series of no UUID.
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
    """Return those of ``gpus`` of which there is no current value, lost ones left out."""
    doubtful = {
        gpu.id
        for gpu in gpus
        if gpu.id not in readings.lost_gpus
        and isinstance(readings.get(gpu.entity, LIFE_SIGN_FIELD), Absence)
    }
    if not doubtful:
        return frozenset()
    # The life sign alone may be missing, as any field may.
    return frozenset(doubtful.difference(map(gpu_id_of, readings.sampled_entities())))


def engine_stalled(readings: Readings) -> EngineStalled:
    """Return the error that says why there may be no current value of any GPU.

    An engine samples next when an interval has passed by the wall clock since the last time: where
    that was set back, it samples nothing until it is as late again (tried on 4.6.0).
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
