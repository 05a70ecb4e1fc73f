"""DCGM releases, and how to tell them from build information."""

from __future__ import annotations

import re
from dataclasses import dataclass

Release = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Versions:
    """The releases on both sides of a connection; empty if unknown."""

    client: str = ""
    engine: str = ""

    @property
    def client_major(self) -> int:
        """The client library's major release, or 0 if unknown."""
        return release(self.client)[0]

    @property
    def engine_release(self) -> Release:
        """The engine's release, or the client's if the engine does not report its own."""
        return release(self.engine or self.client)

    def remedy(self) -> str:
        """Say what to restart if the two do not work together.

        Packages restart neither side, so it is whichever still runs the older release.
        """
        if self.client == self.engine != "":
            return (
                f"the DCGM client library and the engine are both {self.client} and do not"
                " understand each other: restart nvidia-dcgm, then do-dcgm-exporter"
            )
        newer_client = release(self.client) >= release(self.engine)
        return (
            f"the DCGM client library is {self.client or 'of an unknown release'} but the"
            f" running engine is {self.engine or 'of another one'}:"
            f" restart {'nvidia-dcgm' if newer_client else 'do-dcgm-exporter'}"
        )


def release(version: str) -> Release:
    """Return ``4.5.3`` as numbers that compare; (0,) if it is unknown."""
    return tuple(int(part) for part in version.split(".") if part) or (0,)


def version_in(build_information: str) -> str:
    """Return the release in DCGM's ``version:4.5.3;arch:x86_64;…``, empty if there is none."""
    match = re.search(r"version:([0-9.]+)", build_information)
    return match.group(1) if match else ""


def architecture_in(build_information: str) -> str:
    """Return the architecture in the same text, such as ``x86_64``, empty if there is none."""
    match = re.search(r"arch:([A-Za-z0-9_]+)", build_information)
    return match.group(1) if match else ""
