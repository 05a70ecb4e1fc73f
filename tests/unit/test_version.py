"""The version stands in debian/changelog alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from do_dcgm_exporter import __version__
from do_dcgm_exporter.version import read_version

CLONE = Path(__file__).resolve().parents[2]


# What is built, installed or run. NEWS and maintscript say since when something holds.
PARTS = ("Makefile", "pyproject.toml", "debian", "etc", "man", "src", "tools")
TELLS_OF_THE_PAST = {"changelog", "do-dcgm-exporter.NEWS", "do-dcgm-exporter.maintscript"}


def test_a_clone_has_the_version_of_its_changelog() -> None:
    newest = (CLONE / "debian" / "changelog").read_text(encoding="utf-8").split("\n", 1)[0]
    assert newest.startswith(f"do-dcgm-exporter ({__version__}) ")


def test_a_new_entry_in_the_changelog_is_all_it_takes(tmp_path: Path) -> None:
    changelog = tmp_path / "debian" / "changelog"
    changelog.parent.mkdir()
    changelog.write_text("do-dcgm-exporter (7.8.9~rc1) unstable; urgency=medium\n\n  * x\n")
    assert read_version(tmp_path / "VERSION", tmp_path) == "7.8.9~rc1"


def test_no_other_file_has_the_version() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *PARTS], cwd=CLONE, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    paths = [CLONE / name for name in listed.split("\0") if name]
    version = re.compile(rf"(?<![\w.-]){re.escape(__version__)}(?![\w.~-])".encode())
    having = {path.name for path in paths if path.is_file() and version.search(path.read_bytes())}
    assert "changelog" in having
    assert having <= TELLS_OF_THE_PAST


def test_an_installed_package_has_the_version_it_was_built_with(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("1.2.3\n")
    assert read_version(tmp_path / "VERSION", CLONE) == "1.2.3"


def test_without_either_the_version_is_unknown(tmp_path: Path) -> None:
    assert read_version(tmp_path / "VERSION", tmp_path) == "0+unknown"
