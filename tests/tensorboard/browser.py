"""A headless Chromium for tests: Debian's, driven by its own chromedriver."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium import webdriver

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0  # seconds, of a busy machine


def missing(what: str) -> None:
    """Skip the test, or fail it where NAS_GYM_REQUIRE says that Chromium is there, as in CI."""
    if "chromium" in os.environ.get("NAS_GYM_REQUIRE", "").split(","):
        pytest.fail(f"NAS_GYM_REQUIRE asks for chromium, but {what}")
    pytest.skip(f"needs Chromium, but {what}")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that notes what its console says; skips where there is none on this machine."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing(f"{'chromedriver' if browser else ' or '.join(BROWSERS)} is not on PATH (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    if os.geteuid() == 0:  # its sandbox refuses root
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield window
    finally:
        window.quit()
