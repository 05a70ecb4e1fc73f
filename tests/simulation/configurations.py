"""The configurations of a simulated run: settings and counters, drawn from its seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from tests.builders import counter_set, settings

from do_dcgm_exporter.config.peaks import Statistic
from do_dcgm_exporter.config.settings import Configuration

TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP, gauge, x"
PROFILING = "DCGM_FI_PROF_SM_ACTIVE, gauge, x"
CHOSEN = (
    PROFILING,
    "DCGM_FI_DRIVER_VERSION, label, x",
    "DCGM_FI_DEV_UUID, label, x",
    "DCGM_FI_DEV_POWER_USAGE, gauge, x",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter, x",
    "DCGM_FI_DEV_FB_USED, gauge, x",
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL, gauge, x",
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS, gauge, x",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE, gauge, x",
    "DCGM_FI_DEV_XID_ERRORS, gauge, x",
    "DCGM_EXP_XID_ERRORS_COUNT, gauge, x",
    "DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS, gauge, x",
    "DCGM_EXP_CLOCK_EVENTS_COUNT, gauge, x",
    "DCGM_EXP_CLOCK_EVENTS_TOTAL, counter, x",
    "DCGM_EXP_GPU_HEALTH_STATUS, gauge, x",
    "DCGM_EXP_P2P_STATUS, gauge, x",
    "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP_NS, counter, x",
)
ALWAYS = (TEMPERATURE, "DCGM_EXP_XID_ERRORS_TOTAL, counter, x")
"""Counters that every configuration has."""
PEAKS = (
    "DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
    "DCGM_FI_PROF_SM_ACTIVE",
)
"""Fields of which some configurations have the peaks."""


def draw_configuration(
    draw: random.Random, interval: float, peaks: random.Random | None = None
) -> Configuration:
    """Draw a configuration that is valid, with ``peaks`` where there may be some."""
    drawn = settings(
        collect_interval=interval,
        stale_after=3 * interval,
        xid_zero_fill=draw.random() < 0.8,
        show_hostname=False,
        forward=draw.random() < 0.5,
        forward_url="http://localhost:9/v1/gpu_metrics",
        forward_interval=draw.choice((5.0, 20.0)),
        forward_timeout=draw.choice((1.0, 5.0)),
        log_level="debug",
    )
    chosen = [line for line in CHOSEN if draw.random() < 0.5]
    if peaks:
        drawn = replace(drawn, sample_interval=peaks.choice((0.5, 1.0)))
        chosen += _lines_of_peaks(peaks)
    return Configuration(drawn, counter_set(*ALWAYS, *chosen))


def _lines_of_peaks(draw: random.Random) -> Iterator[str]:
    if draw.random() < 0.7:
        yield "DCGM_EXP_SAMPLED_ENERGY_JOULES_TOTAL, counter, x"
    for name in PEAKS:
        if draw.random() < 0.7:
            yield from (f"{name}_{statistic.name}, gauge, x" for statistic in Statistic)
