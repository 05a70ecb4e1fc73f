"""Remember up to which sample the peaks of each field have been on a page.

Times are the engine's own, so that two pages share no sample and miss none, however late a page
is and whatever the clocks of both machines say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.entities import Entity

Key = tuple[Entity, int]
Window = tuple[int, int]


@dataclass(slots=True)
class PeakLog:
    """The newest sample shown of each entity and field, in µs."""

    _until: dict[Key, int] = field(default_factory=dict)
    _lost: set[Key] = field(default_factory=set)

    def window(self, key: Key, newest: int, at_first: int, kept: int) -> Window | None:
        """Return the first and last time to summarise, None if there is no new sample.

        Without an earlier page, the window is of ``at_first`` µs, and after a loss of the
        ``newest`` sample alone. It is never of more than ``kept`` µs: if the last page is long
        ago, other clients may have had the engine keep samples from when these were on no page.
        """
        until = max(self._until.get(key, newest - at_first), newest - kept)
        if newest < until:
            self._until[key] = newest  # the engine's clock was set back
        if newest <= until:
            return None
        return (newest if key in self._lost else until + 1, newest)

    def advance(self, windows: Mapping[Key, Window]) -> None:
        """Note that ``windows`` have been shown. Late ones may be from before a loss."""
        new = {key: end for key, (_, end) in windows.items() if end > self._until.get(key, 0)}
        self._until.update(new)
        self._lost.difference_update(new)

    def note_loss(self, key: Key, newest: int) -> None:
        """Show no sample from before the loss of a GPU, of which this is the ``newest``."""
        self._until[key] = max(self._until.get(key, 0), newest)
        self._lost.add(key)
