"""What pip makes of a clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.builders import REPOSITORY

from do_dcgm_exporter import __version__


def test_a_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    clone, cache = tmp_path / "clone", shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(REPOSITORY / "src", clone / "src", ignore=cache)
    shutil.copy(REPOSITORY / "pyproject.toml", clone)
    (clone / "debian").mkdir()
    # The version stands in the changelog alone, so another one there is all that is needed.
    (clone / "debian" / "changelog").write_text("do-dcgm-exporter (7.8.9) unstable; urgency=low\n")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", f"--wheel-dir={tmp_path}"]
    sources = clone / "src"
    wanted = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.is_file()}

    subprocess.run([*pip, str(clone)], check=True)

    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith("do_dcgm_exporter-7.8.9-")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert wanted == packed
    assert "do_dcgm_exporter/cli.py" in packed


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["do-dcgm-exporter", "--version"], __version__),
        (["do-dcgm-exporter", "--list-fields", "GPU_TEMP"], "DCGM_FI_DEV_GPU_TEMP"),
        (["dcgm-simulator", "--help"], "--dcgm-version"),
    ],
)
def test_a_command_works_from_any_directory(command: list[str], says: str, tmp_path: Path) -> None:
    program, *arguments = command
    installed = Path(sys.executable).with_name(program)
    done = subprocess.run([installed, *arguments], cwd=tmp_path, capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert says in done.stdout
