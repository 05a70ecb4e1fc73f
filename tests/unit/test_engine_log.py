"""What the exporter makes the engine write into its log: nothing, cycle after cycle."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from tests.builders import Bench, Clock

from dcgm_simulator.versions import VERSIONS
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.dcgm.decoding import Absence

StartBench = Callable[..., Bench]
every_version = pytest.mark.parametrize("version", VERSIONS)
SCENARIOS = ("h100x1", "h100x8", "h100x8-mig", "hgx", "grace", "a100-no-prof")
INTERVAL = 20.0


def lines(bench: Bench) -> Mapping[str, int]:
    found: Mapping[str, int] = bench.engine.control("status")["log_lines"]
    return found


def run(bench: Bench, session: Session, clock: Clock, cycles: int) -> None:
    for _ in range(cycles):
        bench.pass_time(INTERVAL)
        clock.now += INTERVAL
        session.is_outdated()
        bench.read(session)


@every_version
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_cycle_writes_nothing(bench: StartBench, scenario: str, version: str) -> None:
    started, clock = bench(scenario, version), Clock()
    session = started.session(clock=clock)
    run(started, session, clock, 3)
    before = lines(started)
    run(started, session, clock, 5)
    assert before == lines(started)


@every_version
def test_fields_that_a_gpu_does_not_have_write_a_few_lines_and_then_none(
    bench: StartBench, version: str
) -> None:
    """They have no data for ever (recorded), of which engines complain until 4.3."""
    started, clock = bench("h100x8", version), Clock()
    session = started.session("522, gauge, x", "150, gauge, x", clock=clock)
    reasons = [started.read(session).dropped]
    run(started, session, clock, 3)
    before = lines(started)
    run(started, session, clock, 5)
    assert before == lines(started)
    reasons.append(started.read(session).dropped)
    assert [8, 8] == [dropped[Absence.NO_DATA] for dropped in reasons]
    clock.now += 300.0
    run(started, session, clock, 1)
    complains = version in ("3.3.9", "4.2.3")
    assert (8 if complains else 0) == sum(lines(started).values()) - sum(before.values())


@pytest.mark.parametrize("version", ["4.2.3", "4.5.3", "4.6.0"])
def test_bit_error_ratios_that_gpus_do_not_have_are_sampled_once(
    bench: StartBench, version: str
) -> None:
    """GPUs before NVLink 5 do not have them (recorded)."""
    started, clock = bench("h100x8", version), Clock()
    session = started.session("1216, gauge, x", "1218, gauge, x", "150, gauge, x", clock=clock)
    started.read(session)
    before = lines(started)
    assert 16 == sum(before.values())
    run(started, session, clock, 5)
    assert before == lines(started)
    result = started.read(session)
    assert 16 == result.dropped[Absence.NOT_SUPPORTED]
    assert [8] == [len(family.samples) for family in result.snapshot.families if family.samples]


@every_version
@pytest.mark.parametrize("trouble", ["xid --gpu 2 31", "lose-gpu 2", "mig --gpu 2 3g.40gb,2g.20gb"])
def test_nor_does_one_after_trouble(bench: StartBench, trouble: str, version: str) -> None:
    started, clock = bench("h100x8", version), Clock()
    session = started.session(clock=clock)
    run(started, session, clock, 1)
    started.engine.control(*trouble.split())
    run(started, session, clock, 2)
    if session.is_outdated():
        known = {gpu.id: gpu for gpu in session.topology.gpus}
        session = started.session(clock=clock, known=known)
    run(started, session, clock, 3)
    before = lines(started)
    run(started, session, clock, 3)
    assert before == lines(started)


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3"])
def test_the_loss_of_a_gpu_writes_what_one_interval_of_samples_does(
    bench: StartBench, version: str
) -> None:
    """Until the next cycle sees the loss and lets the GPU rest, its fields are sampled once."""
    started, clock = bench("h100x8", version), Clock()
    session = started.session(clock=clock)
    run(started, session, clock, 3)
    before = lines(started)
    started.engine.control("lose-gpu", "2")
    run(started, session, clock, 1)
    after = lines(started)
    fields = {field_id for watch in session.watches for field_id in watch.field_ids}
    fields.update(field_id for _, field_id in session.profiling.pace.watched())
    written = sum(after.values()) - sum(before.values())
    assert 0 < written <= 2 * len(fields)
    run(started, session, clock, 3)
    assert after == lines(started)


@pytest.mark.parametrize("function", ["group_create", "unwatch_fields", "group_destroy"])
def test_a_lost_gpu_that_cannot_be_let_rest_is_no_outage(bench: StartBench, function: str) -> None:
    started = bench("h100x8", "3.3.9")
    session = started.session("150, gauge, x")
    started.read(session)
    started.engine.control("lose-gpu", "2")
    started.engine.control("refuse-call", function, "-3")
    started.pass_time(INTERVAL)
    result = started.read(session)
    assert {number: number != 2 for number in range(8)} == result.gpus_up


def test_what_is_not_watched_or_cannot_be_is_counted(bench: StartBench) -> None:
    """Or else a test of silence would prove nothing."""
    started = bench("h100x8-mig", "3.3.9")
    connection = started.connect()
    instance = next(n.entity for n in connection.mig_hierarchy())
    connection.latest([instance], [150, 155])
    assert 2 == sum(lines(started).values())
    group, taken = connection.create_group([instance])
    connection._call(
        "dcgmWatchFields", group, connection.create_field_group([1009]), 1_000_000, 0.0, 1
    )
    assert (instance,) == taken
    before = sum(lines(started).values())
    started.pass_time(10)
    assert 10 == sum(lines(started).values()) - before
