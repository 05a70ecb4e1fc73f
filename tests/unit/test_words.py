"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from do_dcgm_exporter.explain import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "just now"), (1, "1 second ago"), (59.9, "59 seconds ago"), (60, "1 minute ago"),
        (3599, "59 minutes ago"), (7200, "2 hours ago"), (90000, "1 day ago"),
    ],
)  # fmt: skip
def test_how_long_ago(seconds: float, text: str) -> None:
    assert text == words.ago(seconds)


@pytest.mark.parametrize(
    ("values", "text"),
    [([3], "3"), ([3, 4], "3 and 4"), ([0, 1, 2], "0 to 2"), ([0, 1, 3], "0, 1 and 3")],
)
def test_numbers(values: list[int], text: str) -> None:
    assert text == words.numbers(values)
