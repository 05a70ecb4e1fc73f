"""Flags beat the environment, which beats the file, which beats the defaults."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.config.command_line import make_parser, parse_command_line
from do_dcgm_exporter.config.environment import unknown_variables
from do_dcgm_exporter.config.load import load_settings
from do_dcgm_exporter.config.options import OPTIONS
from do_dcgm_exporter.config.settings import (
    DeviceSelection,
    ListenAddress,
    LogFormat,
    SelectionMode,
    Settings,
)
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.errors import ConfigurationError

FUZZ = hypothesis.settings(deadline=None)
SHIPPED = Path(__file__).resolve().parents[2] / "etc" / "do-dcgm-exporter"
SWITCHES = {
    "forward": "forward",
    "xid_zero_fill": "xid-zero-fill",
    "show_hostname": "hostname",
    "replace_blanks_in_model_name": "replace-blanks-in-model-name",
    "label_fields_as_info": "label-fields-as-info",
    "status_page": "status-page",
}


class Installation:
    """An /etc directory of a test, and what is loaded with it."""

    def __init__(self, etc: Path) -> None:
        self.etc = etc
        self.config_file = etc / "do-dcgm-exporter.conf"

    def load(
        self,
        *argv: str,
        environ: Mapping[str, str] | None = None,
        config: str | None = None,
    ) -> Settings:
        if config is not None:
            self.config_file.write_text(config, encoding="utf-8")
        variables = {f"DO_DCGM_EXPORTER_{key}": value for key, value in (environ or {}).items()}
        # No machine's vendor stands there: it is no droplet.
        return load_settings(argv, variables, self.etc, dmi=self.etc)

    def complaint(
        self, *argv: str, environ: Mapping[str, str] | None = None, config: str | None = None
    ) -> str:
        with pytest.raises(ConfigurationError) as caught:
            self.load(*argv, environ=environ, config=config)
        assert caught.value.exit_status == 2
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


@pytest.fixture(scope="module")
def shared_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """For properties, which must not get a new directory for every example."""
    return Installation(tmp_path_factory.mktemp("etc"))


def test_without_any_configuration_there_are_defaults(installation: Installation) -> None:
    everything = DeviceSelection(SelectionMode.FLEX)
    assert installation.load() == Settings(
        default_counters=SHIPPED / "default-counters.csv",
        collectors=(),
        address=ListenAddress("", 9401),
        status_page=True,
        web_config_file=None,
        collect_interval=20.0,
        sample_interval=1.0,
        engine=EngineAddress("localhost", 5555),
        gpus=everything,
        switches=everything,
        cpus=everything,
        show_hostname=True,
        hostname_label="Hostname",
        xid_window=20.0,
        clock_events_window=20.0,
        xid_zero_fill=True,
        replace_blanks_in_model_name=False,
        label_fields_as_info=False,
        hpc_job_mapping_dir=None,
        hpc_job_from_usage=False,
        forward=False,
        forward_url="http://169.254.169.254:80/v1/gpu_metrics",
        forward_interval=20.0,
        forward_timeout=5.0,
        stale_after=60.0,
        dcgm_bindings=None,
        log_format=LogFormat.TEXT,
        log_level="info",
    )


def test_installed_counters_are_found_in_etc(installation: Installation) -> None:
    default, own = installation.etc / "default-counters.csv", installation.etc / "collectors.csv"
    default.touch()
    own.touch()
    settings = installation.load()
    assert (settings.default_counters, settings.collectors) == (default, (own,))


# Where values come from.


def test_a_flag_beats_the_environment_which_beats_the_file(installation: Installation) -> None:
    config = "collect-interval = 3000"
    environ = {"COLLECT_INTERVAL": "2000"}
    assert installation.load(config=config).collect_interval == 3.0
    assert installation.load(config=config, environ=environ).collect_interval == 2.0
    assert installation.load("-c", "1000", environ=environ).collect_interval == 1.0


@pytest.mark.parametrize("flags", [["-c5000"], ["--collect-interval=5000"], ["-nc", "5000"]])
def test_a_flag_wins_however_it_is_written(
    installation: Installation, flags: Sequence[str]
) -> None:
    config = "collectors = [a, b]\ncollect-interval = 1000"
    assert installation.load(*flags, config=config).collect_interval == 5.0


def test_a_log_level_of_a_higher_layer_beats_debug(installation: Installation) -> None:
    config = "debug = true\n"
    level = {"LOG_LEVEL": "error"}
    assert installation.load(config=config).log_level == "debug"
    assert installation.load("--log-level", "error", config=config).log_level == "error"
    assert installation.load(config=config, environ=level).log_level == "error"
    assert installation.load("--debug", config="", environ=level).log_level == "debug"


def test_counters_files_of_a_flag_replace_those_of_the_file(installation: Installation) -> None:
    config = "collectors = [a, b]"
    assert installation.load(config=config).collectors == (Path("a"), Path("b"))
    assert installation.load("-fc", "--collectors", "d").collectors == (Path("c"), Path("d"))
    environ = {"COLLECTORS": "[e, f]"}
    assert installation.load(environ=environ).collectors == (Path("e"), Path("f"))
    assert installation.load("-f", "c", environ=environ).collectors == (Path("c"),)
    assert installation.load(environ={"COLLECTORS": "[1]"}).collectors == (Path("1"),)


def test_one_counters_file_needs_no_list(installation: Installation) -> None:
    assert installation.load(config="collectors = /a b.csv").collectors == (Path("/a b.csv"),)
    assert installation.load(environ={"COLLECTORS": "/a b.csv"}).collectors == (Path("/a b.csv"),)


def test_an_empty_variable_is_an_unset_one(installation: Installation) -> None:
    environ = {"COLLECT_INTERVAL": "", "NO_FORWARD": "", "CONFIG_FILE": ""}
    assert installation.load(environ=environ) == installation.load()


def test_an_unknown_variable_is_reported_and_ignored(installation: Installation) -> None:
    assert installation.load(environ={"COLECT_INTERVAL": "1000"}).collect_interval == 20.0
    environ = {"DO_DCGM_EXPORTER_COLECT_INTERVAL": "1000", "DO_DCGM_EXPORTER_NO_FORWARD": "1"}
    (sentence,) = unknown_variables(environ | {"DO_DCGM_EXPORTER_X": "", "PATH": "/"})
    assert "DO_DCGM_EXPORTER_COLECT_INTERVAL" in sentence
    assert "did you mean DO_DCGM_EXPORTER_COLLECT_INTERVAL?" in sentence


def test_a_named_configuration_file_replaces_the_usual_one(
    installation: Installation, tmp_path: Path
) -> None:
    other = tmp_path / "other.conf"
    other.write_text("debug = true")
    installation.config_file.write_text("collect-interval = 1000")
    for settings in (
        installation.load("--config-file", str(other)),
        installation.load(environ={"CONFIG_FILE": str(other)}),
    ):
        assert (settings.log_level, settings.collect_interval) == ("debug", 20.0)


def test_a_named_configuration_file_has_to_exist(installation: Installation) -> None:
    assert "cannot read the configuration file /missing" in installation.complaint(
        "--config-file", "/missing"
    )


def test_loading_again_sees_what_changed_in_the_file(installation: Installation) -> None:
    argv = ["--stale-after", "90000"]
    assert installation.load(*argv, config="collect-interval = 1000").collect_interval == 1.0
    again = installation.load(*argv, config="collect-interval = 2000")
    assert (again.collect_interval, again.stale_after) == (2.0, 90.0)


# Switches.

TRUE, FALSE = ("true", "yes", "ON", "1"), ("false", "No", "off", "0")


@pytest.mark.parametrize(("attribute", "name"), SWITCHES.items())
@pytest.mark.parametrize(
    ("word", "on"), [*((word, True) for word in TRUE), *((word, False) for word in FALSE)]
)
def test_a_switch_takes_both_spellings_from_file_and_environment(
    installation: Installation, attribute: str, name: str, word: str, on: bool
) -> None:
    variable = name.upper().replace("-", "_")
    for settings, expected in (
        (installation.load(config=f"{name} = {word}"), on),
        (installation.load(config=f"no-{name} = {word}"), not on),
        (installation.load(config="", environ={variable: word}), on),
        (installation.load(config="", environ={f"NO_{variable}": word}), not on),
    ):
        assert getattr(settings, attribute) is expected


@pytest.mark.parametrize(("attribute", "name"), SWITCHES.items())
def test_a_switch_as_a_flag_beats_the_other_spelling_elsewhere(
    installation: Installation, attribute: str, name: str
) -> None:
    off = installation.load(f"--no-{name}", config=f"{name} = true")
    on = installation.load(f"--{name}", config=f"no-{name} = true")
    assert (getattr(off, attribute), getattr(on, attribute)) == (False, True)


def test_a_switch_in_the_environment_beats_the_other_spelling_in_the_file(
    installation: Installation,
) -> None:
    settings = installation.load(config="no-forward = true", environ={"FORWARD": "true"})
    assert settings.forward is True
    settings = installation.load(config="forward = true", environ={"NO_FORWARD": "true"})
    assert settings.forward is False


def test_of_two_flags_for_one_switch_the_last_one_wins(installation: Installation) -> None:
    assert installation.load("--no-forward", "--forward").forward is True
    assert installation.load("--hostname", "-n").show_hostname is False


def test_debug_is_a_log_level(installation: Installation) -> None:
    assert installation.load("--debug").log_level == "debug"
    assert installation.load("--no-debug", config="debug = yes").log_level == "info"
    assert (
        installation.load(environ={"DEBUG": "1"}, config="log-level = error").log_level == "debug"
    )


# Values that depend on others.


def test_peaks_are_sampled_every_second_or_every_reading_unless_said(
    installation: Installation,
) -> None:
    assert installation.load("-c", "500").sample_interval == 0.5
    assert installation.load("--sample-interval", "100").sample_interval == 0.1
    assert "write at most 500" in installation.complaint("-c", "500", "--sample-interval", "501")


def test_values_are_stale_after_three_intervals_unless_said(installation: Installation) -> None:
    assert installation.load("-c", "5000").stale_after == 15.0
    assert installation.load("-c", "5000", "--stale-after", "5000").stale_after == 5.0
    assert "write at least 5000" in installation.complaint("-c", "5000", "--stale-after", "4999")


def test_directories_have_to_exist(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "dcgm_structs.py").touch()
    settings = installation.load(
        "--dcgm-bindings", str(tmp_path), "--hpc-job-mapping-dir", str(tmp_path)
    )
    assert (settings.dcgm_bindings, settings.hpc_job_mapping_dir) == (tmp_path, tmp_path)
    (tmp_path / "dcgm_structs.py").unlink()
    assert "no dcgm_structs.py" in installation.complaint("--dcgm-bindings", str(tmp_path))
    assert "not a directory" in installation.complaint("--hpc-job-mapping-dir", "/missing")


# Complaints: one sentence that says where, what, and what is allowed.


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["-c"], "-c/--collect-interval: expected one argument"),
        (["-c", "x"], "-c/--collect-interval: 'x' is not a whole number of milliseconds from 100"),
        (["-c", "99"], "-c/--collect-interval: '99' is not"),
        (["-c", "-5"], "-c/--collect-interval: '-5' is not"),
        (["-c", "5e3"], "-c/--collect-interval: '5e3' is not"),
        (["-d", "x"], "-d/--devices: 'x' does not select devices"),
        (["-r", "::1"], "-r/--remote-hostengine-info: an IPv6 address needs brackets"),
        (["--hostname-label", "a-b"], "--hostname-label: 'a-b' is not a label name"),
        (["--hostname-label", "gpu"], "--hostname-label: 'gpu' is the name of another label"),
        (["--log-format", "xml"], "--log-format: 'xml' is not one of text, json"),
        (["--collectors="], "-f/--collectors: the path is empty"),
        (["--colectors", "x"], "'--colectors' is not an option; did you mean --collectors?"),
        (["--collect", "5"], "'--collect' is not an option"),
        (["file.csv"], "'file.csv' is not an option; --help lists all options"),
        (["--once", "--check-config"], "--check-config: not allowed with argument --once"),
        (["--debug=1"], "--debug/--no-debug: ignored explicit argument '1'"),
    ],
)
def test_a_wrong_flag_is_named(
    installation: Installation, flags: Sequence[str], complaint: str
) -> None:
    assert installation.complaint(*flags).startswith(complaint)


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"COLLECT_INTERVAL": "x"}, "DO_DCGM_EXPORTER_COLLECT_INTERVAL: 'x' is not a whole"),
        ({"FORWARD": "maybe"}, "DO_DCGM_EXPORTER_FORWARD: 'maybe' is not one of true, yes, on"),
        ({"NO_FORWARD": "maybe"}, "DO_DCGM_EXPORTER_NO_FORWARD: 'maybe' is not one of"),
        (
            {"FORWARD": "1", "NO_FORWARD": "1"},
            "DO_DCGM_EXPORTER_NO_FORWARD contradicts DO_DCGM_EXPORTER_FORWARD",
        ),
        ({"COLLECTORS": "[a"}, "DO_DCGM_EXPORTER_COLLECTORS: the list does not end"),
        ({"COLLECTORS": "[[1]]"}, "DO_DCGM_EXPORTER_COLLECTORS: write the list as [FILE, FILE]"),
    ],
)
def test_a_wrong_variable_is_named(
    installation: Installation, environ: Mapping[str, str], complaint: str
) -> None:
    assert installation.complaint(environ=environ).startswith(complaint)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("\ncollect-interval = x", ":2: collect-interval: 'x' is not a whole number"),
        ("colect-interval = 5", ":1: colect-interval: there is no such setting; did you mean"),
        ("-c = 5", ":1: -c: there is no such setting"),
        ("once = true", ":1: once: this can only be given on the command line"),
        ("config-file = x", ":1: config-file: this can only be given on the command line"),
        ("DO_DCGM_EXPORTER_DEBUG = 1", ":1: DO_DCGM_EXPORTER_DEBUG: there is no such setting"),
        ("forward = maybe", ":1: forward: 'maybe' is not one of true, yes, on, 1, false"),
        ("forward = [true]", ":1: forward: '[True]' is not one of"),
        ("address = ::1", ":1: address: an IPv6 address needs brackets"),
        ("collectors = []", ":1: collectors: the list is empty; write /dev/null for no file"),
        ("collectors = [a", ":1: collectors: the list does not end on its line with ]"),
        ("collectors = [a, ]", ":1: collectors: the path is empty"),
        ("debug", ":1: debug has no value; write debug = yes or no"),
        ("--forward", ":1: --forward has no value; write --forward = yes, no or auto"),
        ("no-forward =", ":1: no-forward has no value; write no-forward = yes or no"),
        ("engine", ":1: engine has no value; write engine = nvidia, ours or none"),
        ("address", ":1: address has no value; write address = :9401"),
        ("collectors", ":1: collectors has no value; write collectors = FILE"),
        ("counter-groups = []", ":1: counter-groups: the list is empty; write none"),
        ("debug = 1\ndebug = 1", ":2: debug is already set in line 1"),
    ],
)
def test_a_wrong_setting_is_located_in_the_file(
    installation: Installation, config: str, complaint: str
) -> None:
    assert installation.complaint(config=config).startswith(
        f"{installation.config_file}{complaint}"
    )


def test_a_list_without_its_brackets_is_shown_with_them(installation: Installation) -> None:
    said = installation.complaint(config="counter-groups = power,ecc")
    assert said.startswith(f"{installation.config_file}:1: counter-groups: 'power,ecc' is not one")
    assert said.endswith("; several are written [power, ecc]")


def test_an_address_in_brackets_is_not_a_list(installation: Installation) -> None:
    settings = installation.load(config="remote-hostengine-info = [::1]\naddress = [::1]:80")
    assert settings.engine == EngineAddress("::1", 5555)
    assert settings.address == ListenAddress("::1", 80)


KEYS = [
    *(option.name for option in OPTIONS),
    *(f"no-{name}" for name in SWITCHES.values()),
    "nonsense",
]


@FUZZ
@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(KEYS),
            st.sampled_from([" = ", "=", ": ", " "]),
            st.one_of(
                st.sampled_from(["true", "0", "5000", "[a, b]", "[]", "g:0", "[::1]", "json"]),
                st.text(),
            ),
        ),
        max_size=3,
    )
)
def test_any_file_gives_settings_or_a_configuration_error(
    shared_installation: Installation, lines: Sequence[tuple[str, str, str]]
) -> None:
    text = "\n".join("".join(line) for line in lines)
    shared_installation.config_file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(shared_installation.load(), Settings)
    except ConfigurationError as error:
        assert str(error)


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from([key.upper().replace("-", "_") for key in KEYS]),
        st.one_of(st.sampled_from(["1", "no", "[a]", "-", "--debug"]), st.text()),
        max_size=3,
    )
)
def test_any_environment_gives_settings_or_a_configuration_error(
    environ: Mapping[str, str],
) -> None:
    try:
        Installation(Path("/missing")).load(environ=environ)
    except ConfigurationError as error:
        assert str(error)


def test_every_flag_that_is_no_option_is_refused_in_the_file(installation: Installation) -> None:
    flags = {flag for action in make_parser()._actions for flag in action.option_strings}
    flags -= {flag for option in OPTIONS for flag in option.flags}
    only_flags = {flag[2:] for flag in flags if flag.startswith("--")}
    assert {"once", "config-file"} <= only_flags
    for name in only_flags:
        said = installation.complaint(config=f"{name} = 1")
        assert said.endswith(f":1: {name}: this can only be given on the command line")


def test_every_setting_comes_from_one_option() -> None:
    fields = [option.field for option in OPTIONS if option.field]
    assert sorted(fields) == sorted(field.name for field in dataclasses.fields(Settings))


# What ships in /etc, and the help.


def shipped_lines() -> dict[str, str]:
    text = (SHIPPED / "do-dcgm-exporter.conf").read_text(encoding="utf-8")
    return dict(re.findall("(?m)^#((?!#)[a-z-]+) = (.*)$", text))


def test_the_shipped_file_changes_nothing(installation: Installation) -> None:
    text = (SHIPPED / "do-dcgm-exporter.conf").read_text(encoding="utf-8")
    assert installation.load(config=text) == installation.load(config="")


def test_the_shipped_file_has_every_option_once() -> None:
    text = (SHIPPED / "do-dcgm-exporter.conf").read_text(encoding="utf-8")
    keys = re.findall("(?m)^#([a-z-]+) = ", text)
    assert sorted(keys) == sorted(option.name for option in OPTIONS)


@pytest.mark.parametrize(
    "name",
    # Those left out have no default, or not one that every machine has.
    sorted(
        {option.name for option in OPTIONS}
        - {"hpc-job-mapping-dir", "dcgm-bindings", "web-config-file"}
    ),
)
def test_a_line_of_the_shipped_file_says_the_default(installation: Installation, name: str) -> None:
    (installation.etc / "default-counters.csv").touch()
    (installation.etc / "collectors.csv").touch()
    value = shipped_lines()[name].replace("/etc/do-dcgm-exporter", str(installation.etc))
    assert installation.load(config=f"{name} = {value}") == installation.load(config="")


def test_the_help_has_every_flag_with_its_default_in_80_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_command_line(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    for option in OPTIONS:
        assert all(flag in words for flag in option.flags)
        assert f"(default: {option.default.strip('()')})" in words
    for mode in ("--once", "--check-config", "--list-fields", "--simulate", "--version"):
        assert mode in words
