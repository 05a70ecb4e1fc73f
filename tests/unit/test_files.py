"""Files that the service's user may not read: which one, and what opens it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from do_dcgm_exporter.config.counters import read_counter_set
from do_dcgm_exporter.config.load import load_settings
from do_dcgm_exporter.config.options import CONFIG_FILE_NAME
from do_dcgm_exporter.config.text_files import FileClosed, read_file
from do_dcgm_exporter.errors import ConfigurationError

NOBODY = 65534


@pytest.fixture
def etc() -> Iterator[Path]:
    """A directory that anybody may enter, read by a user who is not root."""
    with tempfile.TemporaryDirectory(prefix="etc of ", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        for file in (CONFIG_FILE_NAME, "default-counters.csv", "collectors.csv"):
            (directory / file).write_text("")
        was_root = os.geteuid() == 0
        if was_root:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        try:
            yield directory
        finally:
            if was_root:
                os.seteuid(0)
                os.setegid(0)
            directory.chmod(0o755)


def close(path: Path) -> None:
    """Take all rights away, as the owner."""
    user = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    path.chmod(0)
    if os.getuid() == 0:
        os.seteuid(user)


def load(etc: Path) -> None:
    settings = load_settings([], {}, etc, dmi=etc)
    read_counter_set(settings.default_counters, settings.collectors)


@pytest.mark.parametrize("name", [CONFIG_FILE_NAME, "default-counters.csv", "collectors.csv"])
def test_a_file_that_is_closed_is_named_with_what_opens_it(etc: Path, name: str) -> None:
    load(etc)
    close(etc / name)
    with pytest.raises(FileClosed) as caught:
        load(etc)

    assert caught.value.path == etc / name
    assert caught.value.remedy == f"chmod 644 '{etc / name}'"
    user = "nobody" if os.getuid() == 0 else ""
    assert f"{etc / name}: the user {user}" in str(caught.value)
    assert str(caught.value).endswith(caught.value.remedy)


def test_a_directory_that_is_closed_is_no_directory_without_files(etc: Path) -> None:
    close(etc)
    with pytest.raises(FileClosed) as caught:
        load(etc)
    assert caught.value.path == etc / CONFIG_FILE_NAME
    assert caught.value.remedy == f"chmod 755 '{etc}'"


def test_nobody_is_asked_to_open_a_secret(etc: Path) -> None:
    close(etc / CONFIG_FILE_NAME)
    with pytest.raises(ConfigurationError, match=r"key_file .*: Permission denied") as caught:
        read_file(etc / CONFIG_FILE_NAME, "key_file")
    assert "chmod" not in str(caught.value)
