"""The module NVIDIA's programs import first.

The classes around the flat modules (DcgmHandle, DcgmGroup, ...) are not simulated;
importing this only makes sure that the flat modules can be imported.
"""

from __future__ import annotations

import dcgm_agent  # noqa: F401
import dcgm_fields  # noqa: F401
import dcgm_structs  # noqa: F401
import dcgmvalue  # noqa: F401


class DcgmException(Exception):
    """Raised by the wrapper classes, which are not simulated; here only to be caught."""
