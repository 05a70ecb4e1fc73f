"""The short run of the soak, and how it judges."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.e2e.exporter import ROOT, environment
from tests.soak.day import slope
from tests.soak.promises import Promise, table
from tests.soak.scraper import Scraping


def test_a_few_faults_of_every_kind_and_some_cycles_break_no_promise() -> None:
    few = ["--kills=3", "--hangs=1", "--outages=3", "--reloads=4", "--cycles=100", "--untimed"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", *few],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| holds |") + done.stdout.count("| **BROKEN** |") == 10


def test_the_slope_is_that_of_the_line_through_the_points() -> None:
    assert slope([(0, 30.0), (10, 31.0), (20, 32.0)]) == pytest.approx(0.1)
    assert slope([(5, 30.0), (5, 31.0)]) == 0.0


def test_a_broken_promise_stands_out() -> None:
    lines = table([Promise("pages", "none", "3", holds=False), Promise("life", "always", "", True)])
    assert ["**BROKEN** |" in line for line in lines[2:]] == [True, False]


def test_what_is_no_page_is_a_complaint() -> None:
    scraping = Scraping(pid=1, port=1)
    scraping.judge(b"A 1\n")
    scraping.judge(b"A 1\n")
    assert len(scraping.complaints) == 1
