"""What one run is configured to do: the settings and the counters they name."""

from __future__ import annotations

from typing import NamedTuple

from do_dcgm_exporter.counters import CounterSet
from do_dcgm_exporter.settings import Settings


class Configuration(NamedTuple):
    """One consistent reading of all configuration; a reload makes a new one."""

    settings: Settings
    counters: CounterSet
