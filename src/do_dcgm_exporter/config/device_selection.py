"""Parse device selections, ``-d``, ``-s`` and ``-p``, in the grammar of NVIDIA's exporter.

``f`` (flexible), ``g`` (whole devices), ``i`` (their parts) or ``g+i`` (both), and
after ``g:`` or ``i:`` which ones: ``g:0,1``, ``g:0-3``, ``i:0,2-4``.
"""

from __future__ import annotations

import re

from do_dcgm_exporter.config.settings import DeviceSelection, SelectionMode
from do_dcgm_exporter.errors import ConfigurationError

# More than any machine has; without a bound, "0-99999999999" would fill the memory.
_HIGHEST_INDEX = 4095

_ALLOWED = "write f, g, i or g+i, or g: or i: with indexes such as g:0,2-4"
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def parse_device_selection(text: str) -> DeviceSelection:
    """Parse a device selection; raises ConfigurationError."""
    letters, colon, ranges = text.partition(":")
    try:
        mode = SelectionMode(letters.strip())
    except ValueError as error:
        raise ConfigurationError(f"{text!r} does not select devices; {_ALLOWED}") from error
    if not colon:
        return DeviceSelection(mode)
    if mode in (SelectionMode.FLEX, SelectionMode.BOTH):
        raise ConfigurationError(f"{mode.value} takes no indexes; only g and i do, as in g:0,2-4")
    if not ranges.strip():
        raise ConfigurationError(f"indexes are missing after {text!r}; {_ALLOWED}")
    indexes = frozenset(index for part in ranges.split(",") for index in _range(part.strip()))
    return DeviceSelection(mode, indexes)


def _range(text: str) -> range:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{text!r} is neither an index nor a range such as 0-3")
    first = int(match[1])
    last = first if match[2] is None else int(match[2])
    if last < first:
        raise ConfigurationError(f"the range {text} runs backwards; write {last}-{first}")
    if last > _HIGHEST_INDEX:
        raise ConfigurationError(f"index {last} is too high; indexes go up to {_HIGHEST_INDEX}")
    return range(first, last + 1)
