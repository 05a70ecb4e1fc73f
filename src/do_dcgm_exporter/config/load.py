"""Turn command line, environment and file into a Configuration, at start and at reload."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from do_dcgm_exporter.config.command_line import CommandLine, parse_command_line
from do_dcgm_exporter.config.config_file import config_file_values
from do_dcgm_exporter.config.counter_files import default_collectors, default_counters, group_files
from do_dcgm_exporter.config.counters import CounterSet, CounterType, read_counter_set
from do_dcgm_exporter.config.environment import CONFIG_FILE_VARIABLE, environment_values
from do_dcgm_exporter.config.options import CONFIG_FILE_NAME, DEFAULT_FORWARD_URL, ETC, OPTIONS
from do_dcgm_exporter.config.settings import Configuration, Settings
from do_dcgm_exporter.config.text_files import may_be_there
from do_dcgm_exporter.errors import ConfigurationError

_DMI = Path("/sys/class/dmi/id")
_SAMPLE_INTERVAL = 1.0
_DROPLET_VENDOR = "DigitalOcean"


def load_configuration(argv: Sequence[str], environ: Mapping[str, str]) -> Configuration:
    """Read settings and counters. Raises ConfigurationError."""
    settings = load_settings(argv, environ)
    counters = read_counter_set(settings.default_counters, settings.collectors)
    _refuse_label_twice(settings, counters)
    return Configuration(settings, counters)


def load_settings(
    argv: Sequence[str], environ: Mapping[str, str], etc: Path = ETC, dmi: Path = _DMI
) -> Settings:
    """Read the settings. Raises ConfigurationError."""
    values = option_values(argv, environ, etc)
    _work_out(values, etc, dmi)
    return Settings(**{option.field: values[option.name] for option in OPTIONS if option.field})


def option_values(
    argv: Sequence[str], environ: Mapping[str, str], etc: Path = ETC
) -> dict[str, Any]:
    """Return the value of every option by its name; None is yet to be worked out.

    Flags override the environment, which overrides the file, which overrides the defaults. Raises
    ConfigurationError.
    """
    command_line = parse_command_line(argv)
    places = (
        command_line.values,
        environment_values(environ),
        _file_values(command_line, environ, etc / CONFIG_FILE_NAME),
    )
    values = {option.name: option.default_value for option in OPTIONS}
    for place in reversed(places):
        values.update(place)
    # A log level overrides the debug of a lower place.
    decisive = next((place for place in places if {"debug", "log-level"} & place.keys()), {})
    if decisive.get("debug"):
        values["log-level"] = "debug"
    return values


def _file_values(
    command_line: CommandLine, environ: Mapping[str, str], usual: Path
) -> dict[str, Any]:
    """Read the file that flag or variable names, else the usual one if it exists."""
    named = command_line.config_file or environ.get(CONFIG_FILE_VARIABLE)
    if named or os.path.islink(usual) or may_be_there(usual):
        return config_file_values(Path(named or usual))
    return {}


def _work_out(values: dict[str, Any], etc: Path, dmi: Path) -> None:
    """Replace values that depend on others or on the machine."""
    values["default-counters"] = values["default-counters"] or default_counters(etc)
    # The user's counters first: of two lines for one field the first counts.
    values["collectors"] = (
        *(values["collectors"] or default_collectors(etc)),
        *group_files(values["counter-groups"] or ()),
    )
    interval = values["collect-interval"]
    values["sample-interval"] = _sample_interval(values["sample-interval"], interval)
    values["stale-after"] = _stale_after(values["stale-after"], interval)
    if values["forward"] is None:
        values["forward"] = _is_droplet(dmi) or values["forward-url"] != DEFAULT_FORWARD_URL


def _sample_interval(sample_interval: float | None, interval: float) -> float:
    sample_interval = sample_interval or min(_SAMPLE_INTERVAL, interval)
    if sample_interval > interval:
        raise ConfigurationError(
            "sample-interval is longer than collect-interval, so some pages would have no sample:"
            f" write at most {interval * 1000:.0f}"
        )
    return sample_interval


def _stale_after(stale_after: float | None, interval: float) -> float:
    stale_after = stale_after or 3 * interval
    if stale_after < interval:
        raise ConfigurationError(
            "stale-after is shorter than collect-interval, so every value would be stale:"
            f" write at least {interval * 1000:.0f}"
        )
    return stale_after


def _is_droplet(dmi: Path) -> bool:
    """Read the machine's vendor, which does not come with an image built elsewhere."""
    try:
        vendor = (dmi / "sys_vendor").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return vendor.strip() == _DROPLET_VENDOR


def _refuse_label_twice(settings: Settings, counters: CounterSet) -> None:
    """Raise ConfigurationError if the host's label is also that of a counter."""
    labels = {counter.name for counter in counters.counters if counter.type is CounterType.LABEL}
    if settings.show_hostname and settings.hostname_label in labels:
        raise ConfigurationError(
            f"hostname-label: {settings.hostname_label!r} is the name of a label counter;"
            " write for example Hostname"
        )
