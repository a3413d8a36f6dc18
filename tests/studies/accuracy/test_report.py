import csv
import html
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.studies.accuracy import grid
from dctnet.studies.accuracy.report.figures.series import SERIES
from dctnet.studies.accuracy.report.report import write_report
from dctnet.studies.accuracy.report.wording import difference_with_interval, with_interval
from dctnet.studies.bootstrap import accuracy, difference
from dctnet.studies.rows import write_rows
from tests.simulated_rows import draw_correct, make_arm, make_benchmark, make_row, ranking_text

GRID = {
    "data": {"root": "/some/where/kittens & <cats>"},
    "model": {"backbone": "resnet18", "weights": None},
    "trainer": {"precision": "bf16-mixed"},
    "evaluate": ["val", "test"],
    "ranking": {"seeds": [0, 1], "mask": None},
}


class Page(HTMLParser):
    """A page's elements and text, as a browser would see them without its script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.rows and self.rows[-1] and self.tags[-1][0] in ("td", "th", "b", "small", "span", "wbr", "button"):
            self.rows[-1][-1] += data

    def line(self, name: str) -> list[str]:
        """The cells of an arm's row."""
        row = next(row for row in self.rows if row[0].strip() == name)
        return [cell.strip() for cell in row]


def report(out, rows, **files) -> Page:
    """Writes rows and further files (name with _ for the dot) and reads the page made of them."""
    out.mkdir(exist_ok=True)
    write_rows(out / "rows.csv", rows)
    for name, text in files.items():
        (out / name.replace("_", ".")).write_text(text)
    return Page(write_report(out).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """A folder with everything that a report knows of, and its page."""
    out = tmp_path_factory.mktemp("report") / "kittens"
    rng = np.random.default_rng(0)
    page = report(
        out,
        make_benchmark(),
        grid_yaml=yaml.safe_dump(GRID),
        ranking_json=ranking_text(rng),
        energy_json=json.dumps({"variance": rng.lognormal(3, 2, NUM_CHANNELS).tolist()}),
        failures_csv="patches_dct-s0,2026-01-02T03:04:05Z,status 1: <script>alert(1)</script>\n"
        "learned-6-s1,2026-01-02T03:04:06Z,late\n",
    )
    return out, page


def numbers(out, name: str) -> list[dict[str, str]]:
    with open(out / "figures" / f"{name}.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_arm_has_a_row_with_the_figures_of_statistics(benchmark):
    rows = make_benchmark()
    page = benchmark[1]
    base = [row for row in rows if row.arm == "rgb_matched"]
    for name in {row.arm for row in rows}:
        own = [row for row in rows if row.arm == name]
        cells = page.line(name)
        assert cells[1] == with_interval(accuracy(own)).replace("\xa0%", "").replace("\xa0", " ")
        if name != "rgb_matched":
            assert cells[2].startswith(difference_with_interval(difference(own, base)))
        assert cells[4].split() == [f"{100 * row.top1:.1f}" for row in own]
        assert cells[-1] == "3"


def test_pictures_show_the_figures_of_statistics(benchmark):
    out, rows = benchmark[0], make_benchmark()
    base = [row for row in rows if row.arm == "patches"]
    for line in numbers(out, "differences"):
        if line["baseline"] == "patches":
            found = difference([row for row in rows if row.arm == line["arm"]], base)
            assert float(line["difference"]) == pytest.approx(found.value, rel=1e-5)
            assert (line["verdict"] == "not distinguishable") == (found.low <= 0 <= found.high)
    drawn = {line["arm"]: float(line["top1"]) for line in numbers(out, "accuracy_channels")}
    assert drawn["learned-24"] == pytest.approx(accuracy([r for r in rows if r.arm == "learned-24"]).value, rel=1e-5)
    together = accuracy([row for row in rows if row.choose == "random"])
    assert drawn["all draws"] == pytest.approx(together.value, rel=1e-5)


def test_the_front_is_what_nothing_beats(benchmark):
    lines = numbers(benchmark[0], "accuracy_bytes")
    cost = "kilobytes an image, before compression"
    points = [(float(line[cost]), -float(line["top1"])) for line in lines]
    for line, point in zip(lines, points, strict=True):
        beaten = any(o != point and o[0] <= point[0] and o[1] <= point[1] for o in points)
        assert (line["on_front"] == "yes") == (not beaten), line


def test_the_page_says_what_was_done_and_how_sure_it_is(benchmark):
    text = " ".join(benchmark[1].text.split())
    for said in (
        "trained resnet18 classifiers on the data set kittens & <cats>, from random weights, 24 epochs each, "
        "crops of 224 px, seeds 0, 1, 2",
        "the same 200 images of val and test",
        "best of 8 arms",
        "minus random-24, 2 draws together",
        "about one in twenty",
        "torch 2.15.0",
        "one core of an x86-64",
        "rows.csv",
        "images.csv val test",
        "choose: learned",
    ):
        assert said in text, said


def test_failures_are_listed_as_text(benchmark):
    page = benchmark[1]
    assert page.line("patches_dct-s0")[2:] == ["status 1: <script>alert(1)</script>", "missing above"]
    assert page.line("learned-6-s1")[2:] == ["late", "finished later"]


def test_nothing_from_outside_is_taken_for_html(tmp_path):
    bad = '"><script>alert(1)</script>&amp;$x$\x1b\nnew {line}'
    rows = [
        *make_arm(f"learned-24+{bad}", ["1101", "0111"], label=bad, device=bad, versions=bad, finished=bad, fed=bad),
        *make_arm("rgb_matched", ["1001", "0011"], choose="rgb_matched", channels=0),
        *make_arm(bad, ["1001", "0011"], choose=bad),
        make_row("=1+1", 0, "0101", choose="energy"),
    ]
    hostile = {**GRID, "data": {"root": f"/x/{bad}"}, "model": {"backbone": bad}, "evaluate": [bad], bad: bad}
    page = report(tmp_path, rows, grid_yaml=yaml.safe_dump(hostile), failures_csv=f'a,b,"{bad.replace(chr(34), "")}"\n')
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not any("script" in str(value) for tag, attrs in page.tags for key, value in attrs.items() if key == "src")
    assert page.line(bad)[0] == bad
    text = (tmp_path / "report.html").read_text()
    assert html.escape(bad) in text
    with open(tmp_path / "figures" / "accuracy_bytes.csv", newline="") as file:
        names = [line[0] for line in csv.reader(file)]
    assert "=1+1" in names


def test_the_same_files_make_the_same_bytes(benchmark, tmp_path):
    out = tmp_path / "elsewhere"
    shutil.copytree(benchmark[0], out, ignore=shutil.ignore_patterns("report.html", "figures"))
    write_report(out)
    before = {p.relative_to(benchmark[0]): p.read_bytes() for p in benchmark[0].rglob("*") if p.is_file()}
    assert {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_the_page_fetches_nothing_and_its_ids_are_its_own(benchmark):
    tags = benchmark[1].tags
    policy = next(attrs["content"] for tag, attrs in tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    for _, attrs in tags:
        for key in ("src", "href", "xlink:href", "action", "data"):
            assert attrs.get(key, "#").startswith(("#", "data:")), attrs
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    text = (benchmark[0] / "report.html").read_text()
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(ids)
    assert {attrs["href"][1:] for _, attrs in tags if attrs.get("href", "").startswith("#")} <= set(ids)
    pictures = [attrs for tag, attrs in tags if tag == "svg"]
    assert len(pictures) == 10  # five, wide and narrow
    assert all(len(attrs["aria-label"]) > 60 for attrs in pictures)


def test_without_the_baseline_differences_to_it_are_left_out(tmp_path):
    rows = [row for row in make_benchmark(1, 50) if row.choose in ("learned", "energy")]
    page = report(tmp_path, rows)
    assert "rgb_matched (RGB at matched GMAC) has no finished run" in page.text
    assert "there are no differences" in page.text
    assert not (tmp_path / "figures" / "differences.png").exists()
    assert page.line("learned-6")[1]


def test_one_seed_is_said_to_say_nothing_of_another_training(tmp_path):
    rows = [row for row in make_benchmark(1, 50) if row.arm in ("learned-24", "rgb_matched")]
    page = report(tmp_path, rows)
    assert "over 50 images and one seed. With one seed, that says nothing of how another" in page.text
    assert "All of them rest on one seed" in page.text


def test_one_arm_and_one_run_are_enough(tmp_path):
    page = report(tmp_path, [make_row("rgb_matched", 0, "1111", choose="rgb_matched", channels=0, gmac=0.0, bytes=0)])
    assert "No arm has 24 channels or fewer" in page.text
    assert page.line("rgb_matched")[1] == "100.0 [100.0, 100.0]"


def test_unreadable_images_are_counted_and_left_out(tmp_path):
    rows = [
        *make_arm("learned-24", ["11-01", "0110-"]),
        make_row("rgb_matched", 0, "-1011", choose="rgb_matched", channels=0),
    ]
    page = report(tmp_path, rows)
    assert "the same 5 images (3 of them could not be read by every run" in page.text
    assert page.line("learned-24")[1].startswith(f"{accuracy(rows[:2]).value:.1f}")


def test_sixty_arms_are_drawn_and_listed(tmp_path):
    rng = np.random.default_rng(1)
    rows = []
    for number in range(60):
        correct = draw_correct(rng, np.full(40, 0.4 + number / 120), 1)
        label = f"variant_of_a_rather_long_name_{number}" if number % 3 == 0 else ""
        name = f"learned-{3 + number}" + f"+{label}" * bool(label)
        rows += make_arm(name, correct, channels=3 + number, label=label, bytes=100 * 2 ** (number // 8))
    rows += make_arm("rgb_matched", draw_correct(rng, np.full(40, 0.8), 1), choose="rgb_matched", channels=0)
    page = report(tmp_path, rows)
    assert all(page.line(row.arm) for row in rows)
    assert len(numbers(tmp_path, "differences")) == 60


def test_a_ranking_that_the_grid_names_is_drawn(tmp_path):
    write_mask(tmp_path / "given.json", ChannelSet("some", (3,)), [0.25] * NUM_CHANNELS)
    options = {**GRID, "ranking": {"mask": str(tmp_path / "given.json")}}
    report(tmp_path, make_arm("learned-24", ["1101"]), grid_yaml=yaml.safe_dump(options))
    assert numbers(tmp_path, "ranking")[191]["keep_probability"] == "0.25"


def test_a_variant_is_compared_with_its_own_variant_of_the_baseline(tmp_path):
    rows = [
        *make_arm("rgb_matched", ["1100"], choose="rgb_matched", channels=0),
        *make_arm("rgb_matched+wide", ["1111"], choose="rgb_matched", channels=0, label="wide"),
        *make_arm("learned-24+wide", ["1110"], label="wide"),
        *make_arm("learned-24+long", ["1110"], label="long"),
    ]
    report(tmp_path, rows)
    found = {line["arm"]: float(line["difference"]) for line in numbers(tmp_path, "differences")}
    assert found == {"learned-24+wide": -25, "learned-24+long": 25}


def test_pictures_of_an_earlier_report_go_with_what_they_showed(tmp_path):
    energy = json.dumps({"variance": [1.0] * NUM_CHANNELS})
    report(tmp_path, make_arm("energy-24", ["1101"], choose="energy"), energy_json=energy)
    assert (tmp_path / "figures" / "ranking.png").exists()
    (tmp_path / "energy.json").unlink()
    page = Page(write_report(tmp_path).read_text())
    assert "No gate has ranked the channels" in page.text
    assert not (tmp_path / "figures" / "ranking.png").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("grid.yaml", "a: [", "cannot be read as YAML"),
        ("grid.yaml", "- 1", "wanted options by name, got list"),
        ("energy.json", "{", "cannot be read as JSON"),
        ("energy.json", '{"variance": [1, 2]}', "variance must be a list of 192 numbers"),
        ("energy.json", json.dumps({"variance": [1] * 191 + [-1]}), "variance[191] must be a number in 0…inf, got -1"),
        ("ranking.json", "{}", "is missing"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, name, text, said):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=re.escape(said)) as error:
        report(tmp_path, make_arm("learned-24", ["1101"]))
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "report.html").exists()


def test_no_rows_are_nothing_to_report(tmp_path):
    with pytest.raises(UserError, match=r"rows\.csv: no finished run"):
        write_report(tmp_path)


def test_every_way_of_the_grid_has_a_name_and_a_look():
    assert {*grid.WAYS, *grid.PIXELS, "all"} == set(SERIES)
    looks = [(s.colour, s.marker, s.line) for s in SERIES.values()]
    assert len(set(looks)) == len(looks)
