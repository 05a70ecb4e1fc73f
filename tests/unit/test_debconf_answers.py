"""What the package's config script says of addresses that are typed into debconf."""

from __future__ import annotations

import re
import subprocess

import pytest
from tests.builders import REPOSITORY

SCRIPT = (REPOSITORY / "debian" / "do-dcgm-exporter.config").read_text()
JUDGES = SCRIPT[SCRIPT.index("# --- Addresses") : SCRIPT.index("# --- NVIDIA exporters")]


def reason(judge: str, answer: str) -> str:
    """Return the template and the value of why an answer is refused, nothing if it is taken."""
    say = 'printf %s "${REASON#do-dcgm-exporter/}${REASON:+ }$VALUE"'
    script = f'set -e\n{JUDGES}\nREASON= VALUE= HOLDER=\n{judge} "$1"\n{say}'
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
        ("", "no-address localhost:5555"),
        (":5555", "no-host :5555"),
        ("gpu9:5555:5555", "wrong-host gpu9:5555"),
        ("300.1.1.1:5555", "wrong-host 300.1.1.1"),
        ("gpu9:0", "wrong-port 0"),
        ("gpu9:99999", "wrong-port 99999"),
        ("gpu9:http", "wrong-port http"),
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
        ("", "no-address :9401"),
        (":0", "wrong-port 0"),
        ("a:9401:9401", "wrong-host a:9401"),
        (":99999", "wrong-port 99999"),
    ],
)
def test_an_address_of_ours(answer: str, why: str) -> None:
    assert why == reason("judge_address", answer)


def test_every_reason_is_a_template() -> None:
    templates = (REPOSITORY / "debian" / "do-dcgm-exporter.templates").read_text()
    reasons = set(re.findall(r"\bwrong (do-dcgm-exporter/\S+) ", JUDGES))
    errors = set(re.findall(r"Template: (\S+)\nType: error\n", templates))
    assert reasons == errors
