"""The report's page in a real browser."""

import itertools
import json
import shutil

import numpy as np
import pytest

from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.studies.accuracy.report.report import write_report
from dctnet.studies.rows import write_rows
from tests.simulated_rows import make_benchmark, ranking_text

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed: apt-get install chromium-driver"
)
DESK, TELEPHONE = (1200, 800), (360, 740)
# Relative luminance and contrast as WCAG 2.2 has them, of every element that a selector finds against what lies behind.
CONTRAST = """
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
  const text = parts(e.closest("svg") ? style.fill : style.color);
  const [low, high] = [luminance(text), luminance(behind(e))].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
});
"""


@pytest.fixture(scope="module")
def browser():
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The page of a simulated benchmark, opened from its file."""
    out = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    write_rows(out / "rows.csv", make_benchmark())
    (out / "ranking.json").write_text(ranking_text(rng))
    (out / "energy.json").write_text(json.dumps({"variance": rng.lognormal(3, 2, NUM_CHANNELS).tolist()}))
    (out / "failures.csv").write_text(f"patches_dct-s0,2026-01-02T03:04:05Z,{'/long/path' * 30}\n")
    browser.get(write_report(out).as_uri())
    return browser


def show(page, size: tuple[int, int], scheme: str = "light"):
    """Emulates a screen of some size and a light or dark desktop."""
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def test_it_opens_without_an_error_and_without_the_network(page):
    assert page.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in sent if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in urls if not url.startswith(("file://", "data:"))] == []
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    # Were something in the page to ask for more, it would be refused.
    fetched = "const done = arguments[0]; fetch('https://example.org').then(() => done(true), () => done(false))"
    assert page.execute_async_script(fetched) is False
    assert "Content Security Policy" in page.get_log("browser")[0]["message"]


@pytest.mark.parametrize("size", [DESK, TELEPHONE])
def test_every_figure_is_drawn_and_none_lies_over_another(page, size):
    show(page, size)
    boxes = page.execute_script(
        "return [...document.querySelectorAll('figure svg')].filter(s => s.getClientRects().length).map(s => {"
        "const b = s.getBoundingClientRect(); return [b.left, b.top + scrollY, b.right, b.bottom + scrollY,"
        "s.querySelectorAll('path').length, s.querySelectorAll('text').length, s.getBBox().width]})"
    )
    assert len(boxes) == 5
    for left, top, right, bottom, paths, texts, inner in boxes:
        assert right - left > 0.85 * min(size[0], 760)
        assert bottom - top > 150
        assert paths > 20
        assert texts > 8
        assert inner > 250
        assert left >= 0
        assert right <= size[0]
    assert all(above[3] <= below[1] for above, below in itertools.pairwise(boxes))


@pytest.mark.parametrize("size", [DESK, TELEPHONE])
def test_texts_of_a_figure_can_be_read_and_do_not_cover_each_other(page, size):
    show(page, size)
    figures = page.execute_script(
        "return [...document.querySelectorAll('figure svg')].filter(s => s.getClientRects().length).map(s =>"
        "[...s.querySelectorAll('text')].map(t => { const b = t.getBoundingClientRect();"
        "return [t.textContent, b.left, b.top, b.right, b.bottom,"
        "parseFloat(getComputedStyle(t).fontSize) * s.getBoundingClientRect().width / s.viewBox.baseVal.width]}))"
    )
    for texts in figures:
        assert min(text[5] for text in texts) >= 9  # CSS pixels on the screen
        for i, (one, left, top, right, bottom, _) in enumerate(texts):
            for other, left2, top2, right2, bottom2, _ in texts[i + 1 :]:
                # A line's box is taller than its letters.
                across, along = min(right, right2) - max(left, left2), min(bottom, bottom2) - max(top, top2)
                assert across <= 1 or along <= 4, f"{one!r} and {other!r} overlap"


def column(page, number: int) -> list[str]:
    return page.execute_script(
        "return [...document.querySelectorAll('#arms tbody tr')].map(r => [r.cells[arguments[0]].dataset.value,"
        "r.cells[0].textContent])",
        number,
    )


def test_a_header_sorts_by_number_and_again_the_other_way_round(page):
    show(page, DESK)
    names = page.execute_script("return [...document.querySelectorAll('#arms thead th')].map(h => h.textContent)")
    orders = "return [...document.querySelectorAll('#arms thead th')].map(h => h.getAttribute('aria-sort'))"
    assert page.execute_script(orders)[1] == "descending"
    before = {name for _, name in column(page, 0)}
    for title in ("GMAC", "Bytes an image", "Channels", "Minus RGB, matched GMAC", "Top-1, %"):
        number = names.index(title)
        button = page.find_elements("css selector", "#arms thead button")[number]
        for order, sign in (("ascending", 1), ("descending", -1)):
            # As a pointer does, and as a keyboard does.
            page.execute_script("arguments[0].click()", button) if sign == 1 else button.send_keys("\ue007")
            values = [value for value, _ in column(page, number)]
            given = [sign * float(value) for value in values if value]
            assert given == sorted(given)
            assert values[len(given) :] == [""] * (len(values) - len(given))  # what has no number comes last
            assert page.execute_script(orders) == [order if i == number else "none" for i in range(len(names))]
    assert {name for _, name in column(page, 0)} == before


def test_names_sort_as_people_count(page):
    button = page.find_elements("css selector", "#arms thead button")[0]
    page.execute_script("arguments[0].click()", button)
    names = [name for _, name in column(page, 0)]
    assert names.index("learned-6") < names.index("learned-24")
    assert names[0] == "all-192"


@pytest.mark.parametrize("size", [DESK, TELEPHONE])
def test_the_page_does_not_scroll_sideways_and_the_table_does(page, size):
    show(page, size)
    wide, inner = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == size[0]
    page.execute_script("document.querySelector('details').open = true")
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
    page.execute_script("document.querySelector('details').open = false")
    table = "const t = document.querySelector('#arms'); return [t.parentElement.clientWidth, t.scrollWidth]"
    assert np.less(*page.execute_script(table))
    # The names stay while the figures move.
    moved = page.execute_script(
        "const s = document.querySelector('#arms').parentElement, n = s.querySelector('tbody th');"
        "s.scrollLeft = 200; const x = n.getBoundingClientRect().left - s.getBoundingClientRect().left;"
        "s.scrollLeft = 0; return x"
    )
    assert 0 <= moved <= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, TELEPHONE])
def test_text_stands_out_from_what_is_behind_it(page, size, scheme):
    show(page, size, scheme)
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in ("p, li, dt, dd, h1, h2, h3, figcaption, pre, summary", "th, td, small, button", "svg text"):
        found = page.execute_script(CONTRAST, selector)
        assert len(found) > 10
        assert min(found) >= 4.5, selector


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_stand_out_from_the_page(page, scheme):
    show(page, DESK, scheme)
    drawn = """
    return [...new Set([...document.querySelectorAll('#channels svg use')].map(u => getComputedStyle(u).stroke))]
    .filter(f => f !== 'none')"""
    colours = page.execute_script(drawn)
    assert len(colours) >= 6
    luminance = []
    for colour in [*colours, page.execute_script("return getComputedStyle(document.body).backgroundColor")]:
        parts = np.array([float(part) for part in colour[4:-1].split(",")]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        luminance.append(linear @ [0.2126, 0.7152, 0.0722])
    for one in luminance[:-1]:
        low, high = sorted([one, luminance[-1]])
        assert (high + 0.05) / (low + 0.05) >= 3
