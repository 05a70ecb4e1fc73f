"""Every option: its spellings, what it accepts, its default, its help.

This table is the only list of options. The command line, the environment variables, the keys
of the configuration file and the fields of Settings all follow from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from do_dcgm_exporter.config.addresses import (
    parse_engine_address,
    parse_forward_url,
    parse_listen_address,
)
from do_dcgm_exporter.config.counter_files import GROUP_NAMES, NO_GROUP
from do_dcgm_exporter.config.device_selection import parse_device_selection
from do_dcgm_exporter.config.option_values import (
    OneOf,
    milliseconds,
    parse_bindings_directory,
    parse_boolean,
    parse_directory,
    parse_label_name,
    parse_path,
)
from do_dcgm_exporter.config.settings import LogFormat
from do_dcgm_exporter.errors import ConfigurationError

LOG_LEVELS = ("error", "warning", "info", "debug")

ETC = Path("/etc/do-dcgm-exporter")
CONFIG_FILE_NAME = "do-dcgm-exporter.conf"
DEFAULT_FORWARD_URL = "http://169.254.169.254:80/v1/gpu_metrics"

_AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    A switch has no ``parse``; its first two flags are ``--x`` and ``--no-x``, and one that
    can be left to the program also has ``--x-auto``. ``default`` is what the help shows: for
    a switch ``on``, ``off`` or ``auto``, otherwise the text to parse, or in parentheses how
    the value is worked out. ``setting`` is the field of Settings it sets: without one, the
    field named like the option; if empty, none.
    """

    flags: tuple[str, ...]
    help: str
    default: str
    parse: Callable[[str], object] | None = None
    metavar: str | None = None
    repeatable: bool = False
    setting: str | None = None

    @property
    def name(self) -> str:
        """Its key in the configuration file, by which values are kept as well."""
        return next(flag[2:] for flag in self.flags if flag.startswith("--"))

    @property
    def field(self) -> str:
        """The field of Settings that holds its value, empty if there is none."""
        return self.name.replace("-", "_") if self.setting is None else self.setting

    @property
    def opposite(self) -> str | None:
        """The key that turns a switch off."""
        return f"no-{self.name}" if self.parse is None else None

    @property
    def auto_flag(self) -> str | None:
        """The flag that leaves a switch to the program, if it has one."""
        flag = f"--{self.name}-{_AUTO}"
        return flag if flag in self.flags else None

    @property
    def default_value(self) -> object:
        """The value when nobody sets the option; None if it has to be worked out."""
        if self.parse is None:
            return None if self.default == _AUTO else self.default == "on"
        return None if self.default.startswith("(") else self.parse(self.default)

    @property
    def example(self) -> str:
        """What can be written after its key in the configuration file."""
        if self.parse is None:
            return "yes, no or auto" if self.auto_flag else "yes or no"
        if isinstance(self.parse, OneOf):
            *others, last = self.parse.allowed
            return f"{', '.join(others)} or {last}"
        return (self.metavar or "VALUE") if self.default.startswith("(") else self.default

    def value(self, written: str | list[str]) -> object:
        """Return the value of a text or list of texts. Raises ConfigurationError."""
        if self.repeatable:
            return self._values(written)
        text = _text(written)
        if self.parse is not None:
            return self.parse(text)
        if not self.auto_flag:
            return parse_boolean(text)
        return None if text.lower() == _AUTO else parse_boolean(text, _AUTO)

    def opposite_value(self, written: str | list[str]) -> bool:
        """Return the value of a switch by what its opposite is set to."""
        return not parse_boolean(_text(written))

    def _values(self, written: str | list[str]) -> list[object]:
        assert self.parse is not None, "a switch is not repeatable"
        if isinstance(written, list):
            if not written:
                nothing = NO_GROUP if isinstance(self.parse, OneOf) else "/dev/null for no file"
                raise ConfigurationError(f"the list is empty; write {nothing}")
            return [self.parse(text) for text in written]
        if written.startswith("["):
            raise ConfigurationError("the list does not end on its line with ]")
        try:
            return [self.parse(written)]
        except ConfigurationError as error:
            if "," not in written:
                raise
            words = ", ".join(word.strip() for word in written.split(","))
            raise ConfigurationError(f"{error}; several are written [{words}]") from error


def _text(written: str | list[str]) -> str:
    """Put a list back together: an address like [::1] looks like one."""
    return written if isinstance(written, str) else f"[{', '.join(written)}]"


GROUPS: dict[str, tuple[Option, ...]] = {
    "Metrics": (
        Option(
            ("-f", "--collectors"),
            "the user's counters, added to the default ones; may be given several times",
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
            f"ready-made counters, added to all others: {', '.join(GROUP_NAMES)}; may be given"
            " several times",
            f"({NO_GROUP})",
            OneOf(NO_GROUP, *GROUP_NAMES),
            "GROUP",
            repeatable=True,
            setting="",
        ),
        Option(
            ("-c", "--collect-interval"),
            "time between two readings",
            "20000",
            milliseconds(100, 3_600_000),
            "MS",
        ),
        Option(
            ("--stale-after",),
            "a value older than this is not shown",
            "(3 times the collect interval)",
            milliseconds(100, 86_400_000),
            "MS",
        ),
        Option(
            ("-x", "--xid-count-window-size"),
            "time over which DCGM_EXP_XID_ERRORS_COUNT counts",
            "20000",
            milliseconds(1000, 600_000),
            "MS",
            setting="xid_window",
        ),
        Option(
            ("--clock-events-count-window-size",),
            "time over which DCGM_EXP_CLOCK_EVENTS_COUNT counts",
            "20000",
            milliseconds(1000, 600_000),
            "MS",
            setting="clock_events_window",
        ),
        Option(
            ("--xid-zero-fill", "--no-xid-zero-fill"),
            "show XID 0 for a device that never had one, so that the series exists",
            "on",
        ),
        Option(
            ("--hpc-job-mapping-dir",),
            "directory with a file of job ids per GPU, for the label hpc_job",
            "(none)",
            parse_directory,
            "DIR",
        ),
    ),
    "Devices": (
        Option(
            ("-d", "--devices"),
            "GPUs to read",
            "f",
            parse_device_selection,
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
            "label every series with the host",
            "on",
            setting="show_hostname",
        ),
        Option(
            ("--hostname-label",), "the name of that label", "Hostname", parse_label_name, "NAME"
        ),
        Option(
            ("--replace-blanks-in-model-name", "--no-replace-blanks-in-model-name"),
            "write the model name with dashes instead of blanks",
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
            "show the GPUs at /, instead of links alone",
            "on",
        ),
        Option(
            ("--web-config-file",),
            "TLS and passwords, in the format of Prometheus' exporter-toolkit",
            "(none: everybody who can connect is answered, in the clear)",
            parse_path,
            "FILE",
        ),
    ),
    "Forwarding": (
        Option(
            ("--forward", "--no-forward", "--forward-auto"),
            "post the DCGM metrics to DigitalOcean; auto does so on a droplet, and to"
            " a forward-url other than the default",
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
            "time between two posts",
            "20000",
            milliseconds(100, 3_600_000),
            "MS",
        ),
        Option(
            ("--forward-timeout",),
            "time that one post may take",
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
            "what the package does with an NVIDIA exporter that has an engine of its own:"
            " rewrite, stop or leave it",
            "rewrite",
            OneOf("rewrite", "stop", "leave"),
            "WHAT",
            setting="",
        ),
    ),
}

OPTIONS = tuple(option for options in GROUPS.values() for option in options)
