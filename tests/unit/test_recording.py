"""A recording of one machine, replayed, gives the same page."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.builders import DATA, DEFAULT_COUNTERS, Bench, settings, simulated_bindings
from tests.unit.dcgm_simulator.replay import Clock

from dcgm_simulator.answers import NAME, POWER
from dcgm_simulator.codes import EntityGroup
from dcgm_simulator.fields import XID
from dcgm_simulator.host import Host
from dcgm_simulator.machine import SUFFIX, Entity
from dcgm_simulator.process import SimulatedEngine
from dcgm_simulator.recording import BadRecording, nearest_version, read_recording
from dcgm_simulator.series import SECOND, Watch
from do_dcgm_exporter.collect.event_logs import EventLogs
from do_dcgm_exporter.collect.samples import Family
from do_dcgm_exporter.commands import one_shot
from do_dcgm_exporter.commands.identifiers import Identifiers
from do_dcgm_exporter.commands.one_shot import OneShot, read_once
from do_dcgm_exporter.commands.record import recording_to
from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.counters import read_counter_set
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm import entities
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable
from do_dcgm_exporter.dcgm.recording import Recording, RecordingEngine
from do_dcgm_exporter.errors import ConfigurationError

StartBench = Callable[..., Bench]
Page = dict[str, dict[str, str]]
"""Values as printed, by family and label block."""

FURTHER_COUNTERS = """\
DCGM_FI_DEV_SERIAL, label, serial
DCGM_FI_DEV_VBIOS_VERSION, label, a text
DCGM_FI_DEV_FAN_SPEED, gauge, not supported
DCGM_EXP_P2P_STATUS, gauge, links between GPUs
DCGM_EXP_GPU_HEALTH_STATUS, gauge, health
"""
GPU = entities.Entity(entities.EntityKind.GPU, 0)
# A time of the past, which a replay moves.
TIMES = "DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS"


@dataclass(frozen=True)
class Machine:
    """A simulated machine, what went wrong there, and how a page shows that."""

    scenario: str
    version: str
    shown: str
    troubles: Sequence[Sequence[str]] = ()


MACHINES = {
    "MIG, an XID in an instance": Machine(
        "h100x8-mig", "3.3.9", 'xid="13"', (("xid", "--gpu-instance", "7", "13"),)
    ),
    "a lost GPU before 4.5": Machine(
        "h100x8", "4.2.3", 'xid="79"', (("lose-gpu", "3"), ("xid", "--gpu", "3", "79"))
    ),
    "a lost GPU": Machine("h100x8", "4.6.0", "3: False", (("lose-gpu", "3"),)),
    "values of all kinds": Machine(
        "h100x8",
        "4.5.3",
        "and \u00e9",
        (
            ("set", "--entity", "gpu:0", "150", "blank"),
            ("set", "--entity", "gpu:1", "155", "status:-14"),
            ("set", "--entity", "gpu:2", "1002", "no-permission"),
            ("set", "--entity", "gpu:4", "85", 'a "text" with \\ and \u00e9'),
            ("xid", "--gpu", "2", "31"),
            ("health", "--entity", "gpu:1", "--system", "128", "--code", "41", "fail"),
            ("nvlink", "--gpu", "0", "--link", "3", "down"),
            ("refuse-call", "get_nvlink_p2p_status", "-3"),
        ),
    ),
    "no rights": Machine("h100x1", "4.6.0", "as root", (("profiling-needs-root",),)),
    "no profiling module": Machine("a100-no-prof", "4.2.3", "profiling_not_offered"),
    "NvSwitches": Machine("hgx", "4.6.0", 'nvswitch="nvswitch3"'),
    "Grace CPUs": Machine("grace", "4.6.0", "Core(id=143, cpu_id=1)"),
    "a field that spoils the call": Machine(
        "h100x1", "3.3.9", "frozenset({85})", (("set", "--entity", "gpu:0", "85", "empty"),)
    ),
}


def page_of(families: Sequence[Family]) -> Page:
    return {
        family.name: {
            sample.labels: "" if family.name == TIMES else sample.value for sample in family.samples
        }
        for family in families
    }


def in_words(found: OneShot) -> tuple[object, ...]:
    """What the page says besides its DCGM families."""
    result = found.result
    return (
        result.gpus_up,
        result.nvlink_states,
        result.dropped,
        result.poisoned_fields,
        result.profiling_reason,
        [(outcome.name, outcome.succeeded) for outcome in result.outcomes],
        found.session.topology,
    )


@pytest.fixture
def replay() -> Iterator[Callable[[Path, str], Bench]]:
    """Play a file with a release's engine and bindings."""
    started: list[Bench] = []

    def play(path: Path, version: str) -> Bench:
        engine = SimulatedEngine.start(recording=path, manual_clock=True)
        status = engine.control("status")
        assert status["dcgm_version"] == version
        started.append(Bench(engine, simulated_bindings(version), status["time_us"] / 1e6))
        return started[-1]

    yield play
    for one in started:
        one.close()


