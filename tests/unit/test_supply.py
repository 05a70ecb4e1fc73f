"""What tests and linters run on is pinned, all of it."""

from __future__ import annotations

import re
import sys
from importlib.metadata import distributions

import pytest
from tests.builders import REPOSITORY

REQUIREMENTS = sorted((REPOSITORY / "tests" / "requirements").glob("*.txt"))
# pip comes with Python; this clone is installed, too.
NOT_PINNED = {"pip", "do-dcgm-exporter"}
_PIN = re.compile(r'([A-Za-z0-9._-]+)==([0-9][0-9a-z.]*)(?: ; python_version < "3\.[0-9]+")?')


def normalized(name: str) -> str:
    """A project's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> list[tuple[str, str]]:
    """The names and versions in a requirements file; a line that is no pin fails."""
    found = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            pin = _PIN.fullmatch(line)
            assert pin, f"not pinned to one release: {line}"
            found.append((normalized(pin[1]), pin[2]))
    return found


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_one_release_and_is_there_once(path):
    names = [name for name, _ in pins(path.read_text())]

    assert names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("line", ["urllib3<1.27", "pytest", "pytest>=9", "-e .", "x @ http://y/z"])
def test_anything_else_is_noticed(line):
    with pytest.raises(AssertionError):
        pins(line)


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="not in a virtual environment of make")
def test_nothing_is_installed_that_is_not_pinned():
    """What a pinned release needs itself is pinned, too, or it would be another one tomorrow."""
    pinned = {pin for path in REQUIREMENTS for pin in pins(path.read_text())}
    installed = {
        (normalized(found.metadata["Name"]), found.version)
        for found in distributions(path=[entry for entry in sys.path if sys.prefix in entry])
    }

    unpinned = {pin for pin in installed - pinned if pin[0] not in NOT_PINNED}
    assert not unpinned
    assert ("pytest", pytest.__version__) in installed
