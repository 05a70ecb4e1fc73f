"""Standard output that takes nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAMS = {
    "do_dcgm_exporter": ("--list-fields",),
    "do_dcgm_exporter.integration": ("check", "check --json", "status", "status --json"),
}
COMMANDS = [(module, words) for module, found in PROGRAMS.items() for words in found]


def run(module: str, words: str, redirection: str) -> subprocess.CompletedProcess[str]:
    command = f'exec "$0" -m {module} {words} {redirection}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("module", "words"), COMMANDS)
@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "standard output: No space left on device"),
     (">&-", "standard output is closed")],
)  # fmt: skip
def test_it_is_one_sentence(module: str, words: str, redirection: str, reason: str) -> None:
    ended = run(module, words, redirection)
    (sentence,) = ended.stderr.splitlines()
    assert sentence.endswith(f": {reason}")
    assert 2 == ended.returncode
