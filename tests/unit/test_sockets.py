"""Ports of processes: each network namespace's table is read once for all its processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from do_dcgm_exporter.sockets import ports_at_other_ends, ports_of

HEAD = "  sl  local_address rem_address   st\n"


def put_process(proc: Path, pid: int, namespace: int, inode: int) -> Path:
    """Put a process with a socket; return the folder that has its namespace's tables."""
    for folder in ("fd", "net", "ns"):
        (proc / str(pid) / folder).mkdir(parents=True)
    (proc / str(pid) / "fd" / "3").symlink_to(f"socket:[{inode}]")
    (proc / str(pid) / "ns" / "net").symlink_to(f"net:[{namespace}]")
    return proc / str(pid) / "net"


def row(inode: int, local: int, remote: int, state: str) -> str:
    return f" 0: 0100007F:{local:04X} 0100007F:{remote:04X} {state} 0 0 0 0 0 {inode}\n"


def test_processes_of_one_namespace_share_a_reading_of_its_table(tmp_path: Path) -> None:
    put_process(tmp_path, 1, 100, 11).joinpath("tcp").write_text(
        HEAD + row(11, 9400, 5555, "01") + row(12, 9401, 5556, "01")
    )
    put_process(tmp_path, 2, 100, 12)  # a second reading would find nothing
    assert {"1": {5555}, "2": {5556}} == ports_at_other_ends(tmp_path, ["1", "2"])


def test_each_namespace_has_a_table_of_its_own(tmp_path: Path) -> None:
    put_process(tmp_path, 1, 100, 11).joinpath("tcp").write_text(HEAD + row(11, 9400, 0, "0A"))
    put_process(tmp_path, 2, 200, 11).joinpath("tcp6").write_text(HEAD)
    (tmp_path / "2" / "net" / "tcp").write_text(HEAD + row(11, 9500, 0, "0A"))
    assert {"1": {9400}, "2": {9500}} == ports_of(tmp_path, ["1", "2"])


def test_who_ended_meanwhile_does_not_hide_the_rest_of_its_namespace(tmp_path: Path) -> None:
    put_process(tmp_path, 1, 100, 11)  # its tables are gone already
    put_process(tmp_path, 2, 100, 12).joinpath("tcp").write_text(HEAD + row(12, 9401, 5555, "01"))
    assert {"2": {5555}} == ports_at_other_ends(tmp_path, ["1", "2"])


def test_half_the_tables_of_one_that_ends_meanwhile_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_process(tmp_path, 1, 100, 11).joinpath("tcp").write_text(HEAD)
    tables = put_process(tmp_path, 2, 100, 12)
    tables.joinpath("tcp").write_text(HEAD)
    tables.joinpath("tcp6").write_text(HEAD + row(12, 9400, 5555, "01"))
    read_text = Path.read_text

    def ends_after_the_first(path: Path) -> str:
        text = read_text(path)
        (tmp_path / "1" / "ns" / "net").unlink(missing_ok=True)
        return text

    monkeypatch.setattr(Path, "read_text", ends_after_the_first)
    assert {"2": {5555}} == ports_at_other_ends(tmp_path, ["1", "2"])
