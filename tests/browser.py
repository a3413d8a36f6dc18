"""Chromium for tests of pages; Debian: chromium chromium-driver."""

import shutil
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
REASON = "chromium and chromedriver are not installed"


def open_browser() -> Any:
    """A headless browser that logs what it loads; skips the test without Chromium."""
    if not (CHROMIUM and DRIVER):
        pytest.skip(REASON)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))
