"""``--simulate``: run against a simulated engine instead of a real one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from do_dcgm_exporter.config.addresses import is_loopback_url, parse_engine_address
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.errors import ConfigurationError, ExporterError

DEFAULT_SCENARIO = "h100x8"


@contextmanager
def simulated_engine(scenario: str) -> Iterator[Callable[[Settings], Settings]]:
    """Run a simulated engine; yield the function that points settings at it.

    An empty scenario is the default one; one that is no name is a file with a recording. Raises
    ConfigurationError if there is neither, no such release or no simulator, ExporterError if it
    does not start.
    """
    try:
        # A separate package, which production machines lack.
        from dcgm_simulator import SCENARIOS, bindings_directory
        from dcgm_simulator.process import EngineFailed, SimulatedEngine
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "--simulate needs the simulator: install the package dcgm-simulator"
        ) from error
    scenario = scenario or DEFAULT_SCENARIO
    try:
        if scenario in SCENARIOS:
            started = SimulatedEngine.start(scenario=scenario, dcgm_version=_chosen_version())
        else:
            started = SimulatedEngine.start(recording=_recording(scenario, SCENARIOS))
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


def _chosen_version() -> str:
    """Return the release that the bindings imitate."""
    from dcgm_simulator.versions import ALL_VERSIONS, VERSION_VARIABLE, VERSIONS

    version = os.environ.get(VERSION_VARIABLE, VERSIONS[-1])
    if version not in ALL_VERSIONS:
        raise ConfigurationError(
            f"{VERSION_VARIABLE}: DCGM {version!r} cannot be simulated;"
            f" only {', '.join(ALL_VERSIONS)} can"
        )
    return version


def _recording(name: str, scenarios: Iterable[str]) -> Path:
    """Return the file ``name``, having made the bindings those of the release it is of."""
    path = Path(name)
    if not path.exists():
        raise ConfigurationError(
            f"--simulate: there is no scenario {name!r}; there are {', '.join(scenarios)},"
            " or give a file made with --record"
        )
    from dcgm_simulator.recording import BadRecording, read_recording
    from dcgm_simulator.versions import VERSION_VARIABLE

    try:
        os.environ[VERSION_VARIABLE] = read_recording(path).version
    except BadRecording as error:
        raise ConfigurationError(f"--simulate: {error}") from error
    return path
