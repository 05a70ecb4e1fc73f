"""The version stands in debian/changelog alone."""

from __future__ import annotations

from pathlib import Path

from do_dcgm_exporter import __version__
from do_dcgm_exporter.version import read_version

CLONE = Path(__file__).resolve().parents[2]


def test_a_clone_has_the_version_of_its_changelog() -> None:
    newest = (CLONE / "debian" / "changelog").read_text(encoding="utf-8").split("\n", 1)[0]
    assert newest.startswith(f"do-dcgm-exporter ({__version__}) ")


def test_a_new_entry_in_the_changelog_is_all_it_takes(tmp_path: Path) -> None:
    changelog = tmp_path / "debian" / "changelog"
    changelog.parent.mkdir()
    changelog.write_text("do-dcgm-exporter (7.8.9~rc1) unstable; urgency=medium\n\n  * x\n")
    assert read_version(tmp_path / "VERSION", tmp_path) == "7.8.9~rc1"


def test_an_installed_package_has_the_version_it_was_built_with(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("1.2.3\n")
    assert read_version(tmp_path / "VERSION", CLONE) == "1.2.3"


def test_without_either_the_version_is_unknown(tmp_path: Path) -> None:
    assert read_version(tmp_path / "VERSION", tmp_path) == "0+unknown"
