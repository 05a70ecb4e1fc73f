"""The module NVIDIA's programs import first: all classes around dcgm_agent."""

from __future__ import annotations

import dcgm_agent
import dcgm_field_helpers
import dcgm_fields
import dcgm_structs
import dcgmvalue
from DcgmFieldGroup import DcgmFieldGroup
from DcgmGroup import (
    DcgmGroup,
    DcgmGroupHealth,
    DcgmGroupProfiling,
    DcgmGroupSamples,
)
from DcgmHandle import DcgmHandle
from DcgmStatus import DcgmStatus
from DcgmSystem import (
    DcgmSystem,
    DcgmSystemDiscovery,
    DcgmSystemFields,
    DcgmSystemModules,
)
from simulated_exceptions import DcgmException

__all__ = [
    "DcgmException",
    "DcgmFieldGroup",
    "DcgmGroup",
    "DcgmGroupHealth",
    "DcgmGroupProfiling",
    "DcgmGroupSamples",
    "DcgmHandle",
    "DcgmStatus",
    "DcgmSystem",
    "DcgmSystemDiscovery",
    "DcgmSystemFields",
    "DcgmSystemModules",
    "dcgm_agent",
    "dcgm_field_helpers",
    "dcgm_fields",
    "dcgm_structs",
    "dcgmvalue",
]
