"""Where the counters files are: the default one, the user's, and the ready-made groups."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from do_dcgm_exporter.config.text_files import may_be_there

GROUP_NAMES = ("memory", "nvlink", "ecc", "pcie", "mig", "power", "clocks", "peaks")
NO_GROUP = "none"

_HERE = Path(__file__).resolve()
_CLONE = _HERE.parents[3]
# Installed, the directory is beside this package; in a clone it is at the top.
_GROUP_DIRECTORIES = (_HERE.parents[2] / "counter-groups", _CLONE / "counter-groups")


def group_files(names: Iterable[str]) -> tuple[Path, ...]:
    """Return the counters file of every group named, each once."""
    directory = next((path for path in _GROUP_DIRECTORIES if path.is_dir()), _GROUP_DIRECTORIES[0])
    return tuple(directory / f"{name}.csv" for name in dict.fromkeys(names) if name != NO_GROUP)


def default_counters(etc: Path) -> Path:
    """Return the installed default counters, or those of the clone the program runs from."""
    installed = etc / "default-counters.csv"
    in_clone = _CLONE / "etc" / "do-dcgm-exporter" / "default-counters.csv"
    return in_clone if os.path.exists(in_clone) and not os.path.exists(installed) else installed


def default_collectors(etc: Path) -> tuple[Path, ...]:
    """Return the user's installed file; a clone has none with a counter switched on."""
    installed = etc / "collectors.csv"
    return (installed,) if may_be_there(installed) else ()
