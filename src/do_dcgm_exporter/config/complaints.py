"""What complaints about the configuration have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from do_dcgm_exporter.errors import ConfigurationError


@contextmanager
def located(place: str) -> Iterator[None]:
    """Say in a ConfigurationError where the wrong setting stands."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from error


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence that suggests the known name nearest to ``name``, if any."""
    # The time a comparison takes grows with the length.
    nearest = get_close_matches(name[:100], known, n=1, cutoff=0.75)
    return f"; did you mean {nearest[0]}?" if nearest else ""
