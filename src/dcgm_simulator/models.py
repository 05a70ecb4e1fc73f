"""Models of GPUs of which there is no recording: what is known of each, as data.

A machine of such GPUs answers as the recorded H100 do, with the facts below in the place of
theirs. Whatever differs between models and is not known of one is not supported by it. Sources:

* nvidia-smi of one GPU each: B200 and L40S (NVIDIA/k8s-test-infra at 3b2b865,
  tests/e2e/go/assertions/nvidiasmi/testdata/hardware/), H200 (a log of driver 550.90.12,
  published in a stand-in for nvidia-smi). Temperatures are the current one and the distances
  "T.Limit" to each limit;
* RTX PRO 6000: device id from NVIDIA/mig-parted (deployments/systemd/config-default.yaml at
  bd7160f); nvidia-smi as several users published it: 97887 MiB, 300 to 600 W, 2430 and 12481 MHz,
  driver 580.126.09; CUDA has 97249 MiB of the memory, the rest is reserved. Its datasheet has no
  NVLink;
* compute capability and the number of MIG instances: NVIDIA's MIG User Guide, "Supported GPUs",
  and CUDA GPUs for L40S. Profiles with their ids and memory are those of nvidia-smi mig -lgip in
  NVIDIA/mig-parted issue 120 (H200), NVIDIA/gpu-operator pull request 1351 (B200, of which only
  the small ones are legible) and GoogleCloudPlatform/container-engine-accelerators pull request 564
  (RTX PRO 6000; the larger ones are of the same driver, published elsewhere);
* profiling: Hopper's and GB100's is GPM; an L40S needs DCGM's profiling module (NVIDIA/DCGM issue
  210), and so does an RTX PRO 6000 (guilbaults/slurm-job-exporter issue 62: -33 with DCGM 4). Which
  metric groups the module has for them is not published, so their engine is one without it;
* an L40S has no temperature of its memory and says 0 (pages of NVIDIA's exporter with 595.58.03,
  which also lack all of NVLink).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from dcgm_simulator.codes import Value

NVIDIA = 0x10DE


class Fact(IntEnum):
    """What differs between models, by the id of the field that tells it."""

    DRIVER = 1
    NVML = 2
    CUDA = 5
    NAME = 50
    PCI_DEVICE = 58
    PCI_SUBSYSTEM = 59
    COMPUTE_CAPABILITY = 63
    INFOROM_ECC = 80
    INFOROM_IMAGE = 82
    VBIOS = 85
    BAR1 = 90
    MEMORY_CLOCK = 101
    SM_APPLICATION_CLOCK = 110
    MEMORY_APPLICATION_CLOCK = 111
    SM_CLOCK_LIMIT = 113
    MEMORY_CLOCK_LIMIT = 114
    VIDEO_CLOCK_LIMIT = 115
    MEMORY_OPERATING_TEMPERATURE = 151
    OPERATING_TEMPERATURE = 152
    SLOWDOWN_TEMPERATURE = 158
    SHUTDOWN_TEMPERATURE = 159
    POWER_LIMIT = 160
    LEAST_POWER_LIMIT = 161
    GREATEST_POWER_LIMIT = 162
    DEFAULT_POWER_LIMIT = 163
    ENFORCED_POWER_LIMIT = 164
    PCIE_GENERATION_LIMIT = 235
    PCIE_GENERATION = 237
    MEMORY = 250
    RESERVED_MEMORY = 253
    SPARE_BANKS = 385


MEMORY_TEMPERATURE = 140


class Profile(NamedTuple):
    """A MIG profile, with NVML's numbers for it."""

    slices: int
    gpu_instance_profile: int
    compute_instance_profile: int
    instance_ids: tuple[int, ...]
    memory: int
    """MiB."""


SEVENTHS = tuple(range(7, 14))
H100_SLICES = 7
H100_PROFILES = {
    "1g.10gb": Profile(1, 19, 0, SEVENTHS, 9856),
    "2g.20gb": Profile(2, 14, 1, (3, 4, 5), 20096),
    "3g.40gb": Profile(3, 9, 2, (2, 1), 40448),
    "4g.40gb": Profile(4, 5, 3, (1,), 40448),
    "7g.80gb": Profile(7, 0, 4, (0,), 81079),
}


@dataclass(frozen=True)
class Model:
    """One model: its facts, and what else it is like."""

    facts: Mapping[Fact, Value]
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    slices: int = H100_SLICES
    """Into how many instances it can be cut."""
    nvlinks: bool = True
    """Whether it has the NVLinks of an H100, or none."""
    profiling: bool = True
    others: Mapping[int, Value | None] = field(default_factory=dict)
    """What fields say that every recorded GPU has; None if it is not known."""


def _pci(device: int) -> int:
    return device << 16 | NVIDIA


def _driver(version: str, cuda: int) -> dict[Fact, Value]:
    """Return the driver that the facts were seen with; NVML is called after the CUDA it has."""
    nvml = f"{cuda // 1000}.{version}"
    return {Fact.DRIVER: version, Fact.NVML: nvml, Fact.CUDA: cuda}


def _power(limit: float, least: float) -> dict[Fact, Value]:
    return {
        Fact.POWER_LIMIT: limit,
        Fact.LEAST_POWER_LIMIT: least,
        Fact.GREATEST_POWER_LIMIT: limit,
        Fact.DEFAULT_POWER_LIMIT: limit,
        Fact.ENFORCED_POWER_LIMIT: limit,
    }


