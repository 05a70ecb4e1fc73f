"""What the exporter's configuration says of other exporters, and of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from do_dcgm_exporter.config.load import load_settings, option_values
from do_dcgm_exporter.config.options import ETC
from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.integration.host import Host

_LOCAL = ("localhost", "::1")


class Choice(Enum):
    """What is done with an exporter that has an engine of its own."""

    REWRITE = "rewrite"
    STOP = "stop"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class IntegrationSettings:
    """The part of the configuration that is looked at here.

    ``forward_url`` is empty when nothing is forwarded.
    """

    choice: Choice = Choice.REWRITE
    engine: EngineAddress = field(default_factory=EngineAddress)
    engine_unit: str = "nvidia"
    address: ListenAddress = field(default_factory=lambda: ListenAddress("", 9401))
    bindings: Path | None = None
    forward_url: str = ""

    @property
    def engine_is_local(self) -> bool:
        """Whether the engine is one of this machine."""
        host = self.engine.host
        return bool(self.engine.socket_path) or host in _LOCAL or host.startswith("127.")

    @property
    def local_engine(self) -> EngineAddress:
        """The engine of this machine that other exporters can use: over TCP, that is all they know.

        Ours may be on another machine, or behind a socket.
        """
        if self.engine_is_local and not self.engine.socket_path:
            return self.engine
        return EngineAddress()


def read(
    host: Host, environ: Mapping[str, str], options: Sequence[str] = ()
) -> IntegrationSettings:
    """Read the configuration as an exporter with these options does. Raises ConfigurationError."""
    etc = host.path(ETC)
    values = option_values(options, environ, etc)
    settings = load_settings(options, environ, etc, host.path("/sys/class/dmi/id"))
    return IntegrationSettings(
        choice=Choice(values["embedded-exporters"]),
        engine=settings.engine,
        engine_unit=values["engine"],
        address=settings.address,
        bindings=settings.dcgm_bindings,
        forward_url=settings.forward_url if settings.forward else "",
    )
