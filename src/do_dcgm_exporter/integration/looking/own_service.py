"""What our own service runs with: the configuration file, and what the admin's drop-ins add."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.integration.host import OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking import configuration
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.quoting import expanded
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView
from do_dcgm_exporter.integration.looking.units import environment_of

_PROGRAM = "do-dcgm-exporter"


def settings_of_service(
    host: Host, systemd: Systemd, environ: Mapping[str, str]
) -> IntegrationSettings:
    """Read the configuration as our service does. Raises ConfigurationError."""
    try:
        view = systemd.view(OWN_SERVICE) if host.runs_systemd else None
    except CommandFailed:
        view = None
    return read_as_service(host, view, environ)


def read_as_service(
    host: Host, view: UnitView | None, environ: Mapping[str, str]
) -> IntegrationSettings:
    """Read the configuration with the options and variables of our unit.

    Without a unit that runs our program (from a clone, in a chroot), ``environ`` counts.
    Raises ConfigurationError.
    """
    variables = environment_of(host, view) if view else {}
    options = _options(view, variables) if view else None
    if options is None:
        return configuration.read(host, environ)
    try:
        return configuration.read(host, variables, options)
    except ConfigurationError as error:
        # The file is named in its own complaints; these are about the unit then.
        configuration.read(host, {})
        raise ConfigurationError(f"{OWN_SERVICE}: {error}") from error


def _options(view: UnitView, variables: Mapping[str, str]) -> Sequence[str] | None:
    """Return what follows our program's name in the unit's command, None if it is not there."""
    for command in view.commands:
        literal = "no-env-expand" in command.flags
        words = [command.path, *command.argv[1:]]
        words = words if literal else expanded(words, variables)
        names = [os.path.basename(word) for word in words]
        if _PROGRAM in names:
            return words[names.index(_PROGRAM) + 1 :]
    return None
