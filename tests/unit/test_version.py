"""The version stands in debian/changelog alone."""

from __future__ import annotations

from pathlib import Path

from do_dcgm_exporter import __version__
from do_dcgm_exporter.version import read_version

CLONE = Path(__file__).resolve().parents[2]


def test_a_clone_has_the_version_of_its_changelog(tmp_path: Path) -> None:
    newest = (CLONE / "debian" / "changelog").read_text(encoding="utf-8").split("\n", 1)[0]
    assert newest.startswith(f"do-dcgm-exporter ({__version__}) ")


def test_an_installed_package_has_the_version_it_was_built_with(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("1.2.3\n")
    assert read_version(tmp_path / "VERSION", CLONE) == "1.2.3"


def test_without_either_the_version_is_unknown(tmp_path: Path) -> None:
    assert read_version(tmp_path / "VERSION", tmp_path) == "0+unknown"
