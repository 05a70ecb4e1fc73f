"""What each scenario consists of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dcgm_simulator.models import (
    B200,
    H100_PROFILES,
    H100_SLICES,
    H200,
    L40S,
    RTX_PRO_6000,
    Model,
    Profile,
)


@dataclass(frozen=True)
class Layout:
    """What a scenario consists of."""

    gpus: int
    recording: str = "h100"
    cut: tuple[int, ...] = ()
    switches: int = 0
    adapters: int = 0
    cpus: int = 0
    profiling: bool = True
    nvml: bool = True
    model: Model | None = None
    """The model that the recorded GPUs are made to resemble."""

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """Return the MIG profiles of the GPUs, by name."""
        if self.model is not None:
            return self.model.profiles
        return H100_PROFILES if self.recording == "h100" else {}

    @property
    def slices(self) -> int:
        """Return into how many instances a GPU can be cut."""
        return self.model.slices if self.model is not None else H100_SLICES


def _of(model: Model, gpus: int) -> Layout:
    return Layout(gpus, model=model, profiling=model.profiling)


LAYOUTS = {
    "h100x1": Layout(1),
    "h100x8": Layout(8),
    "h100x8-mig": Layout(8, cut=(0, 1)),
    "hgx": Layout(8, switches=4, adapters=2),
    "grace": Layout(2, cpus=2),
    "a100-no-prof": Layout(2, recording="a100", profiling=False),
    "h200x8": _of(H200, 8),
    "b200x8": _of(B200, 8),
    "l40sx2": _of(L40S, 2),
    "rtx-pro-6000x2": _of(RTX_PRO_6000, 2),
    "no-nvml": Layout(0, nvml=False),
}
RECORDED_CUT = ("3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb")
