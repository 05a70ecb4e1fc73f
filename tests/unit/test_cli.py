"""The command: which mode runs, with what, and what is printed and returned."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from do_dcgm_exporter import __version__
from do_dcgm_exporter.cli import main
from do_dcgm_exporter.commands import check_config
from do_dcgm_exporter.commands.engine_check import EngineFindings
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.errors import ConfigurationError, ExporterError

Run = Callable[..., int]


class Modules:
    """Stands in for the modules that the command imports when it needs them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def provide(self, name: str, **attributes: object) -> None:
        module = ModuleType(name)
        vars(module).update(attributes)
        self._monkeypatch.setitem(sys.modules, name, module)

    def remove(self, name: str) -> None:
        # None in sys.modules makes the import fail: library/sys.html.
        self._monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Modules:
    return Modules(monkeypatch)


@pytest.fixture
def counters_file(tmp_path: Path) -> Path:
    path = tmp_path / "counters.csv"
    path.write_text("DCGM_FI_DEV_GPU_TEMP, gauge, x\n")
    return path


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "some.conf"
    path.touch()
    return path


@pytest.fixture
def run(counters_file: Path, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run the command apart from this machine's configuration."""
    for name in [name for name in os.environ if name.startswith("DO_DCGM_EXPORTER_")]:
        monkeypatch.delenv(name)
    files = ["--config-file", str(config_file), "--default-counters", str(counters_file)]
    return lambda *argv: main([*files, *argv])


@pytest.fixture
def served(modules: Modules) -> list[tuple[Any, ...]]:
    """What the service was run with."""
    calls: list[tuple[Any, ...]] = []

    def run_service(*arguments: object) -> int:
        calls.append(arguments)
        return 0

    modules.provide("do_dcgm_exporter.service.service", run=run_service)
    return calls


def engine_says(monkeypatch: pytest.MonkeyPatch, answer: Mapping[str, str] | None) -> None:
    def engine_findings(configuration: Configuration, tell: object) -> EngineFindings:
        if answer is None:
            raise ExporterError("no engine answers at localhost:5555")
        return EngineFindings(answer, {"DCGM_FI_DEV_GPU_TEMP": "it is computed"})

    monkeypatch.setattr(check_config, "engine_findings", engine_findings)


# Running the service.


def test_without_a_mode_the_service_runs(run: Run, served: list[tuple[Any, ...]]) -> None:
    assert run("-c", "5000") == 0
    settings, counter_set = served[0][0]
    assert settings.collect_interval == 5.0
    assert [counter.name for counter in counter_set.counters] == ["DCGM_FI_DEV_GPU_TEMP"]


def test_a_bad_line_does_not_keep_the_service_from_running(
    run: Run, served: list[tuple[Any, ...]], counters_file: Path
) -> None:
    counters_file.write_text("nonsense\nDCGM_FI_DEV_GPU_TEMP, gauge, x\n")
    assert run() == 0
    assert len(served[0][0].counters.counters) == 1


def test_the_service_can_read_everything_again(
    run: Run, served: list[tuple[Any, ...]], config_file: Path, counters_file: Path
) -> None:
    run("-r", "somewhere:1")
    reload = served[0][1]
    config_file.write_text("collect-interval = 1000")
    counters_file.write_text("DCGM_FI_DEV_SM_CLOCK, gauge, x\n")
    settings, counter_set = reload()
    assert (settings.engine, settings.collect_interval) == (EngineAddress("somewhere", 1), 1.0)
    assert [counter.name for counter in counter_set.counters] == ["DCGM_FI_DEV_SM_CLOCK"]
    config_file.write_text("nonsense = 1")
    with pytest.raises(ConfigurationError, match="there is no such setting"):
        reload()


def test_the_exit_status_is_that_of_the_mode(run: Run, modules: Modules) -> None:
    def run_once(configuration: Configuration) -> int:
        return 7 if configuration.counters.counters else 0

    modules.provide("do_dcgm_exporter.commands.once", run_once=run_once)
    assert run("--once") == 7


# Errors.


def test_an_unknown_variable_is_told_by_the_modes_that_end(
    run: Run, modules: Modules, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DO_DCGM_EXPORTER_ADRESS", ":1")
    modules.provide("do_dcgm_exporter.commands.once", run_once=lambda _: 0)
    assert run("--once") == 0
    sentence = "ignoring the unknown environment variable DO_DCGM_EXPORTER_ADRESS"
    assert capsys.readouterr().err.startswith(f"do-dcgm-exporter: {sentence}; did you mean ")


def test_a_configuration_error_is_one_sentence_and_status_2(
    run: Run, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_file.write_text("collect-intervall = 5")
    assert run() == 2
    sentence = "collect-intervall: there is no such setting; did you mean collect-interval?"
    assert capsys.readouterr() == ("", f"do-dcgm-exporter: {config_file}:1: {sentence}\n")


def test_a_missing_counters_file_stops_the_command(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-f", "/missing.csv") == 2
    assert "cannot read the counters file /missing.csv" in capsys.readouterr().err


def test_another_expected_error_has_its_own_status(
    run: Run, modules: Modules, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise ExporterError("port 9401 is taken")

    modules.provide("do_dcgm_exporter.service.service", run=fail)
    assert run() == 1
    assert capsys.readouterr().err == "do-dcgm-exporter: port 9401 is taken\n"


# --version, --list-fields


def test_version_says_name_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"do-dcgm-exporter {__version__}\n"


def test_fields_are_listed_also_with_a_broken_configuration(
    run: Run, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config_file.write_text("nonsense")
    assert run("--list-fields", "150") == 0
    assert "DCGM_FI_DEV_GPU_TEMP" in capsys.readouterr().out
    assert run("--list-fields", "nonsense") == 1


@pytest.mark.parametrize("argv", [["--list-fields"], ["--list-fields", "nothing-has-this"]])
def test_a_reader_that_leaves_early_causes_no_traceback(argv: Sequence[str]) -> None:
    command = [sys.executable, "-m", "do_dcgm_exporter", *argv]
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


# --check-config


def test_check_config_judges_every_line(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    counters_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine_says(monkeypatch, {"DCGM_FI_DEV_FAN_SPEED": "no GPU here supports it"})
    counters_file.write_text(
        "# comment\nDCGM_FI_DEV_GPU_TEMP, gauge, x\nDCGM_FI_DEV_FAN_SPEED, gauge, x\n"
    )
    assert run("--check-config") == 0
    assert capsys.readouterr().out == (
        f"{counters_file}:2: ok DCGM_FI_DEV_GPU_TEMP: gauge of field 150 (GPU); it is computed\n"
        f"{counters_file}:3: unsupported DCGM_FI_DEV_FAN_SPEED: no GPU here supports it\n"
        "2 lines: 1 ok, 1 unsupported\n"
    )


def test_check_config_says_when_no_engine_could_be_asked(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine_says(monkeypatch, None)
    assert run("--check-config") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "not checked against a GPU: no engine answers at localhost:5555"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("nonsense", 2),
        ("DCGM_FI_NONSENSE, gauge, x", 2),
        ("DCGM_FI_DEV_SERIAL, gauge, x", 0),
        ("DCGM_FI_DEV_GPU_TEMP, gauge, x", 0),
        ("", 0),
    ],
)
def test_check_config_fails_for_unknown_and_malformed_lines_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, status: int
) -> None:
    engine_says(monkeypatch, None)
    own = tmp_path / "own.csv"
    own.write_text(line)
    assert run("--check-config", "-f", str(own)) == status


def test_check_config_refuses_a_port_that_is_another_one_at_each_start(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine_says(monkeypatch, None)
    assert run("--check-config", "--address", ":0") == 2
    assert "address: :0 means another port at each start" in capsys.readouterr().err


def test_ten_lines_of_nonsense_among_many_are_named(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    counters_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine_says(monkeypatch, None)
    good = [f"{number}, gauge, x" for number in (*range(310, 334), *range(400, 450))]
    lines = good + [f"DCGM_FI_DEV_NONSENSE_{number}, gauge, x" for number in range(10)]
    counters_file.write_text("\n".join(lines))
    assert run("--check-config") == 2
    out = capsys.readouterr().out
    assert out.count(": unknown DCGM_FI_DEV_NONSENSE_") == 10
    assert f"84 lines: {len(good)} ok, 10 unknown\n" in out


def test_a_report_can_be_printed_in_any_encoding(
    run: Run, counters_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine_says(monkeypatch, None)
    counters_file.write_text("température, gauge, x\n", encoding="utf-8")
    out = counters_file.with_suffix(".out")
    with out.open("w", encoding="ascii") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run("--check-config") == 2
    assert "unknown temp\\xe9rature" in out.read_text(encoding="ascii")


# --simulate


class EngineFailed(Exception):
    """The simulator's own error."""


class FakeEngine:
    """A simulated engine that says whether it runs."""

    address = "127.0.0.1:41234"
    running: str | None = None

    @classmethod
    @contextmanager
    def start(cls, scenario: str, dcgm_version: str) -> Iterator[FakeEngine]:
        assert dcgm_version == "4.6.0"
        cls.running = scenario
        yield cls()
        cls.running = None


@pytest.fixture
def simulator(modules: Modules, tmp_path: Path) -> None:
    modules.provide(
        "dcgm_simulator",
        SCENARIOS={"h100x8": "", "grace": ""},
        bindings_directory=lambda: tmp_path,
    )
    modules.provide(
        "dcgm_simulator.versions",
        ALL_VERSIONS=("4.6.0",),
        VERSIONS=("4.6.0",),
        VERSION_VARIABLE="DCGM_SIMULATOR_VERSION",
    )
    modules.provide("dcgm_simulator.process", SimulatedEngine=FakeEngine, EngineFailed=EngineFailed)


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize(
    ("flags", "scenario"), [(["--simulate"], "h100x8"), (["--simulate", "grace"], "grace")]
)
def test_the_service_uses_the_simulated_engine_also_after_a_reload(
    run: Run, modules: Modules, tmp_path: Path, flags: Sequence[str], scenario: str
) -> None:
    seen = []

    def run_service(configuration: Configuration, load: Callable[[], Configuration]) -> int:
        seen.append((FakeEngine.running, configuration.settings, load().settings))
        return 0

    modules.provide("do_dcgm_exporter.service.service", run=run_service)
    assert run(*flags) == 0
    [(running, settings, reloaded)] = seen
    assert running == scenario
    assert settings == reloaded
    assert settings.engine == EngineAddress("127.0.0.1", 41234)
    assert settings.dcgm_bindings == tmp_path
    assert str(settings.address) == ":9401"
    assert FakeEngine.running is None


@pytest.mark.usefixtures("simulator")
@pytest.mark.parametrize(
    ("flags", "forward"),
    [
        ([], False),
        (["--forward"], False),
        (["--forward-url", "http://example.com"], False),
        (["--forward-url", "http://127.0.0.1:8080/x"], True),
        (["--forward-url", "http://127.0.0.1:8080/x", "--no-forward"], False),
    ],
)
def test_simulated_values_are_forwarded_to_this_host_alone(
    run: Run, served: list[tuple[Any, ...]], flags: Sequence[str], forward: bool
) -> None:
    run("--simulate", "h100x8", *flags)
    assert served[0][0].settings.forward is forward


@pytest.mark.usefixtures("simulator")
def test_an_unknown_scenario_lists_those_there_are(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--simulate", "h200") == 2
    assert "no scenario 'h200'; there are h100x8, grace" in capsys.readouterr().err


def fail_to_start(*_: object, **__: object) -> None:
    raise EngineFailed("no free port")


@pytest.mark.usefixtures("simulator")
def test_a_simulated_engine_that_does_not_start_is_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FakeEngine, "start", fail_to_start)
    assert run("--simulate") == 1
    assert "the simulated engine does not start: no free port" in capsys.readouterr().err


@pytest.mark.usefixtures("simulator")
def test_a_mistake_in_the_configuration_shows_before_an_engine_starts(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "start", fail_to_start)
    assert run("--simulate", "-c", "x") == 2


def test_without_the_simulator_its_package_is_named(
    run: Run, modules: Modules, capsys: pytest.CaptureFixture[str]
) -> None:
    modules.remove("dcgm_simulator")
    assert run("--simulate") == 2
    assert "install the package dcgm-simulator" in capsys.readouterr().err


def test_the_host_label_cannot_be_that_of_a_counter(
    run: Run, counters_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counters_file.write_text("DCGM_FI_DRIVER_VERSION, label, x\n")
    assert run("--hostname-label", "DCGM_FI_DRIVER_VERSION") == 2
    assert "'DCGM_FI_DRIVER_VERSION' is the name of a label counter" in capsys.readouterr().err
