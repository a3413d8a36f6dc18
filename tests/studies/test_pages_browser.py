"""The pages of explain, evaluation and laboratory in Chromium, on a desk and on a phone, in light and dark."""

import pytest

from dctnet.studies.laboratory.sensitivity.command import sensitivity
from tests.browser import DESKTOP, PHONE, check_contrast, check_that_nothing_is_loaded, emulate, open_browser
from tests.commands import CKPT, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_backbones")]


def make_page(kind, ckpt, photo, out):
    if kind == "explain":
        assert run("explain", ckpt, photo, "--out", out / "report.html") == 0
    elif kind == "evaluation":
        assert run("validate", "--ckpt_path", ckpt, "--out", out) == 0
    else:
        sensitivity(str(ckpt), str(out), images=4, channel_images=3)
    return out / "report.html"


@pytest.mark.parametrize("kind", ["explain", "evaluation", "sensitivity"])
def test_a_page_needs_no_other_file_fits_the_screen_and_can_be_read(kind, gated_run, tmp_path, monkeypatch):
    monkeypatch.chdir(gated_run)
    page = open_browser()
    try:
        page.get(make_page(kind, gated_run / CKPT, "photos/val/red/0.jpg", tmp_path).as_uri())
        check_that_nothing_is_loaded(page)
        page.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
        for size in (DESKTOP, PHONE):
            for scheme in ("light", "dark"):
                emulate(page, size, scheme)
                assert page.execute_script("return document.documentElement.scrollWidth") <= size[0]
                check_contrast(page, scheme)
        blank = "return [...document.querySelectorAll('main img')].filter(i => !i.naturalWidth).length"
        assert page.execute_script(blank) == 0
    finally:
        page.quit()