Look = Callable[..., OneShot]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Look:
    """Read a machine once, by its own clock."""
    path = tmp_path / "further.csv"
    path.write_text(FURTHER_COUNTERS)
    counters = read_counter_set(DEFAULT_COUNTERS, (path,))

    def read(bench: Bench, recording: Recording | None = None) -> OneShot:
        address, logs = parse_engine_address(bench.engine.address), bench.logs()
        configuration = Configuration(settings(engine=address), counters)
        with monkeypatch.context() as patch:
            patch.setattr(one_shot, "load_bindings", lambda _: bench.bindings)
            patch.setattr(EventLogs, "starting_now", lambda _: logs)
            patch.setattr(time, "time", lambda: bench.now)
            return read_once(configuration, CallCount(), sleep=bench.pass_time, recording=recording)

    return read


@pytest.mark.parametrize("name", MACHINES)
def test_a_recording_replayed_gives_the_same_page(
    bench: StartBench, replay: Callable[[Path, str], Bench], look: Look, name: str, tmp_path: Path
) -> None:
    machine = MACHINES[name]
    original = bench(machine.scenario, machine.version)
    for trouble in machine.troubles:
        original.engine.control(*trouble)
    original.pass_time(3)
    path = tmp_path / "recording.json.gz"
    with recording_to(path, replace_identifiers=False) as recording:
        before = look(original, recording)
    after = look(replay(path, machine.version))
    shown = page_of(before.result.snapshot.families)
    assert machine.shown in f"{shown}{in_words(before)}"
    assert shown == page_of(after.result.snapshot.families)
    assert in_words(before) == in_words(after)


def test_one_refused_summary_does_not_make_a_replay_refuse_all(bench: StartBench) -> None:
    original = bench("h100x1", "4.6.0")
    address = parse_engine_address(original.engine.address)
    engine = RecordingEngine.connect(original.bindings, address, 5.0, CallCount())
    try:
        with pytest.raises(CallRefused):
            engine.summary(GPU, POWER, 0, 1)
    finally:
        engine.disconnect()
    assert "errors" not in engine.recording.told


# Recordings of real engines.

REAL = sorted(path.name for path in (DATA / "recordings").glob("*-[ha]100x[28]*.json.gz"))
HEALTHY = [name for name in REAL if "faults" not in name and "recut" not in name]


@pytest.mark.parametrize("name", HEALTHY)
def test_what_a_real_engine_answered_is_answered_again(name: str) -> None:
    path, clock = DATA / "recordings" / name, Clock()
    recording = read_recording(path)
    cycle = json.loads(gzip.decompress(path.read_bytes()))["cycles"][-1]
    host = Host("", recording.version, clock=clock, recording=recording)
    fields = host.cache.fields()
    # One entity of each kind and some profiling fields: to compute those takes time.
    chosen = [f for f in fields if f != XID and (f < 1013 or not fields[f].is_profiling)]
    rows = [r for r in cycle["values"] if r[1] == 1 and r[2] in chosen and r[3] != "b"]
    assert len(rows) > 100
    for group, number, field, *_ in rows:
        watch = Watch(SECOND, 0.0, 1)
        host.cache.watch(1, Entity(group, number), fields[field], watch, clock.now)
    clock.now += 10 * SECOND
    for group, number, field, _, status, _, value in rows:
        entity = Entity(group, number)
        found = host.cache.latest(entity, fields[field], clock.now, live=False)
        assert status == found.status, f"{entity}, field {field}"
        if not status:
            is_model = field == NAME and group == EntityGroup.GPU
            assert found.value == (f"{value}{SUFFIX}" if is_model else value), f"field {field}"


def test_steps_of_a_fault_are_no_recording_of_a_machine() -> None:
    path = DATA / "recordings" / "dcgm-4.6.0-h100x8-faults.json.gz"
    with pytest.raises(BadRecording, match=r"faults.json.gz is not a recording .* no 'cycles'"):
        read_recording(path)


@pytest.mark.parametrize(
    ("recorded", "imitated"),
    [("3.1.8", "3.3.9"), ("3.3.9", "3.3.9"), ("4.4.2", "4.2.3"), ("4.6.1", "4.6.0")],
)
def test_a_release_that_is_not_simulated_is_played_as_the_one_before(
    recorded: str, imitated: str
) -> None:
    assert imitated == nearest_version(recorded)


# Files.

