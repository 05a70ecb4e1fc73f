"""Say where an engine is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where the engine is: a TCP host and port, or the path of a unix socket.

    With ``is_vsock``, ``host`` is the context id of a virtual machine's socket.
    """

    host: str = "localhost"
    port: int = 5555
    socket_path: str = ""
    is_vsock: bool = False

    @property
    def is_local(self) -> bool:
        """Whether the engine is one of this machine."""
        is_loopback = self.host in ("localhost", "::1") or self.host.startswith("127.")
        return bool(self.socket_path) or is_loopback

    def __str__(self) -> str:
        if self.socket_path:
            return f"unix://{self.socket_path}"
        if self.is_vsock:
            return f"vsock://{self.host}:{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"
