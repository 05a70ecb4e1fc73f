"""What the exporter's configuration says about other exporters and the engine.

The configuration file is not all of it: an admin's drop-ins may add options and variables to
the unit of our service.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from do_dcgm_exporter.config.load import load_settings, option_values
from do_dcgm_exporter.config.options import ETC
from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.integration.host import OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import ANSWER_SECONDS, CommandFailed
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.looking.units import environment_of

_PROGRAM = "do-dcgm-exporter"


class Choice(Enum):
    """What to do with an exporter that embeds DCGM."""

    REWRITE = "rewrite"
    STOP = "stop"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class IntegrationSettings:
    """The part of the configuration that matters here."""

    choice: Choice = Choice.REWRITE
    engine: EngineAddress = field(default_factory=EngineAddress)
    engine_unit: str = "nvidia"
    address: ListenAddress = field(default_factory=lambda: ListenAddress("", 9401))
    bindings: Path | None = None

    @property
    def local_engine(self) -> EngineAddress:
        """The engine on this machine that other exporters can use; they only know TCP.

        Our own may be on another machine, or at a Unix socket.
        """
        is_usable = self.engine.is_local and not self.engine.socket_path
        return self.engine if is_usable else EngineAddress()


def own_service(host: Host, seconds: float = ANSWER_SECONDS) -> tuple[UnitView | None, str]:
    """Return our own unit, or why it could not be looked at."""
    try:
        return systemd.view(OWN_SERVICE, seconds) if host.runs_systemd else None, ""
    except CommandFailed as error:
        return None, f"own service, so its drop-ins are not known: {error}"


def read_as_service(
    host: Host, view: UnitView | None, environ: Mapping[str, str]
) -> IntegrationSettings:
    """Read the configuration with the options and variables of our unit.

    If no unit runs our program, as in a clone or a chroot, ``environ`` is used instead.
    Raises ConfigurationError.
    """
    variables = environment_of(host, view) if view else {}
    options = _options(view, variables) if view else None
    if options is None:
        return _read(host, environ)
    try:
        return _read(host, variables, options)
    except ConfigurationError as error:
        # Messages about the file already name it; the others are about the unit.
        _read(host, {})
        raise ConfigurationError(f"{OWN_SERVICE}: {error}") from error


def _options(view: UnitView, variables: Mapping[str, str]) -> Sequence[str] | None:
    """Return the arguments of our program in the unit's command, None if it runs another one."""
    for command in view.commands:
        words = command.words(variables)
        names = [os.path.basename(word) for word in words]
        if _PROGRAM in names:
            return words[names.index(_PROGRAM) + 1 :]
    return None


def _read(
    host: Host, environ: Mapping[str, str], options: Sequence[str] = ()
) -> IntegrationSettings:
    etc = host.path(ETC)
    values = option_values(options, environ, etc)
    settings = load_settings(options, environ, etc, host.path("/sys/class/dmi/id"))
    return IntegrationSettings(
        choice=Choice(values["embedded-exporters"]),
        engine=settings.engine,
        engine_unit=values["engine"],
        address=settings.address,
        bindings=settings.dcgm_bindings,
    )
