"""The page, figures and tables of a benchmark's folder."""

import csv
import importlib.util
import json
import re
import shutil

import numpy as np
import pytest
import yaml
from markupsafe import escape

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.studies.accuracy import grid
from dctnet.studies.accuracy.report.arms import format_accuracy, format_difference, group_arms
from dctnet.studies.accuracy.report.report import write_report
from dctnet.studies.accuracy.report.series import SERIES
from dctnet.studies.estimates import Estimate, accuracy, difference
from dctnet.studies.rows import write_rows
from tests.html_page import Page
from tests.simulated_rows import draw_correct, make_arm, make_benchmark, make_row, ranking_text

GRID = {
    "data": {"root": "/some/where/kittens & <cats>"},
    "model": {"backbone": "resnet18", "weights": None},
    "trainer": {"precision": "bf16-mixed"},
    "evaluate": ["val", "test"],
    "ranking": {"seeds": [0, 1], "mask": None},
}


def report(out, rows, **files) -> Page:
    """Writes rows and other files (``grid_yaml`` is ``grid.yaml``) and parses the page made from them."""
    out.mkdir(exist_ok=True)
    write_rows(out / "rows.csv", rows)
    for name, text in files.items():
        (out / name.replace("_", ".")).write_text(text)
    return Page(write_report(out).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """A folder with every file that a report reads, and its page."""
    out = tmp_path_factory.mktemp("report") / "kittens"
    rng = np.random.default_rng(0)
    page = report(
        out,
        make_benchmark(),
        grid_yaml=yaml.safe_dump(GRID),
        ranking_json=ranking_text(rng),
        energy_json=json.dumps({"variance": rng.lognormal(3, 2, NUM_CHANNELS).tolist()}),
        failures_csv="zigzag-6-s0,2026-01-02T03:04:05Z,status 1: <script>alert(1)</script>\n"
        "learned-6-s1,2026-01-02T03:04:06Z,late\n",
    )
    return out, page


@pytest.fixture
def without_figures(monkeypatch):
    """For tests of the text: most of the time goes into the figures."""
    module = "dctnet.studies.accuracy.report.report"
    monkeypatch.setattr(f"{module}.render_plots", lambda plots, _: {plot.name: plot.alternative for plot in plots})


def numbers(out, name: str) -> list[dict[str, str]]:
    with open(out / "figures" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_the_accuracies_and_differences_of_every_arm(benchmark):
    rows = make_benchmark()
    base = [row for row in rows if row.arm == "rgb_matched"]
    for name in {row.arm for row in rows}:
        own = [row for row in rows if row.arm == name]
        cells = benchmark[1].row(name)
        assert cells[1] == format_accuracy(accuracy(own)).replace("\xa0%", "").replace("\xa0", " ")
        if name != "rgb_matched":
            assert cells[2].startswith(format_difference(difference(own, base)))
        assert cells[4].split() == [f"{100 * row.top1:.1f}" for row in own]
        assert cells[-1] == "3"


def test_the_figures_show_the_same_numbers(benchmark):
    out, rows = benchmark[0], make_benchmark()
    base = [row for row in rows if row.arm == "rgb_matched"]
    for line in numbers(out, "differences"):
        if line["baseline"] == "rgb_matched":
            found = difference([row for row in rows if row.arm == line["arm"]], base)
            assert float(line["difference"]) == pytest.approx(found.value, rel=1e-5)
            assert (line["verdict"] == "not distinguishable") == (found.low <= 0 <= found.high)
    drawn = {line["arm"]: float(line["top1"]) for line in numbers(out, "accuracy_channels")}
    assert drawn["learned-24"] == pytest.approx(accuracy([r for r in rows if r.arm == "learned-24"]).value, rel=1e-5)
    together = accuracy([row for row in rows if row.choose == "random"])
    assert drawn["all draws"] == pytest.approx(together.value, rel=1e-5)


def test_no_cheaper_arm_is_as_accurate_as_an_arm_of_the_pareto_front(benchmark):
    lines = numbers(benchmark[0], "accuracy_bytes")
    points = [(float(line["kilobytes an image, before compression"]), -float(line["top1"])) for line in lines]
    for line, point in zip(lines, points, strict=True):
        beaten = any(o != point and o[0] <= point[0] and o[1] <= point[1] for o in points)
        assert (line["on_front"] == "yes") == (not beaten), line


def test_the_page_states_data_uncertainty_provenance_and_commands(benchmark):
    text = " ".join(benchmark[1].text.split())
    for expected in (
        "trains resnet18 classifiers on the data set kittens & <cats>, from random weights, 24 epochs each, "
        "crops of 224 px, seeds 0, 1, 2",
        "the same 200 images of val and test",
        "selected from 8 arms",
        "minus random-24 (mean of 2 random selections)",
        "about one in twenty",
        "torch 2.15.0",
        "one core of an x86-64",
        "rows.csv",
        "images.csv val test",
        "choose: learned",
    ):
        assert expected in text, expected
    assert importlib.util.find_spec(re.search(r"python -m (\S+)", text)[1])


def test_failures_are_listed(benchmark):
    page = benchmark[1]
    assert page.row("zigzag-6-s0")[2:] == ["status 1: <script>alert(1)</script>", "missing above"]
    assert page.row("learned-6-s1")[2:] == ["late", "finished later"]


def test_untrusted_text_is_escaped(tmp_path):
    bad = '"><script>alert(1)</script>&amp;$x$ {{ 7 * 7 }}\x1b\nnew {line}'
    rows = [
        *make_arm(f"learned-24+{bad}", ["1101", "0111"], label=bad, device=bad, versions=bad, finished=bad, fed=bad),
        *make_arm("rgb_matched", ["1001", "0011"], choose="rgb_matched", channels=0),
        *make_arm(bad, ["1001", "0011"], choose=bad),
        make_row("=1+1", 0, "0101", choose="energy"),
    ]
    hostile = {**GRID, "data": {"root": f"/x/{bad}"}, "model": {"backbone": bad}, "evaluate": [bad], bad: bad}
    page = report(tmp_path, rows, grid_yaml=yaml.safe_dump(hostile), failures_csv=f'a,b,"{bad.replace(chr(34), "")}"\n')
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
    assert page.row(bad)[0] == bad
    assert str(escape(bad)) in page.raw
    assert "=1+1" in [line["arm"] for line in numbers(tmp_path, "accuracy_bytes")]


def test_the_same_files_make_the_same_bytes(benchmark, tmp_path):
    out = tmp_path / "elsewhere"
    shutil.copytree(benchmark[0], out, ignore=shutil.ignore_patterns("report.html", "figures"))
    write_report(out)
    before = {p.relative_to(benchmark[0]): p.read_bytes() for p in benchmark[0].rglob("*") if p.is_file()}
    assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_the_page_loads_nothing_and_its_ids_are_unique(benchmark):
    tags = benchmark[1].tags
    policy = next(attrs["content"] for tag, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    for _, attrs in tags:
        for key in ("src", "href", "xlink:href", "action", "data"):
            assert attrs.get(key, "#").startswith(("#", "data:")), attrs
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", benchmark[1].raw)) <= set(ids)
    assert {attrs["href"][1:] for _, attrs in tags if attrs.get("href", "").startswith("#")} <= set(ids)
    pictures = [attrs for tag, attrs in tags if tag == "svg"]
    assert len(pictures) == 5
    assert all(len(attrs["aria-label"]) > 60 for attrs in pictures)


def test_without_the_baseline_there_are_no_differences(tmp_path, without_figures):
    rows = [row for row in make_benchmark(1, 50) if row.choose in ("learned", "energy")]
    page = report(tmp_path, rows)
    assert "rgb_matched (RGB at matched GMAC) has no finished run" in page.text
    assert "There are no differences" in page.text
    assert "Paired differences in" not in page.text
    assert page.row("learned-6")[1]


def test_the_limits_of_one_seed_are_stated(tmp_path, without_figures):
    rows = [row for row in make_benchmark(1, 50) if row.arm in ("learned-24", "rgb_matched")]
    text = " ".join(report(tmp_path, rows).text.split())
    assert "over 50 images and one seed. With one seed, the interval does not cover" in text
    assert "All of them have one seed" in text


def test_one_run_is_enough_and_costs_can_be_zero(tmp_path):
    page = report(tmp_path, [make_row("rgb_matched", 0, "1111", choose="rgb_matched", channels=0, gmac=0.0, bytes=0)])
    assert "No arm has 24 channels or fewer" in page.text
    assert page.row("rgb_matched")[1] == "100.0 [100.0, 100.0]"


def test_unreadable_images_are_counted_and_left_out(tmp_path, without_figures):
    rows = [
        *make_arm("learned-24", ["11-01", "0110-"]),
        make_row("rgb_matched", 0, "-1011", choose="rgb_matched", channels=0),
    ]
    page = report(tmp_path, rows)
    assert "the same 5 images (3 of them could not be read" in page.text
    assert page.row("learned-24")[1].startswith(f"{accuracy(rows[:2]).value:.1f}")


def test_thirty_arms_are_drawn_and_listed(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for number in range(30):
        correct = draw_correct(rng, np.full(40, 0.4 + number / 60), 1)
        label = f"variant_of_a_rather_long_name_{number}" if number % 3 == 0 else ""
        name = f"learned-{3 + number}" + f"+{label}" * bool(label)
        rows += make_arm(name, correct, channels=3 + number, label=label, bytes=100 * 2 ** (number // 4))
    rows += make_arm("rgb_matched", draw_correct(rng, np.full(40, 0.8), 1), choose="rgb_matched", channels=0)
    page = report(tmp_path, rows)
    assert all(page.row(row.arm) for row in rows)
    assert len(numbers(tmp_path, "differences")) == 30


def test_a_variant_is_compared_with_the_same_variant_of_the_baseline():
    rows = [
        *make_arm("rgb_matched", ["1100"], choose="rgb_matched", channels=0),
        *make_arm("rgb_matched+wide", ["1111"], choose="rgb_matched", channels=0, label="wide"),
        *make_arm("learned-24+wide", ["1110"], label="wide"),
        *make_arm("learned-24+long", ["1110"], label="long"),
    ]
    found = {arm.name: arm.against["rgb_matched"].value for arm in group_arms(rows) if arm.against}
    assert found == {"learned-24+wide": -25, "learned-24+long": 25}


def test_the_ranking_comes_from_the_mask_of_the_grid_and_goes_with_it(tmp_path):
    write_mask(tmp_path / "given.json", ChannelSet("some", (3,)), [0.25] * NUM_CHANNELS)
    options = {**GRID, "ranking": {"mask": str(tmp_path / "given.json")}}
    report(tmp_path, make_arm("learned-24", ["1101"]), grid_yaml=yaml.safe_dump(options))
    assert numbers(tmp_path, "ranking")[191]["keep_probability"] == "0.25"
    (tmp_path / "given.json").unlink()
    assert "No gate has ranked the channels" in write_report(tmp_path).read_text()
    assert not list(tmp_path.glob("figures/ranking.*"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("grid.yaml", "a: [", "not valid YAML, line 1"),
        ("grid.yaml", "- 1", "got list"),
        ("energy.json", "{", "cannot be read as JSON"),
        ("energy.json", '{"variance": [1, 2]}', "variance must be a list of 192 numbers"),
        ("energy.json", json.dumps({"variance": [1] * 191 + [-1]}), "variance[191] must be a finite number"),
        ("ranking.json", "{}", "is missing"),
    ],
)
def test_a_damaged_file_is_reported_in_one_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        report(tmp_path, make_arm("learned-24", ["1101"]))
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_a_folder_without_rows_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"rows\.csv: no finished run"):
        write_report(tmp_path)


def test_every_method_of_the_grid_has_a_name_and_a_style():
    assert {*grid.SELECTION_METHODS, *grid.PIXEL_NETWORKS, "all"} == set(SERIES)
    styles = [(series.colour, series.marker, series.line) for series in SERIES.values()]
    assert len(set(styles)) == len(styles)


def test_a_difference_shows_on_which_side_of_zero_its_ends_are():
    assert format_difference(Estimate(2.04, 0.02, 4.1, 3, 100)).replace("\xa0", " ") == "+2.0 [+0.02, +4.10]"
    assert format_difference(Estimate(-0.01, -1.2, 1.2, 3, 100)).replace("\xa0", " ") == "0.0 [−1.2, +1.2]"
