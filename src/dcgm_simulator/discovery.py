"""What an engine says about its machine: which entities there are, and how they are connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dcgm_simulator import topology
from dcgm_simulator.codes import EntityGroup, Status, StatusError, sentinel
from dcgm_simulator.engine_log import EngineLog
from dcgm_simulator.faults import Faults
from dcgm_simulator.machine import Entity, Machine

MAX_DEVICES = 32
ONLY_SUPPORTED = 1
"""DCGM_GEGE_FLAG_ONLY_SUPPORTED."""
STATUS_UNKNOWN, STATUS_OK, STATUS_UNSUPPORTED, STATUS_LOST = 0, 1, 2, 4
"""DcgmEntityStatus_t."""


class EngineDies(Exception):
    """Raised where a call brings the engine down.

    Asked for CPUs, 3.3.9 does not check that there is a /sys/class/hwmon (observed).
    """


class Discovery:
    """Answers questions about a machine, lost GPUs included."""

    def __init__(
        self, machine: Machine, faults: Faults, log: EngineLog, clock: Callable[[], int]
    ) -> None:
        self._machine = machine
        self._faults = faults
        self._log = log
        self._clock = clock

    # --- entities ------------------------------------------------------------------------

    def entities(self, kind: int, flags: int = 0) -> list[int]:
        """Return the ids of all entities of a kind; flag 1 leaves out unsupported ones."""
        found = self._entities_of_kind(kind)
        if flags & ONLY_SUPPORTED:
            found = [number for number in found if not self._is_noticed_lost(Entity(kind, number))]
        if flags & ONLY_SUPPORTED and kind == EntityGroup.GPU:
            found = [number for number in found if number not in self._machine.unsupported]
        return found

    def _entities_of_kind(self, kind: int) -> list[int]:
        by_module = kind in (EntityGroup.CPU, EntityGroup.CPU_CORE)
        if by_module and self._faults.lacks_hwmon and self._machine.behaviour.major < 4:
            raise EngineDies
        try:
            return self._machine.entities(kind)
        except StatusError:
            self._log.entities_refused(by_module)
            raise

    def devices(self) -> list[int]:
        """Return the ids of all GPUs; an engine reports no more than 32."""
        return self._machine.entities(EntityGroup.GPU)[:MAX_DEVICES]

    def supported_devices(self) -> list[int]:
        """Return the ids of the supported GPUs that the engine has not noticed to be lost."""
        return self.entities(EntityGroup.GPU, ONLY_SUPPORTED)[:MAX_DEVICES]

    def module_statuses(self) -> list[list[int]]:
        """Return id and status of each module."""
        return topology.module_statuses(self._machine)

    # --- one GPU -------------------------------------------------------------------------

    def gpu_status(self, gpu: int) -> int:
        """Return the DcgmEntityStatus_t of a GPU; 4.2.3 calls a lost one OK (recorded)."""
        if gpu not in self._machine.gpus():
            return STATUS_UNKNOWN
        if gpu in self._machine.unsupported:
            return STATUS_UNSUPPORTED
        return STATUS_LOST if self._is_noticed_lost(Entity(EntityGroup.GPU, gpu)) else STATUS_OK

    def attributes(self, gpu: int) -> dict[str, Any]:
        """Return what dcgmGetDeviceAttributes says; nothing about a lost GPU (recorded)."""
        attributes = self._machine.attributes(gpu)
        if not self._is_lost(gpu):
            return attributes
        self._log.identity_unknown()
        unknown = dict.fromkeys(("uuid", "pciBusId", "deviceName"), sentinel("s"))
        return attributes | {"identifiers": attributes["identifiers"] | unknown}

    def profiling_groups(self, gpu: int) -> list[dict[str, Any]]:
        """Return the profiling metric groups of a GPU.

        Raises StatusError -33 without the profiling module, and for a lost GPU on releases
        that ask the driver each time whether it has GPM (tried on 4.2.3).
        """
        if self._is_lost(gpu) and self._machine.behaviour.freezes_profiling_of_lost_gpu:
            raise StatusError(Status.MODULE_NOT_LOADED)
        return topology.profiling_groups(self._machine, gpu)

    # --- connections between them --------------------------------------------------------

    def nvlink_status(self) -> dict[str, Any]:
        """Return the state of every link; those of a lost GPU are not supported (recorded)."""
        states = topology.nvlink_status(self._machine)
        for row in states["gpus"]:
            if self._is_lost(row[0]):
                row[1] = [0] * len(row[1])
        return states

    def p2p_status(self) -> list[list[Any]]:
        """Return per GPU its id and the NvLink peer status to every other one."""
        return topology.p2p_status(self._machine)

    def hierarchy(self) -> list[list[Any]]:
        """Return a row per GPU instance and compute instance: entity, parent, info."""
        return topology.hierarchy(self._machine)

    def cpu_hierarchy(self) -> list[list[Any]]:
        """Return per CPU its id, the numbers of its first and last core, and its serial."""
        return topology.cpu_hierarchy(self._machine)

    def _is_lost(self, gpu: int) -> bool:
        return self._faults.lost_since(gpu, self._clock()) is not None

    def _is_noticed_lost(self, entity: Entity) -> bool:
        gpu = self._machine.gpu_of(entity)
        noticed = self._faults.noticed_lost_since(gpu, self._clock()) is not None
        return noticed and self._machine.behaviour.notices_lost_gpus
