"""A headless Chromium, the system's, for tests and for README's pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Without these Chromium looks for services of its own on the network.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def missing() -> str | None:
    """Say what a browser test lacks, None where it lacks nothing."""
    if find_spec("playwright") is None:
        return "playwright is not installed: uv sync --group browser"
    if shutil.which("chromium") is None:
        return "there is no chromium on PATH: apt-get install chromium"
    return None


@contextmanager
def page(width: int = 1400, height: int = 900, *, dark: bool = False, scale: float = 1) -> Iterator[Page]:
    """Open a page in a browser of its own.

    :param width: of the window, in CSS pixels
    :param height: of the window, in CSS pixels
    :param dark: whether to ask for the dark colours
    :param scale: device pixels for each CSS pixel
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        try:
            opened = browser.new_page(
                viewport={"width": width, "height": height},
                color_scheme="dark" if dark else "light",
                device_scale_factor=scale,
            )
            opened.set_default_timeout(60_000)
            yield opened
        finally:
            browser.close()


def log_in(page: Page, web: str, user: str, password: str) -> None:
    """Log in to Airflow 3's web UI as a person does.

    :param web: the address of the UI
    """
    page.goto(web)
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/auth/login" not in url)
