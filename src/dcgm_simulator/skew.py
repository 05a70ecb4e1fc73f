"""What fails if bindings and engine have different DCGM versions.

Every message carries the version of its structure. An engine refuses unknown versions with
-12 and unknown sub-commands with -20 (DcgmModuleCore.cpp, observed between 3.3.9 and
4.2.3).
"""

from __future__ import annotations

from dcgm_simulator.codes import Status
from dcgm_simulator.versions import Behaviour
from dcgm_simulator.wire import Function

READS = frozenset({Function.LATEST_VALUES, Function.LATEST_VALUES_OF_ENTITY})
RESIZED_IN_4 = frozenset(
    {
        Function.GROUP_GET_INFO,
        Function.GET_ENTITY_GROUP_ENTITIES,
        Function.VALUES_SINCE,
        Function.GET_NVLINK_LINK_STATUS,
        Function.HEALTH_CHECK,
    }
)
NEW_IN_4 = frozenset({Function.GET_CPU_HIERARCHY_V2, Function.GET_GPU_STATUS})
NEW_IN_45 = frozenset({Function.GET_NVLINK_P2P_STATUS})


def refusal(function: Function, client: Behaviour, engine: Behaviour) -> Status | None:
    """Return the status with which an engine refuses a client's call, or None."""
    if client.version == engine.version:
        return None
    if function in READS and _reads_newer(client, engine):
        return Status.FUNCTION_NOT_FOUND
    if client.major != engine.major and function in RESIZED_IN_4:
        return Status.VER_MISMATCH
    newer_links = client.nvlinks_per_gpu > engine.nvlinks_per_gpu
    if function is Function.GET_NVLINK_LINK_STATUS and newer_links:
        return Status.VER_MISMATCH
    if (function in NEW_IN_4 and engine.major < 4) or (function in NEW_IN_45 and engine.index < 2):
        return Status.FUNCTION_NOT_FOUND
    return None


def _reads_newer(client: Behaviour, engine: Behaviour) -> bool:
    """Return whether the client reads with a sub-command that the engine lacks.

    Versions 2, 3 and 4 of latest values came with 3.x, 4.0 and 4.6; there is no fallback.
    """
    if client.is_46:
        return not engine.is_46
    return client.major > engine.major
