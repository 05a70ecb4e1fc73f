"""The web server under abuse: the short version of tests/soak/http.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.certificates import Authority
from tests.e2e.prometheus import needs_prometheus
from tests.soak.http import abuse, allow_many_files, scraping, subject


@needs_prometheus
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
def test_prometheus_scrapes_on_amid_a_thousand_slow_clients_and_every_shape(
    tmp_path: Path, authority: Authority, *, tls: bool
) -> None:
    allow_many_files()
    with (
        subject(tmp_path, authority, tls=tls) as exporter,
        scraping(exporter, tmp_path, authority) as prometheus,
    ):
        outcome = abuse(exporter, prometheus, requests=500, crowd=1000, seed=20261124)
        assert not outcome.complaints
        assert outcome.scrapes
        assert outcome.visits.total() >= 1000
        assert exporter.is_up()
