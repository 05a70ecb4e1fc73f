"""Tell whether this machine is a DigitalOcean droplet."""

from __future__ import annotations

from pathlib import Path

DMI = Path("/sys/class/dmi/id")
_VENDOR = "DigitalOcean"


def is_droplet(dmi: Path = DMI) -> bool:
    """Read the machine's vendor, which an image built elsewhere cannot have brought along."""
    try:
        return (dmi / "sys_vendor").read_text(encoding="utf-8", errors="replace").strip() == _VENDOR
    except OSError:
        return False
