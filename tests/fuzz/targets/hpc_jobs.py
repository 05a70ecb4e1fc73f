"""Any bytes as a job mapping file: names that come back from a page."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.fuzz.pages import parsed

from do_dcgm_exporter.collect.jobs import JobDirectory
from do_dcgm_exporter.collect.sample_text import label_block
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample

_DIRECTORY = Path(tempfile.mkdtemp(prefix="fuzz-jobs-"))


def fuzz(data: bytes) -> None:
    """Raise unless the file gives names of which each makes a series of its own."""
    (_DIRECTORY / "0").write_bytes(data)
    names = JobDirectory(_DIRECTORY).read()["0"]
    samples = tuple(Sample(label_block((("hpc_job", name),)), "1") for name in names)
    page = parsed([Family("A", MetricType.GAUGE, "Help.", samples)])
    assert [sample.labels["hpc_job"] for sample in page.samples("A")] == list(names)
