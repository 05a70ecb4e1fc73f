"""The cycle when DCGM is upgraded beneath the program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.unit.agent.conftest import (
    Program,
    StartBench,
    configured_for,
    program_of,
)


def upgrade(program: Program, installed: Path) -> None:
    """Put other bindings where those of a program were found."""
    assert program.agent._bindings
    program.agent._bindings = replace(program.agent._bindings, files={installed: None})
    installed.mkdir()
    (installed / "dcgm_structs.py").touch()


def test_an_upgrade_of_dcgm_is_followed_when_the_engine_is_another_and_not_before(
    tmp_path: Path, bench: StartBench
) -> None:
    engine = bench(version="4.5.3")
    begun: list[str] = []
    program = program_of(engine, configured_for(engine), begin_anew=lambda: begun.append("anew"))
    program.cycle()
    upgrade(program, tmp_path / "installed")
    engine.engine.restart()
    for _ in range(2):  # the first meets that the connection is gone
        program.cycle()
    assert (program.is_up, begun) == (True, [])
    engine.engine.restart("4.6.0")
    for _ in range(2):
        program.cycle()
    assert begun == ["anew"]
    program.agent._close_session()


def test_an_engine_of_another_major_release_is_followed_too(
    tmp_path: Path, bench: StartBench
) -> None:
    engine = bench(version="4.5.3", client="3.3.9")
    begun: list[str] = []
    program = program_of(engine, configured_for(engine), begin_anew=lambda: begun.append("anew"))
    program.cycle()
    assert "the DCGM client library is 3.3.9" in program.reason
    assert begun == [], "nothing else is installed"
    upgrade(program, tmp_path / "installed")
    program.cycle()
    assert begun == ["anew"]
