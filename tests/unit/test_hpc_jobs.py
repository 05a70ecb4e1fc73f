"""Job names that a batch system leaves in files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from do_dcgm_exporter.collect.jobs import JobDirectory


@pytest.fixture
def jobs(tmp_path: Path) -> JobDirectory:
    return JobDirectory(tmp_path)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("1234\n", ("1234",)),
        ("1234\n1235\n", ("1234", "1235")),
        ("1234", ("1234",)),
        ("  1234 \r\n\n\t\n", ("1234",)),
        ("1234\n1234\n", ("1234",)),
        ("", ()),
    ],
)
def test_a_file_has_one_job_per_line(
    jobs: JobDirectory, tmp_path: Path, content: str, names: tuple[str, ...]
) -> None:
    (tmp_path / "0").write_bytes(content.encode())
    assert {"0": names} == jobs.read()


def test_files_are_named_by_gpu_or_gpu_and_instance(jobs: JobDirectory, tmp_path: Path) -> None:
    for name in ("0", "12", "1.7", "x", "1.", ".1", "1.2.3", "0.swp", "README"):
        (tmp_path / name).write_text("job\n")
    assert {"0", "12", "1.7"} == set(jobs.read())


def test_what_cannot_be_read_has_no_jobs(jobs: JobDirectory, tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "1").symlink_to(tmp_path / "gone")
    (tmp_path / "2").write_bytes(b"\xff\xfe\n")
    assert {"2": ("\ufffd\ufffd",)} == jobs.read()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("x" * 1_000_000, "a line is longer than 256 characters"),
        ("".join(f"{n}\n" for n in range(65)), "it has 65 lines, and a GPU may have 64 jobs"),
    ],
)
def test_a_file_of_something_else_is_ignored_and_told_once(
    jobs: JobDirectory,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str,
    complaint: str,
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "0").write_text(content)
    (tmp_path / "1").write_text("job\n")
    assert [{"1": ("job",)}] * 2 == [jobs.read(), jobs.read()]
    assert [f"the job mapping file {tmp_path / '0'} is ignored: {complaint}"] == caplog.messages


def test_a_directory_that_may_be_listed_and_not_searched_is_told_of(
    jobs: JobDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Mode 0744, which does not keep root out."""

    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "0").write_text("job\n")
    monkeypatch.setattr(Path, "is_fifo", refuse)
    assert [{}, {}] == [jobs.read(), jobs.read()]
    (message,) = caplog.messages
    assert "Permission denied" in message


def test_jobs_come_and_go(jobs: JobDirectory, tmp_path: Path) -> None:
    assert {} == jobs.read()
    (tmp_path / "0").write_text("job\n")
    assert {"0": ("job",)} == jobs.read()
    (tmp_path / "0").unlink()
    assert {} == jobs.read()


def test_a_missing_directory_is_told_once_until_it_has_been_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    jobs = JobDirectory(tmp_path / "later")
    assert ({}, {}) == (jobs.read(), jobs.read())
    assert 1 == len(caplog.messages)
    assert "cannot read the job mapping directory" in caplog.messages[0]
    (tmp_path / "later").mkdir()
    jobs.read()
    (tmp_path / "later").rmdir()
    jobs.read()
    assert 2 == len(caplog.messages)
