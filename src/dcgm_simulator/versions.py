"""What differs between the DCGM versions that can be imitated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

VERSION_VARIABLE = "DCGM_SIMULATOR_VERSION"
"""Says in the environment which version the bindings imitate."""

VERSIONS = ("3.3.9", "4.2.3", "4.5.3", "4.6.0")
"""Versions of which there are recordings, oldest first."""
ALL_VERSIONS = (*VERSIONS, "4.7.0")
"""Versions that can be imitated; data files count in this order.

Of 4.7.0, only names, ids, types and units of fields are known (NVIDIA's go-dcgm for 4.7);
everything else is as in 4.6.0."""


class GpmRetention(Enum):
    """How long an engine keeps samples of profiling counters (DcgmGpmManager.cpp)."""

    WATCHES = auto()
    """As long as any watch asks for."""
    WATCHES_OR_TWO_INTERVALS = auto()
    """At least twice the longest interval."""
    TWO_INTERVALS = auto()
    """Twice the longest interval and a second, whatever watches ask for."""


@dataclass(frozen=True)
class Behaviour:
    """How one version behaves, as observed on real engines or defined in their headers."""

    version: str
    entity_limit: int
    """Entities per group and per latest-values call (DCGM_GROUP_MAX_ENTITIES)."""
    unknown_field_fails_call: bool
    """Whether one unknown field id fails a whole latest-values call (observed on 4.5.3)."""
    blank_on_error: bool
    """Whether a value with a status other than 0 is blank, not 0 (observed on 4.5.3)."""
    empty_string_fails_call: bool
    """Whether an empty string in the cache makes the call fail with -3 (observed on 3.3.9)."""
    freezes_profiling_of_lost_gpu: bool
    """Whether fields 10xx of a lost GPU keep value and timestamp (recorded on 4.2.3)."""
    notices_lost_gpus: bool
    """Whether a lost GPU leaves the list of supported ones, may no longer be grouped, and has only
    blank fields (recorded on 4.5.3 and 4.6.0)."""
    gpm_retention: GpmRetention
    gpm_samples_before: int
    """The number of samples at least an interval older than the newest that a value needs."""
    complains_of_no_data: bool
    """Whether each latest value without data is a line in the log, as before 4.4
    (DcgmCacheManager::GetMultipleLatestSamples)."""
    accepts_ipv6: bool
    nvlinks_per_gpu: int
    """DCGM_NVLINK_MAX_LINKS_PER_GPU."""
    link_id_shift: int | None
    """By how many bits a link's entity id shifts the device id; None drops it (4.0.0–4.2.3)."""

    @property
    def index(self) -> int:
        """Return the position in ALL_VERSIONS."""
        return ALL_VERSIONS.index(self.version)

    @property
    def major(self) -> int:
        """Return 3 or 4."""
        return int(self.version.split(".")[0])

    @property
    def is_46(self) -> bool:
        """Return whether the protocol is that of 4.6, unknown to older engines."""
        return self.index >= ALL_VERSIONS.index("4.6.0")


_OLD, _NEWER, _NEWEST = GpmRetention
BEHAVIOURS = {
    behaviour.version: behaviour
    for behaviour in (
        Behaviour("3.3.9", 64, False, False, True, False, False, _OLD, 2, True, False, 18, 16),
        Behaviour("4.2.3", 1024, False, False, False, True, False, _OLD, 2, True, True, 18, None),
        Behaviour("4.5.3", 1024, True, True, False, False, True, _NEWER, 1, False, True, 18, 24),
        *(
            Behaviour(name, 1024, True, True, False, False, True, _NEWEST, 1, False, True, 36, 24)
            for name in ("4.6.0", "4.7.0")
        ),
    )
}

FIELDS_PER_CALL = 128
FIELDS_PER_GROUP = 127
"""The header says 128, but 128 is refused (observed on 3.3.9)."""
GROUPS_PER_ENGINE = 64
DEFAULT_GROUPS = 2


def behaviour(version: str) -> Behaviour:
    """Return the habits of a version.

    Raises ValueError for a version that cannot be imitated.
    """
    try:
        return BEHAVIOURS[version]
    except KeyError:
        known = ", ".join(ALL_VERSIONS)
        message = f"DCGM version {version!r} cannot be simulated, only {known}"
        raise ValueError(message) from None


def history_at(rows: list[list[object]], index: int) -> object | None:
    """Return the value at a version index in a history of a data file; None if it has none."""
    value: object | None = None
    for since, candidate in rows:
        if isinstance(since, int) and since <= index:
            value = candidate
    return value


def build_information(version: str, architecture: str = "x86_64") -> str:
    """Return what dcgmVersionInfo returns for a version (DcgmBuildInfo.cpp: key:value, ';')."""
    parts = {
        "version": version,
        "arch": architecture,
        "buildtype": "Release",
        "buildid": "0",
        "commit": "simulated",
        "branch": "simulated",
    }
    return ";".join(f"{name}:{value}" for name, value in parts.items())
