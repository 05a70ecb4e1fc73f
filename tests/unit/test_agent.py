"""The cycle: connecting, reading, publishing, failing, beginning anew."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import HOSTENGINE_UP, Bench, Clock, Series, configuration

import dcgm_simulator
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.device_selection import parse_device_selection
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.errors import EngineUnavailable
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publication import Health
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service.agent import Agent

StartBench = Callable[..., Bench]
PATIENCE = 120  # seconds; only ever waited out by a failure
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
SM_ACTIVE = "DCGM_FI_PROF_SM_ACTIVE"
GPU_UP = "do_dcgm_exporter_gpu_up"
TOTAL = "DCGM_EXP_XID_ERRORS_TOTAL"


@dataclass
class Program:
    """An agent and all it works with, cycle by cycle."""

    agent: Agent
    publisher: Publisher
    healths: list[Health]

    def cycle(self) -> float:
        """Run a cycle; the seconds until the next one."""
        return self.agent.cycle()

    @property
    def reason(self) -> str:
        return self.publisher.publication.page.health.reason

    def series(self, name: str) -> Series:
        """Values on the page by their labels."""
        text = self.publisher.publication.page.text.plain.decode()
        return {
            ",".join(f"{key}={value}" for key, value in sample.labels.items()): sample.value
            for family in parse_text(text)
            for sample in family.samples
            if sample.name in (name, f"{name}_total")  # as the parser calls counters
        }  # type: ignore[return-value]

    @property
    def is_up(self) -> bool:
        return {"": 1.0} == self.series(HOSTENGINE_UP)


StartProgram = Callable[..., Program]
Begin = Callable[..., tuple[Bench, Program]]


def program_of(
    bench: Bench | None, configured: Configuration, **changes: Callable[[], None]
) -> Program:
    healths: list[Health] = []
    calls = CallCount()
    publisher = Publisher(Telemetry(calls, ForwardStatistics()), tell=healths.append)
    agent = Agent(
        configured,
        publisher,
        calls,
        # The engine's clock, which the tests set ahead.
        **({"wall_clock": lambda: bench.now, "boot_clock": lambda: bench.now} if bench else {}),
        **changes,
    )
    if bench:
        agent._bindings = bench.bindings
    return Program(agent, publisher, healths)


def configured_for(bench: Bench, *lines: str, **changes: object) -> Configuration:
    lines = lines or (f"{TEMPERATURE}, gauge, x",)
    return configuration(*lines, engine=parse_engine_address(bench.engine.address), **changes)


@pytest.fixture
def start() -> Iterator[StartProgram]:
    """Start a program on an engine; its connections are closed when the test ends."""
    programs: list[Program] = []

    def start_program(bench: Bench, *lines: str, **changes: object) -> Program:
        started = program_of(bench, configured_for(bench, *lines, **changes))
        programs.append(started)
        return started

    yield start_program
    for started in programs:
        started.agent._close_session()


@pytest.fixture
def begin(bench: StartBench, start: StartProgram) -> Begin:
    """Start an engine, and a program on it."""

    def begin(*scenario: str) -> tuple[Bench, Program]:
        engine = bench(*scenario)
        return engine, start(engine)

    return begin


def connections(bench: Bench) -> int:
    return len(bench.engine.control("status")["connections"])


# Succeeding.


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


# Failing.


def away(tmp_path: Path, **changes: object) -> Configuration:
    """A configuration whose engine is refused without waiting."""
    return configuration(
        f"{TEMPERATURE}, gauge, x",
        engine=EngineAddress(socket_path=str(tmp_path / "nowhere")),
        dcgm_bindings=dcgm_simulator.bindings_directory(),
        **changes,
    )


@pytest.mark.parametrize(
    ("interval", "longest"), [(20.0, 10.0), (3600.0, 30.0), (1.0, 0.5), (0.1, 0.05)]
)
def test_retries_back_off_to_half_an_interval_with_jitter(
    tmp_path: Path, interval: float, longest: float
) -> None:
    program = program_of(None, away(tmp_path, collect_interval=interval))
    assert 0.0 == program.cycle()
    pauses = [program.cycle() for _ in range(14)]
    for attempt, pause in enumerate(pauses):
        full = min(longest, 0.5 * 2**attempt)
        assert 0.8 * full <= pause <= full, attempt
    assert len(pauses) == len(set(pauses))


def test_an_outage_says_why_once(tmp_path: Path) -> None:
    program = program_of(None, away(tmp_path))
    for _ in range(3):
        program.cycle()
    assert f"there is no socket at {tmp_path / 'nowhere'}" in program.reason
    assert 1 == len(program.healths)
    assert not program.is_up


def test_bindings_that_are_not_there_are_looked_for_again(
    tmp_path: Path, bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench()
    monkeypatch.setattr("do_dcgm_exporter.dcgm.bindings.SEARCH_PATH", (tmp_path / "bindings",))
    program = program_of(None, configured_for(engine))
    program.cycle()
    assert "install datacenter-gpu-manager-4-core" in program.reason
    (tmp_path / "bindings").symlink_to(dcgm_simulator.bindings_directory())
    program.cycle()
    assert ("", 1) == (program.reason, len(program.series(TEMPERATURE)))
    program.agent._close_session()


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


def test_an_engine_without_a_driver_is_up_and_not_healthy(begin: Begin) -> None:
    engine, program = begin("no-nvml")
    program.cycle()
    assert program.is_up
    assert "the engine runs without NVML" in program.reason
    assert {"": 0.0} == program.series("do_dcgm_exporter_gpus")
    assert 0 == connections(engine)


def test_a_killed_engine_takes_its_families_along_and_a_new_one_brings_them_back(
    begin: Begin,
) -> None:
    engine, program = begin("h100x8")
    program.cycle()
    engine.engine.kill()
    assert 0.0 == program.cycle()
    assert ({}, False) == (program.series(TEMPERATURE), program.is_up)
    assert "the connection to the engine is gone" in program.reason
    engine.restart()
    assert 20.0 == program.cycle()
    assert (8, True) == (len(program.series(TEMPERATURE)), program.is_up)


def test_a_lost_connection_is_made_anew_at_once(begin: Begin) -> None:
    engine, program = begin()
    for _ in range(3):
        program.cycle()
        engine.engine.control("drop")
        assert 0.0 == program.cycle()


def test_only_the_first_attempt_comes_at_once(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_session: Session, _now: float) -> CycleResult:
        raise EngineUnavailable("it answers to be connected and to nothing else")

    program = start(bench())
    program.cycle()
    monkeypatch.setattr(Session, "read", fail)
    assert 0.0 == program.cycle()
    assert 0.4 <= program.cycle() <= 0.5
    assert 0.8 <= program.cycle() <= 1.0


def test_an_unexpected_error_is_an_outage_like_any_other(
    begin: Begin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, program = begin()
    program.cycle()

    def fail(_session: Session, _now: float) -> CycleResult:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(Session, "read", fail)
        assert 0.0 == program.cycle()
    assert "internal error: ZeroDivisionError('a bug')" == program.reason
    assert ({}, 0) == (program.series(TEMPERATURE), connections(engine))
    assert "internal error in a cycle" in caplog.messages
    program.cycle()
    assert ("", 1) == (program.reason, connections(engine))


def test_an_unexpected_error_while_publishing_is_one_too(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, program = begin()
    program.cycle()

    def fail(*_arguments: object) -> Health:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr("do_dcgm_exporter.service.agent.health_of", fail)
        assert 0.0 == program.cycle()
    assert "internal error: ZeroDivisionError('a bug')" == program.reason
    program.cycle()
    assert "" == program.reason


def test_a_host_name_that_is_no_utf_8_is_shown_nevertheless(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "droplet\udcff")
    program = start(bench())
    program.cycle()
    assert ("", True) == (program.reason, program.is_up)
    (labels,) = program.series(TEMPERATURE)
    assert "Hostname=droplet?" in labels


def test_a_changed_host_name_shows_in_the_next_cycle(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, program = begin()
    for name in ("gpu-1", "gpu-2"):
        monkeypatch.setattr("socket.gethostname", lambda name=name: name)
        program.cycle()
        (labels,) = program.series(TEMPERATURE)
        assert f"Hostname={name}" in labels
    assert 1 == connections(engine)


def test_what_was_set_up_in_vain_is_given_back(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, program = begin()

    def fail(*_arguments: object) -> Session:
        raise ZeroDivisionError

    monkeypatch.setattr("do_dcgm_exporter.service.agent.open_session", fail)
    for _ in range(3):
        program.cycle()
    assert 0 == connections(engine)


def test_an_engine_that_samples_no_more_is_an_outage_until_it_does(begin: Begin) -> None:
    engine, program = begin("h100x8")
    program.cycle()
    engine.engine.control("stall")
    engine.pass_time(60.0)
    program.cycle()
    assert (True, 8) == (program.is_up, len(program.series(TEMPERATURE)))
    engine.pass_time(20.0)
    assert 20.0 == program.cycle()
    assert program.reason.startswith(
        "the engine answers, but has no value of any GPU that is less than 60 s old"
    )
    assert ({}, False) == (program.series(TEMPERATURE), program.is_up)
    engine.engine.control("unstall")
    engine.pass_time(20.0)
    program.cycle()
    assert ("", 8) == (program.reason, len(program.series(TEMPERATURE)))
    assert 1 == engine.calls_made("hostengine_version_info")


def test_an_engine_that_waits_for_a_clock_that_was_set_back_is_told_apart(begin: Begin) -> None:
    engine, program = begin()
    program.cycle()
    engine.engine.control("stall")
    boot_now = engine.now
    program.agent._logs.ages.clock = lambda: boot_now
    engine.now -= 600.0
    program.cycle()
    assert "" == program.reason
    boot_now += 61.0
    program.cycle()
    assert "the clock, which was set back, has caught up: restart nvidia-dcgm" in program.reason


def test_gpus_that_alone_are_sampled_no_more_are_named(begin: Begin) -> None:
    engine, program = begin("h100x8")
    program.cycle()
    engine.engine.control("stall", "--gpu", "3")
    for _ in range(4):
        engine.pass_time(20.0)
        program.cycle()
    assert "the engine has no value of GPU 3 (GPU-" in program.reason
    assert (True, 7) == (program.is_up, len(program.series(TEMPERATURE)))
    assert {"gpu=3"} == {gpu for gpu, up in program.series(GPU_UP).items() if not up}


def test_an_engine_that_stalls_while_a_session_is_replaced_keeps_one_connection(
    begin: Begin,
) -> None:
    engine, program = begin()
    program.cycle()
    engine.engine.control("stall")
    for seconds in (80.0, 20.0):
        engine.pass_time(seconds)
        program.agent.reconfigure(configured_for(engine))
        program.cycle()
    assert "has no value of any GPU" in program.reason
    assert 1 == connections(engine)


# A cycle that was given up meanwhile.


def test_the_late_result_of_an_abandoned_cycle_is_discarded_and_the_next_comes_at_once(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start(bench())
    read = Session.read

    def hang(session: Session, now: float) -> CycleResult:
        assert program.publisher.abandon_cycle_after(0.0)
        return read(session, now)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "read", hang)
        assert 0.0 == program.cycle()
    assert "the engine is slow" in program.reason
    assert {} == program.series(TEMPERATURE)
    assert 20.0 == program.cycle()
    assert ("", 1) == (program.reason, len(program.series(TEMPERATURE)))


def test_the_late_end_of_an_abandoned_cycle_changes_nothing(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, program = begin()
    program.cycle()

    def hang(_session: Session) -> bool:
        program.publisher.abandon_cycle_after(0.0)
        engine.engine.control("drop")
        return False

    monkeypatch.setattr(Session, "is_outdated", hang)
    assert program.cycle() <= 0.5
    assert "the engine is slow" in program.reason


# Another session in the place of one.


def status_of(bench: Bench) -> tuple[int, set[int]]:
    """How many connections there are, and which fields are watched."""
    status = bench.engine.control("status")
    return len(status["connections"]), {watch["field"] for watch in status["watches"]}


def test_another_configuration_gets_a_session_of_its_own_and_the_old_one_leaves_nothing(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench("h100x8")
    program = start(engine, f"{TEMPERATURE}, gauge, x", f"{SM_ACTIVE}, gauge, x")
    program.cycle()
    engine.pass_time(2)
    program.cycle()
    assert 8 == len(program.series(SM_ACTIVE))
    power = "DCGM_FI_DEV_POWER_USAGE"
    program.agent.reconfigure(
        configured_for(engine, f"{power}, gauge, x", f"{SM_ACTIVE}, gauge, x")
    )
    engine.pass_time(20)
    program.cycle()
    # Nothing is missing from the very first page, profiling included.
    assert (0, 8, 8) == tuple(len(program.series(n)) for n in (TEMPERATURE, power, SM_ACTIVE))
    assert (1, {1, 57, 155, 230, 1002}) == status_of(engine)
    engine.pass_time(20)
    program.cycle()
    assert (8, 8) == tuple(len(program.series(name)) for name in (power, SM_ACTIVE))


def test_the_same_configuration_keeps_its_session(begin: Begin) -> None:
    engine, program = begin()
    program.cycle()
    program.agent.reconfigure(program.agent._configuration)
    program.cycle()
    assert 1 == engine.calls_made("hostengine_version_info")


def test_a_mig_change_shows_within_a_default_interval(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench("h100x8")
    program, clock = start(engine), Clock()
    program.agent._clock = clock
    program.cycle()
    engine.engine.control("mig", "--gpu", "3", "3g.40gb,2g.20gb")
    clock.now = 20.0
    program.cycle()
    assert 9 == len(program.series(TEMPERATURE))
    assert 1 == connections(engine)
    engine.engine.control("mig", "--gpu", "3", "off")
    clock.now = 40.0
    program.cycle()
    assert 8 == len(program.series(TEMPERATURE))
    assert 1 == connections(engine)


def test_a_gpu_keeps_its_labels_when_it_is_rediscovered_while_lost(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench("h100x8")
    program = start(engine, "DCGM_FI_DEV_XID_ERRORS, gauge, x")
    program.cycle()
    before = program.series("DCGM_FI_DEV_XID_ERRORS")
    engine.engine.control("lose-gpu", "3")
    engine.engine.control("drop")
    program.cycle()
    engine.pass_time(20)
    program.cycle()
    assert before == program.series("DCGM_FI_DEV_XID_ERRORS")
    assert "the driver has lost GPU 3 (GPU-" in program.reason
    assert 0.0 == program.series("do_dcgm_exporter_gpu_up")["gpu=3"]


def test_a_second_session_that_fails_ends_both(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, program = begin()
    program.cycle()
    program.agent.reconfigure(configured_for(engine))

    def fail(*_arguments: object) -> Session:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("do_dcgm_exporter.service.agent.open_session", fail)
        program.cycle()
    assert 0 == connections(engine)
    program.cycle()
    assert 1 == connections(engine)


def test_totals_outlive_engines_connections_and_configurations(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench()
    program = start(engine, f"{TOTAL}, counter, x")
    program.cycle()
    disturbances: list[Callable[[], object]] = [
        lambda: engine.engine.control("drop"),
        lambda: program.agent.reconfigure(configured_for(engine, f"{TOTAL}, counter, x")),
        lambda: None,
    ]
    for number, disturb in enumerate(disturbances, 1):
        engine.engine.control("xid", "--gpu", "0", "31")
        engine.pass_time(2)
        disturb()
        for _ in range(2):
            program.cycle()
        assert [number] == list(program.series(TOTAL).values())


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


# The thread.


class Pages:
    """Waits for pages."""

    def __init__(self, program: Program) -> None:
        self.published = threading.Semaphore(0)
        publication = program.publisher.publication
        publish = publication.publish

        def and_tell(page: object) -> None:
            publish(page)  # type: ignore[arg-type]
            self.published.release()

        publication.publish = and_tell  # type: ignore[method-assign]

    def wait(self) -> None:
        assert self.published.acquire(timeout=PATIENCE)


def test_the_thread_cycles_wakes_up_for_a_configuration_and_disconnects_in_the_end(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench()
    program = start(engine, collect_interval=3600.0)
    pages = Pages(program)
    program.agent.start()
    pages.wait()
    assert 1 == len(program.series(TEMPERATURE))
    power = "DCGM_FI_DEV_POWER_USAGE"
    program.agent.reconfigure(configured_for(engine, f"{power}, gauge, x"))
    pages.wait()
    assert 1 == len(program.series(power))
    program.agent.stop(PATIENCE)
    assert not program.agent._thread.is_alive()
    assert 0 == connections(engine)


def test_no_wake_up_is_lost_that_comes_while_the_thread_begins(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of a stop right after the start nor of one that comes with a cycle's end."""
    engine = bench()
    program = start(engine, collect_interval=3600.0)
    cycle = Agent.cycle

    def stop_in_cycle(agent: Agent) -> float:
        pause = cycle(agent)
        agent._stopping = True
        agent._wake.set()
        return pause

    monkeypatch.setattr(Agent, "cycle", stop_in_cycle)
    program.agent._wake.set()
    program.agent.start()
    program.agent._thread.join(PATIENCE)
    assert not program.agent._thread.is_alive()


def test_the_thread_goes_on_cycling(bench: StartBench, start: StartProgram) -> None:
    program = start(bench(), collect_interval=0.01)
    pages = Pages(program)
    program.agent.start()
    for _ in range(5):
        pages.wait()
    program.agent.stop(PATIENCE)


def test_stopping_does_not_wait_for_an_engine_that_hangs(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hang(_session: Session, _now: float) -> CycleResult:
        entered.set()
        leave.wait(PATIENCE)
        raise ZeroDivisionError

    program = start(bench())
    monkeypatch.setattr(Session, "read", hang)
    program.agent.start()
    assert entered.wait(PATIENCE)
    program.agent.stop(0.01)
    assert program.agent._thread.is_alive()
    leave.set()
    program.agent._thread.join(PATIENCE)
    assert not program.agent._thread.is_alive()