HEAD = '{"dcgm_version": "4.6.0", '


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"cycles": []}', "has no 'dcgm_version'"),
        (HEAD + '"cycles": []}', "has no 'cycles'"),
        (HEAD + '"cycles": [{"values": []}]}', "time_us"),
        ('{"dcgm_version": "four", "cycles": [{"time_us": 1, "values": []}]}', "invalid literal"),
        (
            HEAD + '"cycles": [{"time_us": 1, "values": [[1, 0]]}]}',
            "not enough values",
        ),
        (
            HEAD + '"cycles": [{"time_us": 1, "values": [[1, 0, 150, "i", 0, 1, "hot"]]}]}',
            "'hot' is not a value of type 'i'",
        ),
    ],
)
def test_a_bad_file_is_one_sentence_that_names_it(
    tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(BadRecording, match=re.escape(str(path))) as caught:
        read_recording(path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "half.json.gz"
    path.write_bytes((DATA / "recordings" / HEALTHY[0]).read_bytes()[:1000])
    with pytest.raises(BadRecording, match="is not JSON, compressed or not"):
        read_recording(path)


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text("precious")
    with (
        pytest.raises(ConfigurationError, match=r"some.json exists and is not overwritten"),
        recording_to(path, replace_identifiers=False),
    ):
        pass
    assert "precious" == path.read_text()


def test_without_an_answer_there_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    with pytest.raises(ValueError), recording_to(path, replace_identifiers=False):
        assert path.exists()
        raise ValueError
    assert not path.exists()


def test_a_directory_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "some.json"
    with (
        pytest.raises(ConfigurationError, match=r"some.json: No such file or directory"),
        recording_to(path, replace_identifiers=False),
    ):
        pass


def test_what_was_answered_before_a_failure_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    with (
        pytest.raises(EngineUnavailable),
        recording_to(path, replace_identifiers=False) as recording,
    ):
        recording.tell("dcgm_version", "4.6.0")
        recording.tell("all_devices", [0])
        raise EngineUnavailable("it is gone")
    assert (0,) == read_recording(path).devices


# Identifiers.


def identifiers_in(recorded: dict[str, Any]) -> set[str]:
    """What tells one machine from another in a recording of eight H100."""
    known = [told["identifiers"] for told in recorded["attributes"].values()]
    return {own[name] for own in known for name in ("uuid", "serial", "pciBusId")}


@pytest.mark.parametrize("name", HEALTHY)
def test_identifiers_are_replaced_by_others_that_hang_together(name: str) -> None:
    text = gzip.decompress((DATA / "recordings" / name).read_bytes()).decode()
    recorded = json.loads(text)
    own = identifiers_in(recorded)
    replaced = Identifiers("vm").replaced(recorded)
    assert all(identifier in text for identifier in own)
    assert not any(identifier in json.dumps(replaced) for identifier in own)
    others = identifiers_in(replaced)
    assert len(own) == len(others)
    for gpu, told in replaced["attributes"].items():
        rows = {
            row[2]: row[6] for row in replaced["cycles"][-1]["values"] if row[:2] == [1, int(gpu)]
        }
        mine = told["identifiers"]
        assert mine["uuid"] == rows[54]
        assert (mine["serial"], mine["pciBusId"]) == (rows[53], rows[57])
    uuids = {told["identifiers"]["uuid"] for told in replaced["attributes"].values()}
    assert {node["info"]["gpuUuid"] for node in replaced["gpu_instance_hierarchy"]} <= uuids


def test_only_identifiers_are_replaced() -> None:
    rows = [
        [1, 0, 3, "s", 0, 9, "/home/ann/train.py"],
        [1, 0, 53, "s", 0, 9, "<<<NULL>>>"],
        [1, 0, 54, "s", -14, 0, ""],
        [1, 0, 68, "s", 0, 9, "MIG-GPU-0A1B2c3d-1111-2222-3333-444455556666/7/0"],
        [1, 0, 85, "s", 0, 9, "96.00.74.00.01"],
        [3, 1, 867, "i", 0, 9, 179],
        [3, 1, 866, "i", 0, 9, 0x7FFFFFFFFFFFFFF0],
    ]
    content = {"dcgm_version": "4.6.0", "note": "on anns-box", "cycles": [{"values": rows}]}
    replaced = Identifiers("anns-box").replaced(content)
    assert "on host" == replaced["note"]
    assert [row[6] for row in replaced["cycles"][0]["values"]] == [
        "process",
        "<<<NULL>>>",
        "",
        "MIG-GPU-00000000-0000-4000-8000-000000000001/7/0",
        "96.00.74.00.01",
        0,
        0x7FFFFFFFFFFFFFF0,
    ]


@pytest.mark.parametrize(
    ("host_name", "text", "expected"),
    [
        ("vm", "vm: nvml, vms, vm.example.com", "host: nvml, vms, host.example.com"),
        ("vm", "vm-data, data-vm", "vm-data, data-vm"),
        ("gpu-1", "gpu-10, my-gpu-1, _gpu-1 and (gpu-1)", "gpu-10, my-gpu-1, _gpu-1 and (host)"),
        ("a.b", "a.b, axb", "host, axb"),
        ("", "as it is", "as it is"),
    ],
)
def test_a_host_is_replaced_where_its_name_is_a_word(
    host_name: str, text: str, expected: str
) -> None:
    assert {"note": expected} == Identifiers(host_name).replaced({"note": text})
