"""Peer-to-peer states as a family."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from tests.builders import (
    Bench,
    counter_set,
    gpu,
    labels_of,
    readings_of,
    series_of,
    some_gpu,
)

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sources.p2p import P2PCollector
from do_dcgm_exporter.config.device_selection import parse_device_selection
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.topology import Topology

StartBench = Callable[..., Bench]
NAME = "DCGM_EXP_P2P_STATUS"
COUNTER = f"{NAME}, gauge, x"
GPUS = (some_gpu(0), some_gpu(1))


class Engine:
    def __init__(self, states: Mapping[tuple[int, int], int]) -> None:
        self.states = states

    def p2p_states(self) -> Mapping[tuple[int, int], int]:
        return self.states


def collector_of(states: Mapping[tuple[int, int], int]) -> P2PCollector:
    identities = {gpu(number): (("gpu", str(number)),) for number in (0, 1)}
    labels = LabelBlocks(Topology(gpus=GPUS), identities, [])
    labels.update(readings_of(), {})
    return P2PCollector(Engine(states), labels, GPUS, interval=240.0)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (0, "OK"),
        (1, "ChipsetNotSupported"),
        (2, "GPUNotSupported"),
        (3, "TopologyNotSupported"),
        (4, "DisabledByRegKey"),
        (5, "NotSupported"),
        (6, "Unknown"),
        (99, "Unknown"),
    ],
)
def test_each_state_has_its_word(state: int, word: str) -> None:
    (family,) = collector_of({(0, 1): state}).collect(counter_set(COUNTER), readings_of())
    expected = {f'gpu="0",link_status="{word}",peer_gpu="1"': str(state)}
    assert expected == series_of([family], NAME)


def test_pairs_are_in_order_and_only_of_gpus_in_scope() -> None:
    states = {(1, 0): 0, (0, 7): 0, (7, 0): 0, (0, 1): 0}
    (family,) = collector_of(states).collect(counter_set(COUNTER), readings_of())
    found = [labels_of(block) for block in series_of([family], NAME)]
    assert [("0", "1"), ("0", "7"), ("1", "0")] == [(f["gpu"], f["peer_gpu"]) for f in found]


def test_a_lost_gpu_is_nobodys_peer() -> None:
    readings = readings_of()
    readings.lost_gpus = frozenset({1})
    (family,) = collector_of({(0, 1): 0, (1, 0): 0}).collect(counter_set(COUNTER), readings)
    assert () == family.samples


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3"])
def test_bindings_without_it_give_no_family_and_a_reason(bench: StartBench, version: str) -> None:
    started = bench("h100x1", version)
    result = started.read(started.session(COUNTER))
    assert () == result.snapshot.families
    assert 1 == result.dropped[Absence.FUNCTION_ABSENT]
    assert all(outcome.succeeded for outcome in result.outcomes)


@pytest.mark.parametrize("version", ["4.5.3", "4.6.0"])
def test_newer_bindings_tell_every_pair(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    series = started.series(started.session(COUNTER), NAME)
    assert (56, {"0"}) == (len(series), set(series.values()))
    labels = labels_of(next(iter(series)))
    assert ["Hostname", "link_status", "peer_gpu"] == list(labels)[-3:]
    one = started.session(COUNTER, gpus=parse_device_selection("g:3"))
    assert 7 == len(started.series(one, NAME))


def test_nobody_is_asked_for_what_no_counter_wants(bench: StartBench) -> None:
    started = bench()
    started.read(started.session("DCGM_FI_DEV_GPU_TEMP, gauge, x"))
    assert 0 == started.calls_made("get_nvlink_p2p_status")


def test_readings_start_without_reasons() -> None:
    assert {} == dict(Readings(0.0, 1.0).dropped)
