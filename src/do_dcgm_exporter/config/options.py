"""Every option, in the groups of the help.

This table is the only list of options. The command line, the environment variables, the keys
of the configuration file and the fields of Settings all follow from it.
"""

from __future__ import annotations

from pathlib import Path

from do_dcgm_exporter.config.addresses import (
    parse_engine_address,
    parse_forward_url,
    parse_listen_address,
)
from do_dcgm_exporter.config.counter_files import GROUP_NAMES, NO_GROUP
from do_dcgm_exporter.config.device_selection import parse_device_selection, parse_gpu_selection
from do_dcgm_exporter.config.option import Option
from do_dcgm_exporter.config.option_values import (
    OneOf,
    milliseconds,
    parse_bindings_directory,
    parse_directory,
    parse_label_name,
    parse_path,
)
from do_dcgm_exporter.config.settings import LogFormat

LOG_LEVELS = ("error", "warning", "info", "debug")

ETC = Path("/etc/do-dcgm-exporter")
CONFIG_FILE_NAME = "do-dcgm-exporter.conf"
DEFAULT_FORWARD_URL = "http://169.254.169.254:80/v1/gpu_metrics"


GROUPS: dict[str, tuple[Option, ...]] = {
    "Metrics": (
        Option(
            ("-f", "--collectors"),
            "your counters, in addition to the default ones; may be repeated",
            "(/etc/do-dcgm-exporter/collectors.csv if it exists)",
            parse_path,
            "FILE",
            repeatable=True,
        ),
        Option(
            ("--default-counters",),
            "the default counters",
            "(/etc/do-dcgm-exporter/default-counters.csv)",
            parse_path,
            "FILE",
        ),
        Option(
            ("--counter-groups",),
            f"ready-made group of additional counters: {', '.join(GROUP_NAMES)}; may be repeated",
            f"({NO_GROUP})",
            OneOf(NO_GROUP, *GROUP_NAMES),
            "GROUP",
            repeatable=True,
            setting="",
        ),
        Option(
            ("-c", "--collect-interval"),
            "time between readings",
            "20000",
            milliseconds(100, 3_600_000),
            "MS",
        ),
        Option(
            ("--sample-interval",),
            "time between the samples of which peaks are made",
            "(1000, or the collect interval if that is shorter)",
            milliseconds(100, 60_000),
            "MS",
        ),
        Option(
            ("--stale-after",),
            "leave out values older than this",
            "(3 times the collect interval)",
            milliseconds(100, 86_400_000),
            "MS",
        ),
        Option(
            ("-x", "--xid-count-window-size"),
            "window of DCGM_EXP_XID_ERRORS_COUNT",
            "20000",
            milliseconds(1000, 600_000),
            "MS",
            setting="xid_window",
        ),
        Option(
            ("--clock-events-count-window-size",),
            "window of DCGM_EXP_CLOCK_EVENTS_COUNT",
            "20000",
            milliseconds(1000, 600_000),
            "MS",
            setting="clock_events_window",
        ),
        Option(
            ("--xid-zero-fill", "--no-xid-zero-fill"),
            "show XID 0 for devices that have not had an XID",
            "on",
        ),
        Option(
            ("--hpc-job-mapping-dir",),
            "directory with one file of job ids per GPU, for the label hpc_job",
            "(none)",
            parse_directory,
            "DIR",
        ),
        Option(
            ("--hpc-job-from-usage", "--no-hpc-job-from-usage"),
            "label hpc_job with the Slurm jobs that do-dcgm-exporter-usage(8) finds",
            "off",
        ),
    ),
    "Devices": (
        Option(
            ("-d", "--devices"),
            "GPUs to read; their parts are MIG GPU instances",
            "f",
            parse_gpu_selection,
            "SELECTION",
            setting="gpus",
        ),
        Option(
            ("-s", "--switch-devices"),
            "NvSwitches to read; their parts are links",
            "f",
            parse_device_selection,
            "SELECTION",
            setting="switches",
        ),
        Option(
            ("-p", "--cpu-devices"),
            "CPUs to read; their parts are cores",
            "f",
            parse_device_selection,
            "SELECTION",
            setting="cpus",
        ),
    ),
    "Labels": (
        Option(
            ("--hostname", "--no-hostname", "-n"),
            "label every series with the host's name",
            "on",
            setting="show_hostname",
        ),
        Option(("--hostname-label",), "name of that label", "Hostname", parse_label_name, "NAME"),
        Option(
            ("--replace-blanks-in-model-name", "--no-replace-blanks-in-model-name"),
            "replace blanks in the model name with dashes",
            "off",
        ),
        Option(
            ("--label-fields-as-info", "--no-label-fields-as-info"),
            "put label counters on do_dcgm_exporter_gpu_info instead of on every series",
            "off",
        ),
    ),
    "DCGM": (
        Option(
            ("-r", "--remote-hostengine-info"),
            "where nv-hostengine listens: HOST:PORT, [IPV6]:PORT, unix:///PATH or vsock://CID:PORT",
            "localhost:5555",
            parse_engine_address,
            "ADDRESS",
            setting="engine",
        ),
        Option(
            ("--dcgm-bindings",),
            "directory of NVIDIA's Python bindings",
            "(that of the DCGM package)",
            parse_bindings_directory,
            "DIR",
        ),
    ),
    "Serving": (
        Option(
            ("-a", "--address"),
            "where to serve /metrics: [HOST]:PORT or [IPV6]:PORT",
            ":9401",
            parse_listen_address,
            "ADDRESS",
        ),
        Option(
            ("--status-page", "--no-status-page"),
            "show the GPUs at / rather than links only",
            "on",
        ),
        Option(
            ("--web-config-file",),
            "TLS and passwords, in the format of Prometheus' exporter-toolkit",
            "(none: anyone who can connect can read everything, unencrypted)",
            parse_path,
            "FILE",
        ),
    ),
    "Forwarding": (
        Option(
            ("--forward", "--no-forward", "--forward-auto"),
            "post the DCGM metrics to DigitalOcean; auto: only on a droplet, or to your own"
            " forward-url",
            "auto",
        ),
        Option(
            ("--forward-url",),
            "where to post them",
            DEFAULT_FORWARD_URL,
            parse_forward_url,
            "URL",
        ),
        Option(
            ("--forward-interval",),
            "time between posts",
            "20000",
            milliseconds(100, 3_600_000),
            "MS",
        ),
        Option(
            ("--forward-timeout",),
            "time limit of one post",
            "5000",
            milliseconds(100, 60_000),
            "MS",
        ),
    ),
    "Logging": (
        Option(
            ("--log-format",),
            "text or json",
            "text",
            OneOf(*(format_.value for format_ in LogFormat), meaning=LogFormat),
            "FORMAT",
        ),
        Option(("--log-level",), ", ".join(LOG_LEVELS), "info", OneOf(*LOG_LEVELS), "LEVEL"),
        Option(
            ("--debug", "--no-debug"),
            "the same as --log-level debug",
            "off",
            setting="",
        ),
    ),
    # What the Debian package does with the machine; the exporter itself ignores them.
    "Debian package": (
        Option(
            ("--engine",),
            "whose engine the package runs: nvidia (the unit nvidia-dcgm.service), ours"
            " (do-nv-hostengine.service under that name) or none",
            "nvidia",
            OneOf("nvidia", "ours", "none"),
            "WHOSE",
            setting="",
        ),
        Option(
            ("--embedded-exporters",),
            "what the package does with NVIDIA exporters that run their own DCGM:"
            " rewrite, stop or leave",
            "rewrite",
            OneOf("rewrite", "stop", "leave"),
            "WHAT",
            setting="",
        ),
    ),
}

OPTIONS = tuple(option for options in GROUPS.values() for option in options)
