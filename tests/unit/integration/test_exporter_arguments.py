"""NVIDIA's flags and variables, as its program reads them."""

from __future__ import annotations

import pytest

from do_dcgm_exporter.integration.exporter_arguments import (
    asks_only,
    collect_interval,
    flag,
    is_local,
    listen_address,
    serves_tls,
)


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, ("", 9400)),
        (["-a", ":9410"], {}, ("", 9410)),
        (["--address=10.0.0.1:9410"], {}, ("10.0.0.1", 9410)),
        (["-a", "[::1]:9410"], {}, ("::1", 9410)),
        ([], {"DCGM_EXPORTER_LISTEN": ":9411"}, ("", 9411)),
        (["-a", ":9410"], {"DCGM_EXPORTER_LISTEN": ":9411"}, ("", 9410)),
        (["-a", ":$1"], {}, ("", 9400)),
        (["--", "-a", ":1"], {}, ("", 9400)),
    ],
)
def test_where_it_listens(
    arguments: list[str], environment: dict[str, str], expected: tuple[str, int]
) -> None:
    assert expected == listen_address(arguments, environment)


def test_its_interval_is_in_milliseconds() -> None:
    assert 30.0 == collect_interval([], {})
    assert 5.0 == collect_interval(["-c", "5000"], {})
    assert 2.0 == collect_interval([], {"DCGM_EXPORTER_INTERVAL": "2000"})
    assert 30.0 == collect_interval(["-c", "often"], {})


def test_a_web_configuration_may_ask_for_tls() -> None:
    assert serves_tls(["--web-config-file", "x"], {})
    assert serves_tls([], {"DCGM_EXPORTER_WEB_CONFIG_FILE": "x"})
    assert not serves_tls([], {})


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("localhost:5555", True),
        ("localhost", True),
        ("127.0.0.1:5555", True),
        ("tcp://localhost:5555", True),
        ("[::1]:5555", True),
        ("localhost:5556", False),
        ("gpu7:5555", False),
        ("", False),
        ("?", False),
    ],
)
def test_which_engine_is_ours(remote: str, expected: bool) -> None:
    assert expected is is_local(remote, {5555})


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["-r", "a:1"], "a:1"),
        (["--r=a:1"], "a:1"),
        (["-r", "-k"], "-k"),
        (["-r"], ""),
        (["-k", "-r", "a:1"], "a:1"),
        (["-f", "-r", "a:1"], None),  # a file of that name, and a bare word
        (["--kubernetes", "false", "-r", "a:1"], None),
        (["word", "-r", "a:1"], None),
        (["-", "-r", "a:1"], None),
        (["---r", "a:1"], None),
    ],
)
def test_flags_are_read_as_go_reads_them(arguments: list[str], value: str | None) -> None:
    assert value == flag(arguments, ("r", "remote-hostengine-info"))


def test_one_that_is_asked_for_its_version_ends() -> None:
    assert asks_only(["-a", ":1", "--version"])
    assert not asks_only(["-f", "--version"])
