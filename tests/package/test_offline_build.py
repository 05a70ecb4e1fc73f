"""Building the packages takes nothing from a network."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.package.packages import CLONE


def test_the_packages_are_built_without_a_network(tools: None, tmp_path: Path) -> None:
    """In a network namespace of its own nothing can be reached, not even loopback."""
    offline = ["unshare", "--net", "--"]
    probe = [
        *offline,
        "sh",
        "-c",
        "tail --lines=+3 /proc/net/dev | grep --count --invert-match lo:",
    ]
    assert subprocess.run(probe, capture_output=True, text=True, check=False).stdout == "0\n"
    subprocess.run([*offline, CLONE / "tools" / "make-deb", tmp_path], check=True)

    assert {deb.name.partition("_")[0] for deb in tmp_path.glob("*.deb")} == {
        "do-dcgm-exporter",
        "dcgm-simulator",
    }
