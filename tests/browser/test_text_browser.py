"""The page in a text browser: w3m, for machines without a screen."""

from __future__ import annotations

import re
import subprocess

import pytest
from tests.browser.scenes import SCENES, Scene

from do_dcgm_exporter.dcgm.xid_texts import xid_text


def as_text(url: str) -> str:
    """The page as shown by w3m."""
    dumped = subprocess.run(
        ["w3m", "-dump", "-cols", "400", "-O", "UTF-8", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return dumped.stdout.strip()


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES.keys())
def test_the_first_sentence_names_the_device_and_the_cause(scene: Scene) -> None:
    with scene.played() as droplet, droplet.serving() as url:
        first_line, _, rest = as_text(url).partition("\n")
    assert re.fullmatch(scene.sentence, first_line), first_line
    assert "Metrics pipeline" in rest


def test_all_else_is_there_to_be_read() -> None:
    with SCENES["much"].played() as droplet, droplet.serving() as url:
        text = as_text(url)
    for line in (
        r"✓ GPU 0 +\d+ % +[\d.]+ / 79.6 GiB +\d+ / 90 °C +\d+ / 700 W .* 18 up",
        r"✗ GPU 3 +lost to the driver",
        r"! GPU 6 .* \d+ MHz power limit, too hot +18 up",
        rf"79 +GPU 3 +{xid_text(79)} +2\S+ \S+ UTC, 1 minute ago",
        r" *1\. Driver \S+ ✗ answers for 7 of 8 GPUs",
        r" *2\. DCGM engine 4.6.0 ✓ answers at 127.0.0.1:\d+",
        r" *4\. Prometheus ✓ scraped just now",
        r" *5\. DigitalOcean ✓ sent just now",
    ):
        assert re.search(f"^{line}$", text, re.MULTILINE), f"{line}\nis not in\n{text}"
