"""The web server under abuse: the short version of tests/soak/http.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.certificates import Authority
from tests.e2e.prometheus import needs_prometheus
from tests.soak.http import abuse, allow_many_files, scraping, subject


@needs_prometheus
@pytest.mark.parametrize(
    ("tls", "crowd", "requests"), [(False, 1000, 400), (True, 200, 200)], ids=["clear", "tls"]
)
def test_prometheus_scrapes_on_amid_slow_clients_and_requests_of_every_shape(
    tmp_path: Path, authority: Authority, *, tls: bool, crowd: int, requests: int
) -> None:
    allow_many_files()
    with (
        subject(tmp_path, authority, tls=tls) as exporter,
        scraping(exporter, tmp_path, authority) as prometheus,
    ):
        outcome = abuse(exporter, prometheus, requests=requests, crowd=crowd, seed=20261124)
        assert not outcome.complaints
        assert outcome.scrapes
        assert outcome.visits.total() >= crowd
        assert exporter.is_up()
