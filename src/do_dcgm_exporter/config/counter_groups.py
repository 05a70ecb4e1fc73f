"""Ready-made groups of counters, for those who do not want to write a counters file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

GROUP_NAMES = ("memory", "nvlink", "ecc", "pcie", "mig", "power", "clocks")
NO_GROUP = "none"

_HERE = Path(__file__).resolve()
# Installed, the directory stands beside this package; in a clone at its top.
_DIRECTORIES = (_HERE.parents[2] / "counter-groups", _HERE.parents[3] / "counter-groups")


def group_files(names: Iterable[str]) -> tuple[Path, ...]:
    """Return the counters file of every group named, each once."""
    directory = next((path for path in _DIRECTORIES if path.is_dir()), _DIRECTORIES[0])
    return tuple(directory / f"{name}.csv" for name in dict.fromkeys(names) if name != NO_GROUP)