def _temperatures(operating: int, slowdown: int, shutdown: int) -> dict[Fact, Value]:
    return {
        Fact.OPERATING_TEMPERATURE: operating,
        Fact.SLOWDOWN_TEMPERATURE: slowdown,
        Fact.SHUTDOWN_TEMPERATURE: shutdown,
    }


def _clocks(sm: int, memory: int) -> dict[Fact, Value]:
    return {
        Fact.SM_CLOCK_LIMIT: sm,
        Fact.MEMORY_CLOCK: memory,
        Fact.MEMORY_CLOCK_LIMIT: memory,
    }


def _application_clocks(sm: int, memory: int) -> dict[Fact, Value]:
    return {Fact.SM_APPLICATION_CLOCK: sm, Fact.MEMORY_APPLICATION_CLOCK: memory}


def _pcie(generation: int) -> dict[Fact, Value]:
    return {Fact.PCIE_GENERATION: generation, Fact.PCIE_GENERATION_LIMIT: generation}


H200 = Model(
    facts={
        Fact.NAME: "NVIDIA H200",
        Fact.PCI_DEVICE: _pci(0x2335),
        Fact.PCI_SUBSYSTEM: _pci(0x18BE),
        Fact.COMPUTE_CAPABILITY: 9 << 16,
        Fact.INFOROM_ECC: "7.16",
        Fact.INFOROM_IMAGE: "G520.0280.02.02",
        Fact.VBIOS: "96.00.A5.00.03",
        Fact.BAR1: 262144,
        Fact.MEMORY: 143771,
        Fact.RESERVED_MEMORY: 700,
        Fact.VIDEO_CLOCK_LIMIT: 1545,
        Fact.SPARE_BANKS: 3072,
        **_driver("550.90.12", 12040),
        **_clocks(1980, 3201),
        **_application_clocks(1980, 3201),
        **_temperatures(28 + 59, 28 + 59 + 2, 28 + 59 + 8),
        **_power(700.0, 200.0),
        **_pcie(5),
    },
    profiles={
        "1g.18gb": Profile(1, 19, 0, SEVENTHS, 16384),
        "2g.35gb": Profile(2, 14, 1, (3, 4, 5), 33024),
        "3g.71gb": Profile(3, 9, 2, (2, 1), 71168),
        "4g.71gb": Profile(4, 5, 3, (1,), 71168),
        "7g.141gb": Profile(7, 0, 4, (0,), 143104),
    },
)
B200 = Model(
    facts={
        Fact.NAME: "NVIDIA B200",
        Fact.PCI_DEVICE: _pci(0x2901),
        Fact.PCI_SUBSYSTEM: _pci(0x1999),
        Fact.COMPUTE_CAPABILITY: 10 << 16,
        Fact.INFOROM_ECC: "7.16",
        Fact.INFOROM_IMAGE: "G525.0220.00.03",
        Fact.VBIOS: "97.00.FA.00.09",
        Fact.BAR1: 262144,
        Fact.MEMORY: 183359,
        Fact.RESERVED_MEMORY: 728,
        Fact.VIDEO_CLOCK_LIMIT: 1965,
        Fact.SPARE_BANKS: 3840,
        **_driver("580.105.08", 13000),
        **_clocks(1965, 3996),
        **_application_clocks(1965, 3996),
        **_temperatures(39 + 49, 39 + 49 + 3, 39 + 49 + 5),
        **_power(1000.0, 200.0),
        **_pcie(5),
    },
    profiles={
        "1g.23gb": Profile(1, 19, 0, SEVENTHS, 20992),
        "2g.45gb": Profile(2, 14, 1, (3, 4, 5), 45312),
    },
)
L40S = Model(
    facts={
        Fact.NAME: "NVIDIA L40S",
        Fact.PCI_DEVICE: _pci(0x26B9),
        Fact.PCI_SUBSYSTEM: _pci(0x1851),
        Fact.COMPUTE_CAPABILITY: 8 << 16 | 9,
        Fact.INFOROM_ECC: "6.16",
        Fact.INFOROM_IMAGE: "G133.0242.00.03",
        Fact.VBIOS: "95.02.66.00.15",
        Fact.BAR1: 65536,
        Fact.MEMORY: 46068,
        Fact.RESERVED_MEMORY: 609,
        Fact.VIDEO_CLOCK_LIMIT: 1965,
        Fact.SPARE_BANKS: 192,
        **_driver("595.91.07", 13020),
        **_clocks(2520, 9001),
        **_temperatures(29 + 59, 29 + 59 + 2, 29 + 59 + 5),
        **_power(350.0, 100.0),
        **_pcie(4),
    },
    nvlinks=False,
    profiling=False,
    others={MEMORY_TEMPERATURE: 0},
)
RTX_PRO_6000 = Model(
    facts={
        Fact.NAME: "NVIDIA RTX PRO 6000 Blackwell Server Edition",
        Fact.PCI_DEVICE: _pci(0x2BB5),
        Fact.COMPUTE_CAPABILITY: 12 << 16,
        Fact.MEMORY: 97887,
        Fact.RESERVED_MEMORY: 97887 - 97249,
        **_driver("580.126.09", 13000),
        **_clocks(2430, 12481),
        **_power(600.0, 300.0),
        **_pcie(5),
    },
    profiles={
        "1g.24gb": Profile(1, 14, 0, (3, 4, 5, 6), 24192),
        "2g.48gb": Profile(2, 5, 1, (1, 2), 48512),
        "4g.96gb": Profile(4, 0, 3, (0,), 97280),
    },
    slices=4,
    nvlinks=False,
    profiling=False,
    others={MEMORY_TEMPERATURE: None},
)
