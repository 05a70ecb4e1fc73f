"""Findings become sentences."""

from __future__ import annotations

import pytest
from tests.builders import gpu, gpu_instance, some_gpu, some_instance

from do_dcgm_exporter.dcgm.entities import HOST, Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.explain.diagnosis import Diagnosis, Finding, Severity, diagnose

TOPOLOGY = Topology(
    gpus=tuple(map(some_gpu, range(8))),
    gpu_instances=tuple(some_instance(n, n // 7, 7 + n % 7) for n in range(14)),
)
HOT = "{is} hot"
FAULT, WARNING = Severity.FAULT, Severity.WARNING


def diagnosis_of(*findings: Finding) -> Diagnosis:
    return diagnose(findings, TOPOLOGY, "All is well.")


def switch(number: int) -> Entity:
    return Entity(EntityKind.SWITCH, number)


def test_without_a_finding_all_is_well() -> None:
    assert ("All is well.", Severity.GOOD, ()) == (
        diagnosis_of().first.text,
        diagnosis_of().severity,
        diagnosis_of().others,
    )


def test_the_worst_comes_first_and_else_the_order_stays() -> None:
    diagnosis = diagnosis_of(
        Finding(WARNING, "first"), Finding(FAULT, "second"), Finding(WARNING, "third")
    )
    assert ("Second.", FAULT) == (diagnosis.first.text, diagnosis.severity)
    assert ["First.", "Third."] == [sentence.text for sentence in diagnosis.others]


@pytest.mark.parametrize(
    ("devices", "sentence"),
    [
        ([gpu(3)], "GPU 3 is hot, at 90 °C."),
        ([gpu(5), gpu(1)], "GPUs 1 and 5 are hot."),
        ([gpu(0), gpu(2), gpu(5)], "GPUs 0, 2 and 5 are hot."),
        ([gpu(number) for number in range(8)], "GPUs 0 to 7 are hot."),
        ([switch(1)], "NvSwitch 1 is hot, at 90 °C."),
        ([switch(0), switch(1)], "NvSwitches 0 and 1 are hot."),
        ([Entity(EntityKind.CONNECTX, 2)], "ConnectX adapter 2 is hot, at 90 °C."),
        ([HOST], "This host is hot, at 90 °C."),
        ([gpu_instance(7)], "GPU 1 instance 7 is hot, at 90 °C."),
        ([gpu_instance(0), gpu_instance(7)], "GPU 0 instance 7 and GPU 1 instance 7 are hot."),
        ([gpu_instance(n) for n in range(14)], "14 instances of GPUs 0 and 1 are hot."),
    ],
)
def test_devices_of_one_trouble_share_a_sentence(devices: list[Entity], sentence: str) -> None:
    found = [Finding(WARNING, HOT, (device,), ", at 90 °C") for device in devices]
    assert sentence == diagnosis_of(*found).first.text


def test_every_device_has_its_worst() -> None:
    diagnosis = diagnosis_of(
        Finding(WARNING, HOT, (gpu(0),)), Finding(FAULT, "fell", (gpu(0),)),
        Finding(WARNING, HOT, (gpu(1),)),
    )  # fmt: skip
    assert {gpu(0): FAULT, gpu(1): WARNING} == diagnosis.by_device


def test_a_sentence_has_one_full_stop() -> None:
    assert "The engine is gone." == diagnosis_of(Finding(FAULT, "the engine is gone.")).first.text
