"""The configuration file is ``key = value`` lines, and every complaint says where."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from do_dcgm_exporter.config.config_file import parse_settings, read_config_file
from do_dcgm_exporter.errors import ConfigurationError

FUZZ = settings(deadline=None)


def parse(text: str) -> dict[str, str | list[str]]:
    return {key: setting.written for key, setting in parse_settings(text, Path("x")).items()}


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        pytest.param("debug = true", {"debug": "true"}, id="equals"),
        pytest.param("debug: true", {"debug": "true"}, id="colon"),
        pytest.param("debug true", {"debug": "true"}, id="blank"),
        pytest.param("--debug=true", {"debug": "true"}, id="flag"),
        pytest.param("  debug =  true  \r\n", {"debug": "true"}, id="white space"),
        pytest.param("log-level = 'info'", {"log-level": "info"}, id="quotes"),
        pytest.param("debug = true  # why", {"debug": "true"}, id="comment behind"),
        pytest.param("# x\n; y\n\n[main]\n---\n", {}, id="comments and sections"),
        pytest.param("collectors = [a, b c]", {"collectors": ["a", "b c"]}, id="list"),
        pytest.param('collectors = ["a, b", "c"]', {"collectors": ["a, b", "c"]}, id="JSON"),
        pytest.param("collectors = ['a', \"b\"]", {"collectors": ["a", "b"]}, id="quoted list"),
        pytest.param("collectors = [1, 2]", {"collectors": ["1", "2"]}, id="numbers"),
        pytest.param("collectors = []", {"collectors": []}, id="empty list"),
    ],
)
def test_the_grammar_is_that_of_configargparse(
    text: str, settings: dict[str, str | list[str]]
) -> None:
    assert parse(text) == settings


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("\ndebug", ":2: debug has no value; write debug = yes or no", id="key alone"),
        pytest.param("debug =", ":1: debug has no value", id="nothing after ="),
        pytest.param("debug = # why", ":1: debug has no value", id="only a comment"),
        pytest.param("debug # why", ":1: debug has no value", id="key and comment"),
        pytest.param("= 5", ":1: '= 5' is not of the form key = value", id="value alone"),
        pytest.param("a = 1\n\na = 2", ":3: a is already set in line 1", id="repeated"),
        pytest.param("--a = 1\na = 1", ":2: a is already set in line 1", id="repeated as flag"),
        pytest.param(
            "forward = 1\nno-forward = 0",
            ":2: no-forward is already set in line 1 as forward",
            id="with its opposite",
        ),
        pytest.param("a = b\0", ":1: the line holds a NUL", id="NUL"),
        pytest.param("a = b" + " " * 9999 + "c", ":1: the line is longer", id="long line"),
        pytest.param("a = [[1]]", ":1: a: write the list as", id="list of lists"),
    ],
)
def test_a_wrong_line_is_an_error_with_its_number(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert complaint in str(caught.value)


def test_the_file_is_utf_8_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "some.conf"
    path.write_bytes(b"\xef\xbb\xbfa = \xc3\xa9\n")
    assert read_config_file(path) == "a = é\n"


def test_a_byte_that_is_not_utf_8_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "some.conf"
    path.write_bytes(b"a = 1\nb = \xe9\n")
    with pytest.raises(ConfigurationError, match=f"{path}:2: the line is not valid UTF-8"):
        read_config_file(path)


@pytest.mark.parametrize("name", ["missing.conf", "."])
def test_a_file_that_cannot_be_read_is_an_error_with_the_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the configuration file .*: [A-Z]"):
        read_config_file(tmp_path / name)


@FUZZ
@given(st.one_of(st.text(), st.text(alphabet="ab-=: #;[]\"',\n\0\r\t12")))
def test_any_text_gives_settings_or_a_configuration_error(text: str) -> None:
    try:
        settings = parse(text)
    except ConfigurationError as error:
        assert str(error)
    else:
        assert all(value is not None for value in settings.values())
