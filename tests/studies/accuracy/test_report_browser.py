"""The report in Chromium: no network, readable figures and texts in light and dark, sortable table, narrow screens."""

import itertools
import json

import numpy as np
import pytest

from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.studies.accuracy.report.report import write_report
from dctnet.studies.rows import write_rows
from tests.browser import DESKTOP, PHONE, check_contrast, check_that_nothing_is_loaded, contrasts, emulate, open_browser
from tests.simulated_rows import make_benchmark, ranking_text

pytestmark = pytest.mark.slow
VISIBLE_FIGURES = "[...document.querySelectorAll('figure svg')].filter(s => s.getClientRects().length)"


@pytest.fixture(scope="module")
def browser():
    driver = open_browser()
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The page of a simulated benchmark."""
    out = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    write_rows(out / "rows.csv", make_benchmark())
    (out / "ranking.json").write_text(ranking_text(rng))
    (out / "energy.json").write_text(json.dumps({"variance": rng.lognormal(3, 2, NUM_CHANNELS).tolist()}))
    (out / "failures.csv").write_text(f"zigzag-6-s0,2026-01-02T03:04:05Z,{'/long/path' * 30}\n")
    browser.get(write_report(out).as_uri())
    return browser


def test_it_opens_without_errors_and_without_the_network(page):
    check_that_nothing_is_loaded(page)
    # The Content-Security-Policy blocks requests of injected code.
    fetched = "const done = arguments[0]; fetch('https://example.org').then(() => done(true), () => done(false))"
    assert page.execute_async_script(fetched) is False
    assert "Content Security Policy" in page.get_log("browser")[0]["message"]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_every_figure_is_drawn_within_the_page_and_none_overlap(page, size):
    emulate(page, size)
    boxes = page.execute_script(
        f"return {VISIBLE_FIGURES}.map(s => {{"
        "const b = s.getBoundingClientRect(); return [b.left, b.top + scrollY, b.right, b.bottom + scrollY,"
        "s.querySelectorAll('path').length, s.querySelectorAll('text').length, s.getBBox().width]})"
    )
    assert len(boxes) == 5
    for left, top, right, bottom, paths, texts, inner in boxes:
        assert 0 <= left < right <= size[0]
        assert right - left > 0.85 * min(size[0], 600)
        assert bottom - top > 150
        assert (paths > 20, texts > 8, inner > 250) == (True, True, True)
    assert all(above[3] <= below[1] for above, below in itertools.pairwise(boxes))


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_texts_of_a_figure_are_large_enough_and_do_not_overlap(page, size):
    emulate(page, size)
    figures = page.execute_script(
        f"return {VISIBLE_FIGURES}.map(s =>"
        "[...s.querySelectorAll('text')].map(t => { const b = t.getBoundingClientRect();"
        "return [t.textContent, b.left, b.top, b.right, b.bottom,"
        "parseFloat(getComputedStyle(t).fontSize) * s.getBoundingClientRect().width / s.viewBox.baseVal.width]}))"
    )
    for texts in figures:
        assert min(text[5] for text in texts) >= 9  # CSS pixels on the screen
        for (one, left, top, right, bottom, _), (other, left2, top2, right2, bottom2, _) in itertools.combinations(
            texts, 2
        ):
            # The box of a line is higher than its letters.
            across, along = min(right, right2) - max(left, left2), min(bottom, bottom2) - max(top, top2)
            assert across <= 1 or along <= 4, f"{one!r} and {other!r} overlap"


def column(page, number: int) -> list[list[str]]:
    """Sort key of a column and name of each row, from top to bottom."""
    return page.execute_script(
        "return [...document.querySelectorAll('.sortable tbody tr')].map("
        "r => [r.cells[arguments[0]].dataset.value, r.cells[0].textContent])",
        number,
    )


def test_a_column_header_sorts_by_number_and_again_in_reverse(page):
    emulate(page, DESKTOP)
    heads = "return [...document.querySelectorAll('.sortable thead th')].map(h => "
    names = page.execute_script(f"{heads}h.textContent)")
    orders = f"{heads}h.getAttribute('aria-sort'))"
    assert page.execute_script(orders)[1] == "descending"
    before = {name for _, name in column(page, 0)}
    for title in ("GMAC", "Bytes an image", "Channels", "Minus RGB, matched GMAC", "Top-1, %"):
        number = names.index(title)
        button = page.find_elements("css selector", ".sortable thead button")[number]
        for order, sign in (("ascending", 1), ("descending", -1)):
            # First with the pointer, then with the Enter key.
            page.execute_script("arguments[0].click()", button) if sign == 1 else button.send_keys("\ue007")
            values = [value for value, _ in column(page, number)]
            given = [sign * float(value) for value in values if value]
            assert given == sorted(given)
            assert values[len(given) :] == [""] * (len(values) - len(given))  # cells without a number are last
            assert page.execute_script(orders) == [order if i == number else "none" for i in range(len(names))]
    assert {name for _, name in column(page, 0)} == before


def test_names_are_sorted_by_the_numbers_in_them(page):
    button = page.find_elements("css selector", ".sortable thead button")[0]
    page.execute_script("arguments[0].click()", button)
    names = [name for _, name in column(page, 0)]
    assert names.index("learned-6") < names.index("learned-24")
    assert names[0] == "all-192"


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_only_the_table_scrolls_sideways(page, size):
    emulate(page, size)
    wide, inner = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner == size[0]
    page.execute_script("document.querySelector('details').open = true")
    assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
    page.execute_script("document.querySelector('details').open = false")
    table = "const t = document.querySelector('.sortable'); return [t.parentElement.clientWidth, t.scrollWidth]"
    assert np.less(*page.execute_script(table))
    # The names stay visible.
    moved = page.execute_script(
        "const s = document.querySelector('.sortable').parentElement, n = s.querySelector('tbody th');"
        "s.scrollLeft = 200; const x = n.getBoundingClientRect().left - s.getBoundingClientRect().left;"
        "s.scrollLeft = 0; return x"
    )
    assert 0 <= moved <= 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_texts_and_marks_have_enough_contrast(page, size, scheme):
    emulate(page, size, scheme)
    check_contrast(page, scheme)
    marks = contrasts(page, "#channels svg use")
    assert len(set(marks)) >= 6
    assert min(marks) >= 3
