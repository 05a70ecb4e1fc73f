"""What the package's config script says of addresses that are typed into debconf."""

from __future__ import annotations

import subprocess

import pytest
from tests.builders import REPOSITORY

SCRIPT = (REPOSITORY / "debian" / "do-dcgm-exporter.config").read_text()
JUDGES = SCRIPT[SCRIPT.index("# --- Addresses") : SCRIPT.index("# --- NVIDIA exporters")]


def reason(judge: str, answer: str) -> str:
    """Return why an answer is refused, nothing if it is taken."""
    script = f'set -e\n{JUDGES}\nREASON=\n{judge} "$1"\nprintf %s "$REASON"'
    command = ["sh", "-c", script, "config", answer]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("localhost:5555", ""),
        ("gpu9", ""),
        ("tcp://gpu9:5555", ""),
        ("[::1]:5555", ""),
        ("unix:///run/dcgm.sock", ""),
        ("", "it is empty (the default is localhost:5555)"),
        (":5555", "it names no host"),
        ("gpu9:5555:5555", "gpu9:5555 is not the name or address of a host"),
        ("300.1.1.1:5555", "300.1.1.1 is not the name or address of a host"),
        ("gpu9:0", "port 0 cannot be connected to"),
        ("gpu9:99999", "port 99999 is too high: ports go up to 65535"),
        ("gpu9:http", "http is not a port"),
    ],
)
def test_an_engine(answer: str, why: str) -> None:
    assert why == reason("judge_engine_address", answer)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (":9401", ""),
        ("9401", ""),
        ("127.0.0.1:9401", ""),
        ("", "it is empty (the default is :9401)"),
        (":0", "port 0 is no port that Prometheus could be told"),
        ("a:9401:9401", "a:9401 is not an address"),
        (":99999", "port 99999 is too high: ports go up to 65535"),
    ],
)
def test_an_address_of_ours(answer: str, why: str) -> None:
    assert why == reason("judge_address", answer)
