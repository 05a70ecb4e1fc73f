"""Looks names up within a time: the system's resolver cannot be told to give up.

It is asked in a thread of its own. While it does not answer there is one such thread, and
whoever asks again waits for the same answer.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

Addresses = Sequence[tuple[socket.AddressFamily, Any]]
"""What to connect to: the family and the address of each."""


@dataclass
class Lookup:
    """One question to the resolver; ``event`` is set once it is answered or given up."""

    event: threading.Event
    is_answered: bool = False
    _addresses: Addresses = ()
    _failure: OSError | None = None

    def ask(self, host: str, port: int) -> None:
        """Wait for the resolver."""
        try:
            answer = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._addresses = [(family, address) for family, _, _, _, address in answer]
        except OSError as error:
            self._failure = error
        self.is_answered = True
        self.event.set()

    def addresses(self) -> Addresses:
        """What the resolver found; raises OSError as it did, TimeoutError before it has."""
        if self._failure is not None:
            raise self._failure
        if not self.is_answered:
            raise TimeoutError("the name is not resolved in time")
        return self._addresses


class Resolver:
    """Asks one question at a time."""

    def __init__(self) -> None:
        self._current: Lookup | None = None

    def begin(self, host: str, port: int) -> Lookup:
        """Ask for ``host``, or join the question that the resolver has not answered yet."""
        lookup = self._current
        if lookup is None or lookup.is_answered:
            lookup = self._current = Lookup(threading.Event())
            ask = partial(lookup.ask, host, port)
            threading.Thread(target=ask, name="name lookup", daemon=True).start()
        else:
            lookup.event.clear()
        return lookup
