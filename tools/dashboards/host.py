"""The dashboard of one host: is it complete, how busy is it, what holds it back."""

from __future__ import annotations

from tools.dashboards.blocks import (
    COOL_IS_GOOD,
    FRESH_IS_GOOD,
    GOOD,
    NONE_IS_GOOD,
    SOME_IS_ODD,
    Column,
    Json,
    dashboard,
    graph,
    stat,
    table,
    target,
)
from tools.dashboards.queries import (
    ENTITY,
    GPUS,
    HOSTS,
    LOST,
    MARGIN,
    MEMORY,
    POWER,
    UTILIZATION,
    XID_AGE,
)

UID = "do-dcgm-exporter-host"


def per_gpu(metric: str) -> str:
    """Return a metric once per GPU."""
    return f"max by (gpu) ({metric}{{{GPUS}}})"


def growth(metric: str) -> str:
    """Return by how much a counter has grown, once per GPU."""
    return f"max by (gpu) (increase({metric}{{{GPUS}}}[$__rate_interval]))"


def time_lost(metric: str) -> str:
    """Return the fraction of time that a violation counter (in ns) has grown by."""
    return f"max by (gpu) (rate({metric}{{{GPUS}}}[$__rate_interval])) / 1e9"


def host() -> Json:
    """Return the dashboard of one host."""
    text = "The GPUs of one host: are all present, how busy are they, what holds them back?"
    panels = [*numbers(), gpus(), *load(), *heat_and_power(), *traffic(), *trouble()]
    return dashboard(UID, "GPU host", text, several=False, panels=panels)


STATES = [
    {
        "type": "value",
        "options": {
            "0": {"text": "Down", "color": "red"},
            "1": {"text": "Blind", "color": "red"},
            "2": {"text": "Live", "color": "green"},
        },
    }
]


def numbers() -> list[Json]:
    """Return the row of numbers: first whether to worry, then how much is used."""
    live = f"min(up{{{HOSTS}}}) + (min(do_dcgm_exporter_hostengine_up{{{HOSTS}}}) or vector(0))"
    return [
        stat(
            "Data",
            "Live: values arrive. Blind: the exporter has no engine; its /health says why. "
            "Down: the exporter cannot be scraped.",
            live, "none", GOOD, mappings=STATES,
        ),
        stat("GPUs lost", "GPUs that no longer answer the driver.", LOST, "none", NONE_IS_GOOD),
        stat(
            "Kinds of XID, 24 h",
            "Different XIDs on different GPUs within the last day; the table below names them.",
            f"count({XID_AGE} < 86400) or vector(0)", "none", SOME_IS_ODD,
        ),
        stat(
            "Uncorrectable errors",
            "Memory errors since the driver was loaded; a reset is needed.",
            f"sum({per_gpu('DCGM_FI_DEV_ECC_DBE_VOL_TOTAL')})", "none", NONE_IS_GOOD,
        ),
        stat("Mean utilization", "Of all GPUs.", f"avg({UTILIZATION})", "percentunit", GOOD),
        stat("Memory in use", "Of all GPUs together.", MEMORY % ("", GPUS, "", GPUS),
             "percentunit", GOOD),
        stat("Power now", "Of all GPUs together.", f"sum({POWER})", "watt", GOOD),
        stat(
            "Margin to slowdown",
            "How far the hottest GPU is below its slowdown temperature.",
            f"min({MARGIN})", "celsius", COOL_IS_GOOD,
        ),
    ]  # fmt: skip


def gpus() -> Json:
    """Return the table with a row per GPU."""
    identity = "gpu, UUID, modelName, Hostname"
    last_xid = f'max by ({identity}, err_msg) (DCGM_FI_DEV_XID_ERRORS{{{GPUS},GPU_I_ID=""}})'
    return table(
        "GPUs",
        "The last XID of each GPU stays until the engine is restarted.",
        "gpu",
        7,
        {
            "Last XID": Column(last_xid, steps=SOME_IS_ODD),
            "Utilization": Column(f"avg by (gpu) ({UTILIZATION})", "percentunit"),
            "Memory used": Column(MEMORY % (" by (gpu)", GPUS, " by (gpu)", GPUS), "percentunit"),
            "Power": Column(f"max by (gpu) ({POWER})", "watt"),
            "Margin to slowdown": Column(f"min by (gpu) ({MARGIN})", "celsius", COOL_IS_GOOD),
            "Uncorrectable errors": Column(
                per_gpu("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"), steps=NONE_IS_GOOD
            ),
            "Rows remapped": Column(
                per_gpu("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"), steps=SOME_IS_ODD
            ),
            "Remapping failed": Column(
                per_gpu("DCGM_FI_DEV_ROW_REMAP_FAILURE"), steps=NONE_IS_GOOD
            ),
        },
        labels=("err_msg",),
        hidden=("Hostname",),
    )


