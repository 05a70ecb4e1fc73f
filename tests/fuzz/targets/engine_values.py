"""Any bytes as the values of an engine's answer: numbers that print, or reasons for none."""

from __future__ import annotations

import ctypes
import math

from tests.fuzz.pages import parsed

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_text import label_block, number_text
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.dcgm.bindings import FIELD_VALUE_SIZE
from do_dcgm_exporter.dcgm.decoding import Absence, decode_values

_HEAD = 64  # what is read of a value that is no text
_NOW = 1_800_000_000.0


def fuzz(data: bytes) -> None:
    """Raise unless every value counts as a number, a text, or a reason why there is none."""
    count = -(-len(data) // _HEAD)
    answer = (ctypes.c_char * (count * FIELD_VALUE_SIZE))()
    for number in range(count):
        part = data[number * _HEAD : (number + 1) * _HEAD]
        answer[number * FIELD_VALUE_SIZE : number * FIELD_VALUE_SIZE + len(part)] = part
    readings = Readings(_NOW, 60.0)
    readings.add(decode_values(answer, count))
    samples = {}
    for (entity, field_id), value in readings.values.items():
        if isinstance(value, str):
            labels = label_block((("entity", f"{entity}/{field_id}"), ("text", value)))
            samples[labels] = Sample(labels, "1")
        elif not isinstance(value, Absence):
            assert math.isfinite(value), f"{value} is no number to show"
            labels = label_block((("entity", f"{entity}/{field_id}"),))
            samples[labels] = Sample(labels, number_text(value))
    parsed([Family("A", MetricType.GAUGE, "Help.", tuple(samples.values()))])
