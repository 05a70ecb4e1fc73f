"""DCGM releases: which one each side of a connection is."""

from __future__ import annotations

import re
from dataclasses import dataclass

Release = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Versions:
    """Releases on both sides of a connection; empty where they are not told."""

    client: str = ""
    engine: str = ""

    @property
    def client_major(self) -> int:
        """The client library's major release, 0 when it is not known."""
        return release(self.client)[0]

    @property
    def engine_release(self) -> Release:
        """The engine's release; the client's where the engine does not tell its own."""
        return release(self.engine or self.client)

    def remedy(self) -> str:
        """Say what to restart when the two do not fit together.

        Packages restart neither side: whichever still runs the older release is the one.
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
    """``4.5.3`` as numbers that compare; (0,) for an unknown one."""
    return tuple(int(part) for part in version.split(".") if part) or (0,)


def version_in(build_information: str) -> str:
    """Return the release in DCGM's ``version:4.5.3;arch:x86_64;…``, empty if there is none."""
    match = re.search(r"version:([0-9.]+)", build_information)
    return match.group(1) if match else ""


def architecture_in(build_information: str) -> str:
    """Return the architecture in the same text, such as ``x86_64`` or ``aarch64``, or nothing."""
    match = re.search(r"arch:([A-Za-z0-9_]+)", build_information)
    return match.group(1) if match else ""
