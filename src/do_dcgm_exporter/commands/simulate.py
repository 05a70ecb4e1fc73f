"""``--simulate``: run against a simulated engine instead of a real one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from do_dcgm_exporter.config.addresses import is_loopback_url, parse_engine_address
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.errors import ConfigurationError, ExporterError

DEFAULT_SCENARIO = "h100x8"
_VERSION = "DCGM_SIMULATOR_VERSION"


@contextmanager
def simulated_engine(scenario: str) -> Iterator[Callable[[Settings], Settings]]:
    """Run a simulated engine; yield the function that points settings at it.

    An empty scenario is the default one. Raises ConfigurationError if there is no such
    scenario or release, or no simulator, ExporterError if it does not start.
    """
    try:
        # A separate package, which production machines lack.
        from dcgm_simulator import ALL_VERSIONS, SCENARIOS, VERSIONS, bindings_directory
        from dcgm_simulator.process import EngineFailed, SimulatedEngine
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "--simulate needs the simulator: install the package dcgm-simulator"
        ) from error
    scenario = scenario or DEFAULT_SCENARIO
    if scenario not in SCENARIOS:
        raise ConfigurationError(
            f"--simulate: there is no scenario {scenario!r}; there are {', '.join(SCENARIOS)}"
        )
    # What the bindings imitate as well.
    version = os.environ.get(_VERSION, VERSIONS[-1])
    if version not in ALL_VERSIONS:
        raise ConfigurationError(
            f"{_VERSION}: DCGM {version!r} cannot be simulated; only {', '.join(ALL_VERSIONS)} can"
        )
    try:
        started = SimulatedEngine.start(scenario=scenario, dcgm_version=version)
    except EngineFailed as error:
        raise ExporterError(f"the simulated engine does not start: {error}") from error
    with started as engine:
        address = parse_engine_address(engine.address)

        def point_at_it(settings: Settings) -> Settings:
            return replace(
                settings,
                engine=address,
                dcgm_bindings=bindings_directory(),
                # Invented numbers must not pass for real ones.
                forward=settings.forward and is_loopback_url(settings.forward_url),
            )

        yield point_at_it
