"""The page across networks: planted reliance on a band is found, and nothing else; what cannot be compared is said."""

import csv
import json

import numpy as np
import pytest

from dctnet.frequency.bands import octave_bands
from dctnet.studies.laboratory.sensitivity.answers import COLUMNS
from dctnet.studies.laboratory.sensitivity.bands import NOISE
from dctnet.studies.laboratory.sensitivity.channels import CODINGS
from dctnet.studies.laboratory.sensitivity.summary.compare import compare
from dctnet.studies.laboratory.sensitivity.summary.groups import Span, read_groups
from dctnet.studies.laboratory.study import ROWS, STUDY
from tests.commands import fails, run

IMAGES = 120


def write_study(folder, size, seed, cost, photographs="one", **options):
    """A finished study in which removing a band costs a share of the right answers, by its number."""
    rng = np.random.default_rng((seed, len(folder.name)))
    hard = np.random.default_rng(0).random(IMAGES)  # images that are hard for all networks

    def row(part, item, level=0.0, share=0.9, **more):
        right = "".join("r" if each < share else "w" for each in 0.7 * hard + 0.3 * rng.random(IMAGES))
        accuracy = right.count("r") / IMAGES
        given = {"unit": part, "part": part, "item": item, "level": level, "images": IMAGES, "accuracy": accuracy}
        return {**dict.fromkeys(COLUMNS, ""), **given, "right": right, "value": 0.0, "low": 0, "high": 0, **more}

    rows = [row("clean", item) for item in ("all", "noise", "channels")]
    for place, band in enumerate(octave_bands(size)):
        left = 0.9 - cost.get(place, 0.0)
        rows += [row("removed", str(band), band.center, left), row("only", str(band), band.center, 0.2)]
        rows += [row("noise", str(band), rms, 0.9 - 4 * rms) for rms in NOISE]
    rows += [row("coding", name, share=0.4) for name in CODINGS]
    rows += [row("layers", f"conv{n}", n / 4, value=0.5 - 0.1 * n) for n in range(4)]
    rows.append(row("attention", "difference", value=0.2, low=0.1, high=0.3))
    if photographs:
        rows.append(row("photographs", photographs))
    folder.mkdir(parents=True)
    content = {"study": "sensitivity", "options": {"net": folder.name, "image_size": size, **options}, "inputs": {}}
    (folder / STUDY).write_text(json.dumps(content))
    with open(folder / ROWS, "w", newline="") as file:
        writer = csv.DictWriter(file, ["unit", *COLUMNS])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def write_pair(folder, seeds=3, **options):
    """RGB at 64 px, and a network on channels at 128 px that relies more on the band of 8 to 16 cycles."""
    return [
        write_study(folder / f"{name}-s{seed}", size, seed, cost, **options)
        for seed in range(seeds)
        for name, size, cost in (("rgb", 64, {1: 0.1, 2: 0.1}), ("dct", 128, {1: 0.1, 2: 0.1, 3: 0.5}))
    ]


def test_bands_of_different_image_sizes_are_the_same_cycles_per_image(tmp_path):
    rgb, dct = read_groups(write_pair(tmp_path))
    assert [group.name for group in (rgb, dct)] == ["rgb", "dct"]  # the others are compared with RGB
    assert list(rgb.bands) == [Span(0, 4), Span(4, 8), Span(8, 16), Span(16, 32)]
    assert list(dct.bands) == [*rgb.bands, Span(32, 64)]


def test_a_planted_reliance_is_found_in_its_band_and_nowhere_else(tmp_path):
    rgb, dct = read_groups(write_pair(tmp_path))
    found = compare(dct, rgb)
    assert [(each.kind, each.span) for each in found.shown] == [("removed", Span(16, 32))]
    assert found.shown[0].interval.high < -20
    assert "Yes. Without 16–32 cycles per image, dct loses" in found.verdict
    assert "points more." in found.verdict
    assert found.unmatched == [Span(32, 64)]
    opposite = compare(rgb, dct)
    assert opposite.shown[0].interval.low > 20
    assert "points less." in opposite.verdict


def test_equal_networks_are_not_shown_to_differ(tmp_path):
    folders = [
        write_study(tmp_path / f"{name}-s{seed}", 64, seed, {1: 0.2, 2: 0.4})
        for name in ("rgb", "other")
        for seed in range(3)
    ]
    assert "Not shown: none of the 8 differences excludes 0." in compare(*read_groups(folders)).verdict


def test_the_page_answers_with_seeds_figures_and_tables(tmp_path):
    write_pair(tmp_path / "studies")
    assert run("report", tmp_path / "studies") == 0
    page = (tmp_path / "studies" / "summary.html").read_text()
    assert "rgb (3 seeds, 64 px), dct (3 seeds, 128 px)" in page
    assert "Does dct rely on other bands than rgb? Yes." in page
    assert "3 seeds against 3 seeds" in page
    assert "Not compared, because not all networks have them: 32–64 cycles" in page
    assert page.count("<svg") == 7
    assert (tmp_path / "studies" / "figures" / "differences-1.csv").exists()


def test_one_seed_speaks_of_one_training_and_rows_without_a_digest_are_read(tmp_path):
    write_pair(tmp_path, seeds=1, photographs=None)
    assert run("report", tmp_path) == 0
    page = (tmp_path / "summary.html").read_text()
    assert "rgb (one seed, 64 px)" in page
    assert "about that one training" in page


def test_one_network_alone_has_a_page(tmp_path):
    write_study(tmp_path / "rgb-s0", 64, 0, {1: 0.3})
    assert run("report", tmp_path) == 0
    assert "removing 4–8 cycles per image costs most" in (tmp_path / "summary.html").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"photographs": "two"}, "measured on different photographs"),
        ({"split": "test"}, "measured with other options"),
    ],
)
def test_studies_that_cannot_be_compared_are_one_line(tmp_path, capsys, change, message):
    write_study(tmp_path / "rgb-s0", 64, 0, {})
    write_study(tmp_path / "rgb-s1", 64, 1, {}, **change)
    assert message in fails(capsys, "report", tmp_path)


def test_an_unfinished_study_and_a_single_folder_are_one_line(tmp_path, capsys):
    folder = write_study(tmp_path / "rgb-s0", 64, 0, {})
    assert "repeat its command" in fails(capsys, "report", folder)
    lines = (folder / ROWS).read_text().splitlines()
    (folder / ROWS).write_text("\n".join(lines[:5]) + "\n")
    assert "an unfinished study" in fails(capsys, "report", tmp_path)
