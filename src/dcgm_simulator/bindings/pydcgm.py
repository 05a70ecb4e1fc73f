"""The module NVIDIA's programs import first: all classes around dcgm_agent."""

from __future__ import annotations

import dcgm_agent  # noqa: F401
import dcgm_field_helpers  # noqa: F401
import dcgm_fields  # noqa: F401
import dcgm_structs  # noqa: F401
import dcgmvalue  # noqa: F401
from DcgmFieldGroup import DcgmFieldGroup  # noqa: F401
from DcgmGroup import (  # noqa: F401
    DcgmGroup,
    DcgmGroupHealth,
    DcgmGroupProfiling,
    DcgmGroupSamples,
)
from DcgmHandle import DcgmHandle  # noqa: F401
from DcgmStatus import DcgmStatus  # noqa: F401
from DcgmSystem import (  # noqa: F401
    DcgmSystem,
    DcgmSystemDiscovery,
    DcgmSystemFields,
    DcgmSystemModules,
)
from simulated_exceptions import DcgmException  # noqa: F401
