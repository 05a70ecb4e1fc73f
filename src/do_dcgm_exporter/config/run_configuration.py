"""What one run is configured to do: the settings and the counters they name."""

from __future__ import annotations

from typing import NamedTuple

from do_dcgm_exporter.config.counters import CounterSet, CounterType
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.errors import ConfigurationError


class Configuration(NamedTuple):
    """One consistent reading of all configuration; a reload makes a new one."""

    settings: Settings
    counters: CounterSet


def refuse_label_twice(settings: Settings, counters: CounterSet) -> None:
    """Raise ConfigurationError if the host's label is also that of a counter."""
    labels = {counter.name for counter in counters.counters if counter.type is CounterType.LABEL}
    if settings.show_hostname and settings.hostname_label in labels:
        raise ConfigurationError(
            f"hostname-label: {settings.hostname_label!r} is the name of a label counter;"
            " write for example Hostname"
        )
