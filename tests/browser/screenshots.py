"""``make screenshots``: pictures of the status page for the documentation.

python -m tests.browser.screenshots DIRECTORY
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from tests.browser.conftest import ARGUMENTS
from tests.browser.scenes import SCENES, Scene

_QUARTER_OF_AN_HOUR = 900.0


@dataclass(frozen=True)
class Look:
    """The size of a screen, and whether it is dark. A height of 0 shows the whole page."""

    width: int
    height: int = 0
    is_dark: bool = False


PICTURES: dict[str, tuple[Scene, Look]] = {
    "status-page": (SCENES["eight GPUs"], Look(1180)),
    "status-page-dark": (SCENES["much"], Look(1180, is_dark=True)),
    "status-page-one-gpu": (SCENES["one GPU"], Look(1180)),
    "status-page-mig": (SCENES["56 instances"], Look(1180)),
    "status-page-phone": (SCENES["much"], Look(390, 1100)),
    "status-page-phone-dark": (SCENES["56 instances"], Look(390, 1100, is_dark=True)),
}


def main(directory: Path) -> None:
    """Write every picture into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        for name, (scene, look) in PICTURES.items():
            with scene.played(before=_QUARTER_OF_AN_HOUR) as droplet, droplet.serving() as url:
                droplet.page.host = "gpu-droplet-1"
                shoot(browser, url, look, directory / f"{name}.png")
        browser.close()


def shoot(browser: Browser, url: str, look: Look, path: Path) -> None:
    """Take one picture."""
    page = browser.new_page(
        viewport={"width": look.width, "height": look.height or 400},
        color_scheme="dark" if look.is_dark else "light",
    )
    page.goto(url)
    page.screenshot(path=path, full_page=not look.height)
    page.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
