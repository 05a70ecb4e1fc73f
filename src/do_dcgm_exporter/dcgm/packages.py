"""The packages that hold DCGM's client library, bindings and modules.

Since 4.7 these are packages of their own; their names are known from lists of what is installed
(NVIDIA/DCGM issue 314).
"""

from __future__ import annotations

from collections.abc import Collection

CORE = "datacenter-gpu-manager-4-core"
FIRST_IN_PARTS = (4, 7)
HEALTH_MODULE = "datacenter-gpu-manager-4-module-health"
_CLIENT_OF_47 = ("libdcgm", "datacenter-gpu-manager-4-python3")
_PACKAGES_OF_47 = frozenset({"nv-hostengine", *_CLIENT_OF_47})


def install_client(installed: Collection[str]) -> str:
    """Return the command that installs library and bindings, packages of their own since 4.7."""
    if _PACKAGES_OF_47.isdisjoint(installed):
        return f"apt install --reinstall {CORE}"
    missing = [name for name in _CLIENT_OF_47 if name not in installed]
    return f"apt install {' '.join(missing or ('--reinstall', *_CLIENT_OF_47))}"
