"""The configuration as other rooms see it: plain values that have been validated.

Durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from do_dcgm_exporter.config.counters import CounterSet
from do_dcgm_exporter.dcgm.engine_address import EngineAddress


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where the web server listens; an empty host means all addresses."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class SelectionMode(Enum):
    """Which entities a device selection means, by its letters; ``c`` is for GPUs only."""

    FLEX = "f"
    WHOLE = "g"
    PARTS = "i"
    BOTH = "g+i"
    COMPUTE = "c"
    PARTS_AND_COMPUTE = "i+c"
    ALL = "g+i+c"

    @property
    def takes_indexes(self) -> bool:
        """Whether the selection may be of some devices only."""
        return self in (SelectionMode.WHOLE, SelectionMode.PARTS, SelectionMode.COMPUTE)


@dataclass(frozen=True, slots=True)
class DeviceSelection:
    """A parsed ``-d``, ``-s`` or ``-p``.

    ``indexes`` of None means all. For GPUs the letters mean GPUs, MIG GPU instances and
    compute instances, for switches switches and their links, for CPUs CPUs and cores.
    """

    mode: SelectionMode = SelectionMode.FLEX
    indexes: frozenset[int] | None = None


class LogFormat(Enum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Settings:
    """Every option that the exporter obeys, validated."""

    default_counters: Path
    collectors: tuple[Path, ...]
    address: ListenAddress
    status_page: bool
    web_config_file: Path | None
    collect_interval: float
    sample_interval: float
    engine: EngineAddress
    gpus: DeviceSelection
    switches: DeviceSelection
    cpus: DeviceSelection
    show_hostname: bool
    hostname_label: str
    xid_window: float
    clock_events_window: float
    xid_zero_fill: bool
    replace_blanks_in_model_name: bool
    label_fields_as_info: bool
    hpc_job_mapping_dir: Path | None
    hpc_job_from_usage: bool
    forward: bool
    forward_url: str
    forward_interval: float
    forward_timeout: float
    stale_after: float
    dcgm_bindings: Path | None
    log_format: LogFormat
    log_level: str


class Configuration(NamedTuple):
    """One consistent reading of all configuration; a reload makes a new one."""

    settings: Settings
    counters: CounterSet
