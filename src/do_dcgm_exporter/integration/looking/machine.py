"""What else is on the machine: the driver, and the packages of DCGM."""

from __future__ import annotations

import re

from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.commands import run

_DRIVER = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")
_PACKAGES = re.compile(r"datacenter-gpu-manager|dcgm-simulator|libdcgm$|nv-hostengine$")
_ANSWER_SECONDS = 3.0


def driver_version(host: Host) -> str:
    """Return the version of the loaded NVIDIA driver, nothing without one."""
    first = host.text("/proc/driver/nvidia/version").partition("\n")[0]
    match = _DRIVER.search(first) or _DRIVER.search(host.text("/sys/module/nvidia/version"))
    return match[1] if match else ""


def dcgm_packages() -> dict[str, str]:
    """Return the versions of the installed packages of DCGM, by name. Raises CommandFailed."""
    form = "${db:Status-Abbrev}\t${Package}\t${Version}\n"
    # Without a pattern: one that matches nothing is an error.
    lines = run("dpkg-query", "--show", "-f", form, timeout=_ANSWER_SECONDS).splitlines()
    fields = (line.split("\t") for line in lines if line.startswith("ii"))
    return {name: version for _, name, version in fields if _PACKAGES.match(name)}
