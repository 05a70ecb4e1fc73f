"""The tests in debian/tests, as Debian and Ubuntu run them: by autopkgtest, with apt."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.package.conftest import system_over
from tests.package.layers import DEPENDENCIES, system_with
from tests.package.packages import CLONE

SOURCE = "var/tmp/source"


def declared() -> set[str]:
    """Return the names of all tests in debian/tests/control."""
    control = (CLONE / "debian" / "tests" / "control").read_text()
    return set(re.findall(r"(?m)^Tests: (.*)$", control))


def test_every_test_of_the_source_package_passes(
    tools: None, distribution: str, exporter: Path, simulator: Path
) -> None:
    # All they need is installed: each would have apt read the lists of the whole archive.
    layers = system_with(distribution, "autopkgtest", "dpkg-dev", *DEPENDENCIES)
    with system_over(layers) as system:
        (system.root / "etc" / "apt" / "sources.list").unlink()
        shutil.copytree(CLONE / "debian", system.root / SOURCE / "debian")
        files = system.put(exporter, simulator)
        # The machine is a throw-away already, so the tests may run in it itself.
        isolated = "--ignore-restrictions=isolation-container"
        command = ("autopkgtest", "--no-built-binaries", isolated, *files, f"/{SOURCE}/",
                   "--", "null")  # fmt: skip
        result = system.run(*command, check=False)

    said = result.stdout + result.stderr
    passed = set(re.findall(r"(?m)^(\S+) +PASS\b", said))
    assert passed == declared(), said
