"""invoke-rc.d's policy: whether maintainer scripts may restart services on this machine."""

from __future__ import annotations

import os
import subprocess

from do_dcgm_exporter.integration.host import Host

_FORBIDDEN = 101  # README.policy-rc.d of init-system-helpers


def run_by_dpkg() -> bool:
    """Whether a maintainer script runs us: dpkg(1), internal environment."""
    return "DPKG_MAINTSCRIPT_PACKAGE" in os.environ


def may_restart(host: Host, unit: str) -> bool:
    """Ask policy-rc.d, if a maintainer script runs us; what an admin asks for is done."""
    program = host.path("/usr/sbin/policy-rc.d")
    if not run_by_dpkg() or not os.access(program, os.X_OK):
        return True
    command = [str(program), unit.removesuffix(".service"), "restart"]
    try:
        answer = subprocess.run(command, timeout=10, capture_output=True, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True  # no policy that could be understood
    return answer.returncode != _FORBIDDEN
