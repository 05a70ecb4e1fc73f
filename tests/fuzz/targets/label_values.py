"""Any bytes as label values and help: a strict parser gives back what went in."""

from __future__ import annotations

from tests.fuzz.pages import parsed

from do_dcgm_exporter.collect.sample_text import label_block
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample


def fuzz(data: bytes) -> None:
    """Raise unless the values of all labels come back."""
    values = [part.decode("utf-8", "replace") for part in data.split(b"\0")[:8]]
    labels = tuple((f"label_{number}", value) for number, value in enumerate(values))
    help_text = " ".join(values[-1].split())
    page = parsed([Family("A", MetricType.GAUGE, help_text, (Sample(label_block(labels), "1"),))])
    (sample,) = page.samples("A")
    assert sample.labels == dict(labels), sample.labels
