"""The dashboard of many hosts: which need attention, and what are they used for."""

from __future__ import annotations

from tools.dashboards import host as host_dashboard
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
    GPUS,
    HOSTS,
    LOST,
    LOST_BY_HOST,
    MARGIN,
    MEMORY,
    POWER,
    UTILIZATION,
    XID_AGE,
)

UID = "do-dcgm-exporter-fleet"
UP = f"do_dcgm_exporter_hostengine_up{{{HOSTS}}}"
BUSY = 0.05
HELD = 0.1


def fleet() -> Json:
    """Return the dashboard of many hosts."""
    text = "All hosts with GPUs: which need attention, and what are they used for?"
    panels = [*numbers(), hosts(), *use(), *heat_and_power(), *trouble()]
    return dashboard(UID, "GPU fleet", text, several=True, panels=panels)


def numbers() -> list[Json]:
    """Return the row of numbers."""
    return [
        stat("Hosts", "Hosts whose exporter can be scraped.", f"count({UP})", "none", GOOD),
        stat(
            "Hosts blind",
            "Their exporter has no engine; its /health says why.",
            f"count({UP} == 0) or vector(0)", "none", NONE_IS_GOOD,
        ),
        stat("GPUs", "GPUs the engines know.", f"sum(do_dcgm_exporter_gpus{{{HOSTS}}})",
             "none", GOOD),
        stat("GPUs lost", "GPUs that no longer answer their driver.", LOST, "none",
             NONE_IS_GOOD),
        stat(
            "GPUs with XIDs, 24 h",
            "The table below shows on which hosts.",
            f"count(max by (instance, gpu) ({XID_AGE} < 86400)) or vector(0)",
            "none", SOME_IS_ODD,
        ),
        stat("Mean utilization", "Of all GPUs.", f"avg({UTILIZATION})", "percentunit", GOOD),
        stat("Power now", "Of all GPUs together.", f"sum({POWER})", "watt", GOOD),
        stat(
            "Least margin to slowdown",
            "How far the hottest GPU is below its slowdown temperature.",
            f"min({MARGIN})", "celsius", COOL_IS_GOOD,
        ),
    ]  # fmt: skip


def hosts() -> Json:
    """Return the table with a row per host, those with lost GPUs first."""
    by_host = " by (instance)"
    xids = f"count by (instance) ({XID_AGE} < 86400) or 0 * max by (instance) ({UP})"
    drawn = table(
        "All hosts",
        "Click a host to open its dashboard.",
        "instance",
        9,
        {
            "GPUs lost": Column(LOST_BY_HOST, steps=NONE_IS_GOOD),
            "XIDs, 24 h": Column(xids, steps=SOME_IS_ODD),
            "GPUs": Column(f"max by (instance) (do_dcgm_exporter_gpus{{{HOSTS}}})"),
            "Utilization": Column(f"avg by (instance) ({UTILIZATION})", "percentunit"),
            "Memory used": Column(MEMORY % (by_host, GPUS, by_host, GPUS), "percentunit"),
            "Power": Column(f"sum by (instance) ({POWER})", "watt"),
            "Margin to slowdown": Column(f"min by (instance) ({MARGIN})", "celsius", COOL_IS_GOOD),
            "Age of the data": Column(
                "max by (instance) (time() - "
                f"do_dcgm_exporter_last_success_timestamp_seconds{{{HOSTS}}})",
                "s",
                FRESH_IS_GOOD,
            ),
        },
    )
    drawn["options"]["sortBy"] = [{"displayName": "GPUs lost", "desc": True}]
    link = {
        "title": "Open this host",
        "url": f"/d/{host_dashboard.UID}?var-datasource=${{datasource}}"
        "&var-instance=${__data.fields.instance}&${__url_time_range}",
    }
    drawn["fieldConfig"]["overrides"].append(
        {
            "matcher": {"id": "byName", "options": "instance"},
            "properties": [{"id": "links", "value": [link]}],
        }
    )
    return drawn


def use() -> list[Json]:
    """Return what the GPUs are used for."""
    memory = MEMORY % (" by (instance, gpu)", GPUS, " by (instance, gpu)", GPUS)
    idle = f"({UTILIZATION} < {BUSY})"
    tensor = f"avg(DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{{{GPUS}}})"
    return [
        graph(
            "What the GPUs do",
            "Idle: under 5 % utilization. Held: idle with more than 1/10 of its memory in use.",
            [
                target(f"count({UTILIZATION} >= {BUSY}) or vector(0)", "busy"),
                target(f"count({idle} and ({memory}) > {HELD}) or vector(0)", "idle, memory held"),
                target(f"count({idle} and ({memory}) <= {HELD}) or vector(0)", "idle"),
            ],
            "none", stack=True,
        ),
        graph(
            "Utilization",
            "A tenth, half and nine tenths of the GPUs are below; tensor cores, which need "
            "profiling, are what training pays for.",
            [
                *(
                    target(f"quantile({share}, {UTILIZATION})", f"{name} of GPUs below")
                    for share, name in ((0.1, "1/10"), (0.5, "1/2"), (0.9, "9/10"))
                ),
                target(tensor, "tensor cores, mean"),
            ],
            "percentunit", max=1,
        ),
    ]  # fmt: skip


def heat_and_power() -> list[Json]:
    """Return heat and power."""
    return [
        graph(
            "Ten hottest GPUs",
            "How far they are below their slowdown temperature.",
            [target(f"bottomk(10, {MARGIN})", "{{Hostname}}{{hostname}} GPU {{gpu}}")],
            "celsius",
            min=None,  # it may be past the limit
        ),
        graph(
            "Power",
            "By model.",
            [target(f"sum by (modelName) ({POWER})", "{{modelName}}")],
            "watt",
            stack=True,
        ),
    ]


def trouble() -> list[Json]:
    """Return what happens to GPUs and exporters."""
    xids = f"sum by (xid) (DCGM_EXP_XID_ERRORS_COUNT{{{GPUS}}})"
    events = 'clock_event!~"|gpu_idle|clocks_setting"'
    return [
        graph(
            "XIDs",
            "XIDs of the last 20 seconds, by number; docs/alerts.md says what to do.",
            [target(f'label_replace({xids}, "xid", "none", "xid", "")', "{{xid}}")],
            "none",
        ),
        graph(
            "GPUs held back",
            "By reason: power_cap is normal under full load, thermal and power_brake are not.",
            [
                target(
                    "count by (clock_event) (max by (instance, gpu, clock_event) "
                    f"(DCGM_EXP_CLOCK_EVENTS_COUNT{{{GPUS},{events}}})) "
                    'or label_replace(vector(0), "clock_event", "none", "", "")',
                    "{{clock_event}}",
                )
            ],
            "none",
        ),
        *delays(),
    ]


def delays() -> list[Json]:
    """Return how old the data is, and what happens to posts."""
    return [
        graph(
            "Age of the data",
            "On the host with the oldest data.",
            [
                target(
                    f"max(time() - do_dcgm_exporter_last_success_timestamp_seconds{{{HOSTS}}})",
                    "last reading",
                )
            ],
            "s",
        ),
        graph(
            "Pages posted to DigitalOcean",
            "Per second, by result.",
            [
                target(
                    "sum by (result) (rate("
                    f"do_dcgm_exporter_forward_attempts_total{{{HOSTS}}}[$__rate_interval]))",
                    "{{result}}",
                )
            ],
            "none",
            stack=True,
        ),
    ]
