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

    def window(self, key: Key, newest: int, at_first: int, kept: int) -> Window | None:
        """Return the first and last time to summarise, None if there is no new sample.

        Without an earlier page, the window is of ``at_first`` µs. It is never of more than
        ``kept`` µs: if the last page is long ago, other clients may have had the engine keep
        samples from when these were on no page.
        """
        until = max(self._until.get(key, newest - at_first), newest - kept)
        if newest < until:
            self._until[key] = newest  # the engine's clock was set back
        return (until + 1, newest) if newest > until else None

    def advance(self, windows: Mapping[Key, Window]) -> None:
        """Note that ``windows`` have been shown."""
        self._until.update((key, end) for key, (_, end) in windows.items())

    def forget(self, entity: Entity) -> None:
        """Forget an entity, which begins anew if it comes back."""
        for key in [key for key in self._until if key[0] == entity]:
            del self._until[key]
