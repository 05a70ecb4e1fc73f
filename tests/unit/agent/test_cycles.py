"""The cycle: connecting, reading, publishing; what may leave the machine."""

from __future__ import annotations

import logging

import pytest
from tests.unit.agent.conftest import (
    SM_ACTIVE,
    TEMPERATURE,
    Begin,
    StartBench,
    StartProgram,
    connections,
)

from do_dcgm_exporter.config.device_selection import parse_device_selection


def test_a_cycle_connects_reads_and_publishes(begin: Begin) -> None:
    _, program = begin("h100x8")
    assert 20.0 == program.cycle()
    assert 8 == len(program.series(TEMPERATURE))
    assert (True, "") == (program.is_up, program.reason)


def test_cycles_keep_their_connection(begin: Begin) -> None:
    engine, program = begin()
    for _ in range(3):
        program.cycle()
    assert 1 == connections(engine)
    assert 1 == engine.calls_made("hostengine_version_info")


def test_while_profiling_warms_up_cycles_follow_each_other_quickly(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench()
    program = start(engine, f"{SM_ACTIVE}, gauge, x", f"{TEMPERATURE}, gauge, x")
    assert 1.0 == program.cycle()
    assert 1 == len(program.series(TEMPERATURE))
    engine.pass_time(1.5)
    assert 20.0 == program.cycle()
    assert 1 == len(program.series(SM_ACTIVE))


# What may leave the machine.


def test_a_page_of_invented_values_says_so(bench: StartBench, start: StartProgram) -> None:
    program = start(bench())
    program.cycle()
    assert program.publisher.publication.page.simulated


def test_a_connection_is_logged_with_what_is_there_and_what_is_missing(
    bench: StartBench, start: StartProgram, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    program = start(bench("h100x8-mig"), gpus=parse_device_selection("g:7-8"))
    program.cycle()
    assert (
        "connected (engine=4.6.0 client=4.6.0 gpus=8 gpu_instances=8 switches=0 cpus=0)"
        in caplog.messages
    )
    assert "-d names GPU 8, which this machine does not have" in caplog.messages
    assert "the bindings are the simulator's: every value is made up" in caplog.messages
