"""The version, which stands in debian/changelog and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).resolve()
# Written when the package is built, for an installed package has no changelog beside it.
_INSTALLED = _HERE.with_name("VERSION")


def read_version(installed: Path = _INSTALLED, clone: Path = _HERE.parents[2]) -> str:
    """Return the version of the installed package, or of the clone the program runs from."""
    try:
        return installed.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        pass
    try:
        with (clone / "debian" / "changelog").open(encoding="utf-8") as changelog:
            newest = re.match(r"\S+ \(([^)]+)\)", changelog.readline())
    except OSError:
        newest = None
    return newest[1] if newest else "0+unknown"
