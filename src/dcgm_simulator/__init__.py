"""A stand-in for NVIDIA DCGM on machines without GPUs.

`python3 -m dcgm_simulator` is the simulated nv-hostengine; the directory
`bindings_directory()` takes the place of NVIDIA's Python bindings. Both imitate
limits, errors, sentinels and timing of the real ones; the numbers are invented.
"""

from __future__ import annotations

from pathlib import Path

from dcgm_simulator.versions import ALL_VERSIONS, VERSIONS

__all__ = ["ALL_VERSIONS", "SCENARIOS", "VERSIONS", "bindings_directory"]

SCENARIOS = {
    "h100x1": "one H100 80GB",
    "h100x8": "eight H100 80GB, connected by NvLink",
    "h100x8-mig": "eight H100; GPUs 0 and 1 are cut into 3g.40gb + 2g.20gb + 2x 1g.10gb",
    "hgx": "eight H100, four NvSwitches with their links, two ConnectX adapters",
    "grace": "two Grace CPUs of 72 cores and two H100",
    "a100-no-prof": "two A100 and an engine without the profiling module",
    "h200x8": "eight H200, connected by NVLink",
    "b200x8": "eight B200, connected by NVLink",
    "l40sx2": "two L40S, which have neither NVLink nor MIG, without the profiling module",
    "rtx-pro-6000x2": "two RTX PRO 6000 Blackwell Server Edition, without the profiling module",
    "no-nvml": "an engine on a machine without the NVIDIA driver",
}
"""Names of the machines that can be simulated, each with one line about it."""


def bindings_directory() -> Path:
    """Return the directory to use where NVIDIA's bindings directory is expected."""
    return Path(__file__).resolve().parent / "bindings"
