"""The lines that clients cause in the engine's log, at its default level.

They are counted by kind, as worded in tests/data/recordings, with N for every number.
"""

from __future__ import annotations

from collections import Counter

from dcgm_simulator.codes import Status
from dcgm_simulator.versions import Behaviour

LATEST_FAILED = "GetLatestSample returned {} for entityId N groupId N fieldId N"
NO_SAMPLE_OF_COUNTERS = "Got unexpected return -N from m_gpmManager.GetLatestSample"
NO_FIELD_VALUE = "Unexpected NVML return N from nvmlDeviceGetFieldValues"
NO_ERROR_RATIO = "Got nvmlSt N, nvmlRet N from nvmlDeviceGetFieldValues for nvml fieldId N"
NO_COUNTERS = "Got nvml st N from nvmlGpmSampleGet()."
NO_IDENTITY = "Field Type N is unsupported for conversion from NVML errors"
NO_ENTITIES = "GetAllEntitiesOfEntityGroup(ao N, eg N) returned -N"
NO_MODULE = "Received This request is serviced by a module of DCGM that is not currently loaded"

WORDS = {
    Status.NO_DATA: "No data is available",
    Status.NOT_WATCHED: "Field is not being watched",
}


class EngineLog:
    """Counts lines; to see what a call costs, compare two counts."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.lines: Counter[str] = Counter()

    def latest_failed(self, status: int) -> None:
        """Count the line for a latest value with a status (GetMultipleLatestSamples)."""
        if status != Status.NO_DATA or self._behaviour.complains_of_no_data:
            self.lines[LATEST_FAILED.format(WORDS.get(Status(status), "an error"))] += 1

    def identity_unknown(self) -> None:
        """Count what the question for a lost GPU's attributes writes from 4.5 on (recorded)."""
        if self._behaviour.notices_lost_gpus:
            self.lines[NO_IDENTITY] += 1

    def entities_refused(self, by_module: bool) -> None:
        """Count the lines for asking about a kind of entities that this machine cannot have."""
        self.lines[NO_ENTITIES] += 1
        if by_module:
            self.lines[NO_MODULE] += 1
