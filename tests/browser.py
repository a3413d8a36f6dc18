"""Chromium for tests of pages; Debian: chromium chromium-driver."""

import json
import shutil
from typing import Any

import pytest

_CHROMIUM, _DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
DESKTOP, PHONE = (1200, 800), (360, 740)
_CONTRAST = """
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const parts = text => text.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
function behind(element) {
  for (let e = element; e; e = e.parentElement) {
    const colour = parts(getComputedStyle(e).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
}
return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length).map(e => {
  const style = getComputedStyle(e);
  const colour = parts(e.tagName === "use" ? style.stroke : e.closest("svg") ? style.fill : style.color);
  const [low, high] = [luminance(colour), luminance(behind(e))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
});
"""
# White texts stand on the dark cells of a heat map, which are no background that CSS knows.
_DRAWN = "svg text:not([style*='#ffffff'])"
_TEXTS = ("p, li, dt, dd, h1, h2, h3, figcaption, pre, summary", "th, td, small, button", _DRAWN)


def open_browser() -> Any:
    """A headless browser that logs what it loads; skips the test without Chromium."""
    if not (_CHROMIUM and _DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = _CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=Service(_DRIVER))


def emulate(page: Any, size: tuple[int, int], scheme: str = "light") -> None:
    """Sets the size of the screen and the colour scheme."""
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def check_that_nothing_is_loaded(page: Any) -> None:
    """Checks that a page that was just opened has no errors and needs no other file."""
    assert page.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file://", "data:"))] == []
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0


def contrasts(page: Any, selector: str) -> list[float]:
    """Contrast ratio (WCAG 2.2) of every element of a selector with the background behind it."""
    return page.execute_script(_CONTRAST, selector)


def check_contrast(page: Any, scheme: str) -> None:
    """Checks that a page follows the colour scheme, and that its texts can be read on their background."""
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in _TEXTS:
        found = contrasts(page, selector)
        assert len(found) > 5
        assert min(found) >= 4.5, selector
