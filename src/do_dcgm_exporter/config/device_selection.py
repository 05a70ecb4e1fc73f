"""Parse device selections, ``-d``, ``-s`` and ``-p``, in the grammar of NVIDIA's exporter.

``f`` (flexible), ``g`` (whole devices), ``i`` (their parts) or ``g+i`` (both), and
after ``g:`` or ``i:`` which ones: ``g:0,1``, ``g:0-3``, ``i:0,2-4``. Ours for GPUs is ``c``, MIG
compute instances, alone or at the end: ``c``, ``c:0``, ``i+c``, ``g+i+c``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from do_dcgm_exporter.config.settings import DeviceSelection, SelectionMode
from do_dcgm_exporter.errors import ConfigurationError

# More than any machine has; without a bound, "0-99999999999" would fill the memory.
_HIGHEST_INDEX = 4095

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")

_OF_ANY_DEVICES = tuple(mode for mode in SelectionMode if "c" not in mode.value)
_OF_GPUS = tuple(SelectionMode)


def parse_device_selection(text: str) -> DeviceSelection:
    """Parse a selection of NvSwitches or CPUs; raises ConfigurationError."""
    return _parse(text, _OF_ANY_DEVICES)


def parse_gpu_selection(text: str) -> DeviceSelection:
    """Parse a selection of GPUs; raises ConfigurationError."""
    return _parse(text, _OF_GPUS)


def _parse(text: str, modes: Sequence[SelectionMode]) -> DeviceSelection:
    letters, colon, ranges = text.partition(":")
    found = [mode for mode in modes if mode.value == letters.strip()]
    if not found:
        raise ConfigurationError(f"{text!r} does not select devices; {_allowed(modes)}")
    mode = found[0]
    if not colon:
        return DeviceSelection(mode)
    if not mode.takes_indexes:
        which = _joined([mode.value for mode in modes if mode.takes_indexes], "and")
        raise ConfigurationError(f"{mode.value} takes no indexes; only {which} do, as in g:0,2-4")
    if not ranges.strip():
        raise ConfigurationError(f"indexes are missing after {text!r}; {_allowed(modes)}")
    indexes = frozenset(index for part in ranges.split(",") for index in _range(part.strip()))
    return DeviceSelection(mode, indexes)


def _allowed(modes: Sequence[SelectionMode]) -> str:
    letters = _joined([mode.value for mode in modes], "or")
    indexed = _joined([f"{mode.value}:" for mode in modes if mode.takes_indexes], "or")
    return f"write {letters}, or {indexed} with indexes such as g:0,2-4"


def _joined(words: Sequence[str], conjunction: str) -> str:
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


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
