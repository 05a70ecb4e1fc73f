"""The name of the host's label must not be that of another: the list knows all there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.builders import counter_set, settings
from tests.conftest import StartBench

from dcgm_simulator import bindings_directory
from do_dcgm_exporter.collect.samples import Family
from do_dcgm_exporter.commands.one_shot import read_once
from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.counters import Special
from do_dcgm_exporter.config.device_selection import parse_gpu_selection
from do_dcgm_exporter.config.option_values import TAKEN_LABELS, parse_label_name
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.errors import ConfigurationError

FIELDS = (
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_XID_ERRORS",
    "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT",
    "DCGM_FI_DEV_NVSWITCH_LINK_STATUS",
    "DCGM_FI_DEV_CPU_UTIL_TOTAL",
)


def families(bench: StartBench, scenario: str, jobs: Path) -> tuple[Family, ...]:
    """Return what a machine shows with every kind of counter, after an XID and with a job."""
    started = bench(scenario)
    started.engine.control("xid", "--gpu", "0", "13")
    lines = [f"{name}, gauge, x" for name in (*FIELDS, *(special.value for special in Special))]
    configured = Configuration(
        settings(
            engine=parse_engine_address(started.engine.address),
            dcgm_bindings=bindings_directory(),
            hpc_job_mapping_dir=jobs,
            gpus=parse_gpu_selection("g+i+c"),
        ),
        counter_set(*lines),
    )
    return read_once(configured, CallCount()).result.snapshot.families


def test_every_label_that_a_series_can_have_is_taken(bench: StartBench, tmp_path: Path) -> None:
    (tmp_path / "0").write_text("job-1\n")
    found: set[str] = set()
    for scenario in ("hgx", "grace", "h100x8-mig"):
        for family in families(bench, scenario, tmp_path):
            for sample in family.samples:
                found |= set(re.findall(r'(\w+)="', sample.labels))
    assert found - {"Hostname"} == TAKEN_LABELS
    for name in found - {"Hostname"}:
        with pytest.raises(ConfigurationError, match="is the name of another label"):
            parse_label_name(name)
