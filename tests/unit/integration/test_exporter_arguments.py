"""NVIDIA's flags and variables, as its program reads them."""

from __future__ import annotations

import pytest

from do_dcgm_exporter.integration.exporter_arguments import (
    collect_interval,
    is_local,
    listen_address,
    own_arguments,
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


def test_own_arguments_follow_the_name() -> None:
    assert ["-f"] == list(own_arguments(["/usr/bin/python3", "/x/dcgm-exporter", "-f"]))
    assert ["-f"] == list(own_arguments(["-f"]))
