"""Installing and purging as Debian's archive checks it, by piuparts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.package.layers import clean_system

# apt-utils, which a cloud image has, leaves it behind when it asks questions early.
LEFT_BY_APT_UTILS = "/var/cache/debconf/tmp.ci/?"


def test_piuparts_has_no_complaint(
    tools: None, distribution: str, exporter: Path, simulator: Path
) -> None:
    (layer,) = clean_system(distribution)
    result = subprocess.run(
        ["piuparts", f"--existing-chroot={layer}", f"--distribution={distribution}",
         "--keep-sources-list", f"--ignore-regex={LEFT_BY_APT_UTILS}", "--no-upgrade-test",
         "--no-eatmydata", exporter, simulator],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-20000:]
