"""The unit tests with the libraries of Ubuntu 26.04, and the Python of Debian testing.

That is 3.14 in both of them; few machines that tests run on have it. A warning fails a test.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.package.layers import system_with_dependencies
from tests.package.machine import Root, root_over
from tests.package.packages import CLONE, copy_clone

HERE = "/opt/clone"
PYTHON = "/opt/environment/bin/python"
TESTS = "-m pytest -n 3 --dist loadfile --no-loadscope-reorder -p no:cacheprovider tests/unit"
REQUIREMENTS = [f"--requirement={CLONE}/tests/requirements/{name}.txt"
                for name in ("ubuntu-26.04", "test", "build")]  # fmt: skip


@pytest.fixture(scope="module")
def environment(tools: None) -> Iterator[Root]:
    """A root of Debian testing with the clone, installed into a virtual environment."""
    with root_over(system_with_dependencies("testing")) as root:
        copy_clone(root.path / HERE.lstrip("/"))
        root.run("python3", "-m", "venv", "--without-pip", str(Path(PYTHON).parents[1]))
        (packages,) = root.path.glob("opt/environment/lib/python3.*/site-packages")
        # Nothing can be reached from in there.
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "--no-deps", "--only-binary=:all:", f"--target={packages}",
             f"--python-version={packages.parent.name.removeprefix('python')}",
             *REQUIREMENTS, "pip"],
            check=True,
        )  # fmt: skip
        root.run(PYTHON, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
                 "--no-build-isolation", "--editable", HERE)  # fmt: skip
        yield root


def test_the_unit_tests_pass(environment: Root) -> None:
    version = environment.run(PYTHON, "-c", "import sys; print(sys.version_info[:2])").stdout
    assert version == "(3, 14)\n"
    # A shell is PID 1 there: no test may be its child, nor have to wait for orphans.
    command = f"cd {HERE}; {PYTHON} {TESTS}; exit $?"
    tests = environment.run("sh", "-c", command, check=False, seconds=1500.0)
    print(tests.stdout, tests.stderr)
    assert tests.returncode == 0
