"""Errors by GPU, as in NVIDIA's DcgmStatus, which only calls that are not simulated fill."""

from __future__ import annotations

from simulated_exceptions import NotSimulated


class DcgmStatus:
    """Not simulated: whoever creates one is told so."""

    def __init__(self) -> None:
        raise NotSimulated("DcgmStatus is not simulated, nor are the calls that fill it")
