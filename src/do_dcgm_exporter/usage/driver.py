"""Look at the driver's GPUs, and at which of them some process has open.

For a GPU's file in /proc the driver may ask the GPU itself, which would wake one that is suspended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_UUID = re.compile(r"^GPU UUID:\s*(\S+)", re.MULTILINE)
_MINOR = re.compile(r"^Device Minor:\s*(\d+)", re.MULTILINE)
_DEVICE = re.compile(r"/nvidia(\d+)(?: \(deleted\))?$")


@dataclass(frozen=True, slots=True)
class DriverGpu:
    """A GPU of the driver: ``minor`` is the number of its device file.

    The driver knows the UUID once some process has opened the GPU.
    """

    bus_id: str
    uuid: str
    minor: int


def open_gpus(root: Path) -> tuple[DriverGpu, ...]:
    """Return the GPUs that some process has open, by bus id; none if no driver is loaded."""
    proc = root / "proc"
    gpus = tuple(
        _gpus(proc / "driver" / "nvidia" / "gpus", root / "sys" / "bus" / "pci" / "devices")
    )
    wanted = {gpu.minor for gpu in gpus}
    held: set[int] = set()
    # The engine holds all of them, so this rarely looks at every descriptor.
    for minor in _open_minors(proc) if wanted else ():
        held.add(minor)
        if held >= wanted:
            break
    return tuple(gpu for gpu in gpus if gpu.minor in held)


def _gpus(directory: Path, devices: Path) -> Iterator[DriverGpu]:
    if not directory.is_dir():
        return
    for gpu in sorted(directory.iterdir()):
        if _is_suspended(devices / gpu.name):
            continue
        text = (gpu / "information").read_text(encoding="utf-8", errors="replace")
        uuid, minor = _UUID.search(text), _MINOR.search(text)
        if uuid and minor:
            yield DriverGpu(gpu.name, uuid[1], int(minor[1]))


def _is_suspended(device: Path) -> bool:
    try:
        return (device / "power" / "runtime_status").read_text().strip() == "suspended"
    except OSError:
        return False  # a kernel without power management of devices


def _open_minors(proc: Path) -> Iterator[int]:
    for process in filter(str.isdigit, os.listdir(proc)):
        with suppress(OSError):  # it has ended
            yield from _minors_of(f"{proc}/{process}/fd")


def _minors_of(descriptors: str) -> Iterator[int]:
    for descriptor in os.listdir(descriptors):
        with suppress(OSError):  # it has been closed
            if device := _DEVICE.search(os.readlink(f"{descriptors}/{descriptor}")):
                yield int(device[1])
