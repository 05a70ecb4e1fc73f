"""How the page behaves in a browser: what it loads, how it refreshes, how it fits."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser
from tests.browser.scenes import SCENES

PHONE = {"width": 390, "height": 844}


def test_nothing_but_the_page_is_loaded_and_nothing_is_complained_of(browser: Browser) -> None:
    with SCENES["much"].played() as droplet, droplet.serving() as url:
        context = browser.new_context()
        page = context.new_page()
        requested: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(url)
        page.wait_for_load_state("networkidle")
        # The style sheet is applied, so the policy has its hash.
        color = page.evaluate("getComputedStyle(document.querySelector('header')).borderLeftStyle")
        context.close()
    assert requested == [url]
    assert complaints == []
    assert color == "solid"


def test_it_loads_itself_again_and_keeps_the_place(browser: Browser) -> None:
    with SCENES["56 instances"].played() as droplet, droplet.serving() as url:
        droplet.page.soonest_refresh = 1.0
        droplet.page.settings = droplet.with_interval(1.0)
        # The policy would not let this test evaluate scripts.
        context = browser.new_context(viewport=PHONE, bypass_csp=True)
        page = context.new_page()
        page.goto(url)
        page.evaluate("window.scrollTo(0, 600)")
        page.evaluate("window.isOld = true")
        page.wait_for_function("window.isOld === undefined", timeout=30_000)
        page.wait_for_function("window.scrollY === 600", timeout=30_000)
        context.close()


def test_it_can_be_stopped_and_goes_on(browser: Browser) -> None:
    with SCENES["eight GPUs"].played() as droplet, droplet.serving() as url:
        page = browser.new_page()
        page.goto(url)
        page.get_by_role("link", name="Stop refreshing").click()
        page.wait_for_url(f"{url}paused")
        assert "refresh" not in page.reload().all_headers()
        page.get_by_role("link", name="Refresh again").click()
        page.wait_for_url(url)
        assert page.reload().all_headers()["refresh"] == "20"
        page.close()


@pytest.mark.parametrize("name", ["much", "56 instances", "NvSwitches", "the engine is gone"])
def test_no_width_makes_people_scroll_sideways(browser: Browser, name: str) -> None:
    too_wide = {}
    with SCENES[name].played() as droplet, droplet.serving() as url:
        page = browser.new_page()
        page.goto(url)
        for width in (320, 360, 390, 600, 834, 1024, 1160, 1280, 1920):
            page.set_viewport_size({"width": width, "height": 800})
            needed = page.evaluate("document.documentElement.scrollWidth")
            if needed > width:
                too_wide[width] = needed
        page.close()
    assert too_wide == {}
