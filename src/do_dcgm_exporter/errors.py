"""The errors this program raises on purpose; everything else is a bug."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class ExporterError(Exception):
    """An error that one sentence explains to a person.

    ``exit_status`` is that of a process that cannot continue.
    """

    exit_status = 1


class ConfigurationError(ExporterError):
    """Raised when an option, the configuration file or a file they name is wrong."""

    exit_status = 2


@contextmanager
def located(place: str) -> Iterator[None]:
    """Prefix a ConfigurationError with the place of the wrong setting."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from error


def hint(name: str, known: Iterable[str], cutoff: float = 0.75) -> str:
    """Return the end of a sentence that suggests the known name closest to ``name``, if any.

    ``cutoff`` is how alike the two must be, from 0 to 1.
    """
    # The cost of a comparison grows with the length.
    closest = get_close_matches(name[:100], known, n=1, cutoff=cutoff)
    return f"; did you mean {closest[0]}?" if closest else ""