def load() -> list[Json]:
    """Return how busy the GPUs and their instances are."""
    utilization = (
        f"DCGM_FI_DEV_GPU_UTIL{{{GPUS}}} / 100"
        f" or on (instance, gpu, GPU_I_ID) DCGM_FI_PROF_GR_ENGINE_ACTIVE{{{GPUS}}}"
    )
    bandwidth = (
        f"DCGM_FI_PROF_DRAM_ACTIVE{{{GPUS}}}"
        f" or on (instance, gpu) DCGM_FI_DEV_MEM_COPY_UTIL{{{GPUS}}} / 100"
    )
    return [
        graph(
            "Utilization",
            "Share of time in which anything ran; for MIG instances as measured by profiling.",
            [target(utilization, ENTITY)], "percentunit", max=1,
        ),
        graph(
            "Memory used",
            "Share of the memory that the driver does not reserve.",
            [target(f"DCGM_FI_DEV_FB_USED_PERCENT{{{GPUS}}}", ENTITY)], "percentunit", max=1,
        ),
        graph(
            "Tensor cores",
            "Share of cycles in which the tensor cores were busy: what training pays for. "
            "Needs profiling.",
            [target(f"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{{{GPUS}}}", ENTITY)], "percentunit", max=1,
        ),
        graph(
            "Memory bandwidth",
            "Share of cycles in which the memory moved data: near 1, memory limits the job. "
            "Without profiling, the share of time in which it did.",
            [target(bandwidth, ENTITY)], "percentunit", max=1,
        ),
    ]  # fmt: skip


def heat_and_power() -> list[Json]:
    """Return heat and power with their limits, and what they cost."""
    return [
        graph(
            "Temperature",
            "Of each GPU, with the lowest slowdown temperature.",
            [
                target(per_gpu("DCGM_FI_DEV_GPU_TEMP"), "GPU {{gpu}}"),
                target(f"min(DCGM_FI_DEV_SLOWDOWN_TEMP{{{GPUS}}})", "limit: slows down"),
            ],
            "celsius",
        ),
        graph(
            "Power",
            "Of each GPU, with the lowest limit in force, and its peaks if the counter group "
            "peaks is on.",
            [
                target(per_gpu("DCGM_FI_DEV_POWER_USAGE"), "GPU {{gpu}}"),
                target(per_gpu("DCGM_FI_DEV_POWER_USAGE_MAX"), "GPU {{gpu}} peak"),
                target(f"min(DCGM_FI_DEV_ENFORCED_POWER_LIMIT{{{GPUS}}})", "limit in force"),
            ],
            "watt",
        ),
        graph(
            "Time held back",
            "Share of time in which clocks were lowered: power is normal under full load, "
            "heat is not.",
            [
                target(time_lost("DCGM_FI_DEV_THERMAL_VIOLATION"), "GPU {{gpu}} heat"),
                target(time_lost("DCGM_FI_DEV_POWER_VIOLATION"), "GPU {{gpu}} power"),
                target(time_lost("DCGM_FI_DEV_BOARD_LIMIT_VIOLATION"), "GPU {{gpu}} board"),
            ],
            "percentunit",
        ),
        graph(
            "SM clock",
            "Falls with heat, power limits and idleness.",
            [target(f"{per_gpu('DCGM_FI_DEV_SM_CLOCK')} * 1e6", "GPU {{gpu}}")],
            "hertz",
        ),
    ]


def traffic() -> list[Json]:
    """Return what goes over the links; whole GPUs only, instances have no counters of it."""
    return [
        graph(
            f"{name} traffic",
            f"Over {name}; GPUs cut into MIG instances report none. Needs profiling.",
            [
                target(per_gpu(f"DCGM_FI_PROF_{part}_TX_BYTES"), "GPU {{gpu}} sent"),
                target(per_gpu(f"DCGM_FI_PROF_{part}_RX_BYTES"), "GPU {{gpu}} received"),
            ],
            "Bps",
        )
        for name, part in (("NVLink", "NVLINK"), ("PCIe", "PCIE"))
    ]


def trouble() -> list[Json]:
    """Return what is not in order but not yet an alert, and how the exporter does."""
    return [
        graph(
            "Recovered errors",
            "Corrected memory errors, packets resent over PCIe or NVLink, links that recovered.",
            [
                target(growth("DCGM_FI_DEV_ECC_SBE_VOL_TOTAL"), "GPU {{gpu}} memory"),
                target(growth("DCGM_FI_DEV_PCIE_REPLAY_COUNTER"), "GPU {{gpu}} PCIe"),
                target(growth("DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL"), "GPU {{gpu}} NVLink"),
                target(
                    growth("DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL"),
                    "GPU {{gpu}} NVLink recovery",
                ),
            ],
            "short",
        ),
        graph(
            "Age of the data",
            "Since the last reading, and since DigitalOcean last accepted a page (0: never).",
            [
                target(
                    f"time() - do_dcgm_exporter_last_success_timestamp_seconds{{{HOSTS}}}",
                    "last reading",
                ),
                target(
                    "(time() - (do_dcgm_exporter_forward_last_success_timestamp_seconds"
                    f"{{{HOSTS}}} > 0)) or 0 * do_dcgm_exporter_hostengine_up{{{HOSTS}}}",
                    "last page taken",
                ),
            ],
            "s",
            thresholds={
                "mode": "absolute",
                "steps": [{"color": c, "value": v} for c, v in FRESH_IS_GOOD],
            },
        ),
    ]
