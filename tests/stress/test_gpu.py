"""The measurements on a GPU, in small on a CPU."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from torch import nn

from tests.commands import run
from tests.conftest import make_photos
from tests.stress.gpu import paths, seeds
from tests.stress.gpu.bench import ROOT, Bench, Cell, NotRun, run_part
from tests.stress.gpu.command import PARTS, main, table

pytestmark = pytest.mark.usefixtures("small_backbones")
CELLS = [(part, cell) for part, cells in PARTS.items() for cell in cells]


def make_bench(folder: Path, data: Path | None = None, seconds: float = 1000) -> Bench:
    out, scratch = folder / "out", folder / "scratch"
    for each in (out, scratch):
        each.mkdir(exist_ok=True)
    recipe = ROOT / "configs" / "benchmark_imagenette_small.yaml"
    return Bench("cpu", True, data, recipe, out, scratch, time.monotonic() + seconds)


def splits(root: Path) -> Path:
    """Small photographs with a test split."""
    make_photos(root, 12, 6)
    shutil.copytree(root / "val", root / "test")
    return root


def test_figures_of_the_device_agree_with_the_cpu(tmp_path):
    bench = make_bench(tmp_path)
    assert paths.dct(bench)["float32"]["relative"] < 1e-6
    assert paths.gates(bench)["dynamic"]["equal masks"] == "1.0000"
    assert paths.data_dct(bench)["relative"] < 1e-5
    assert paths.residency(bench)["train"]["largest"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("part", ["paths", "throughput", "steps", "accuracy"])
def test_all_measurements_run_on_a_cpu(tmp_path, monkeypatch, part):
    compiled = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled(self, backend="eager"))  # needs no C++ compiler
    folders = ["--out", str(tmp_path / "out"), "--scratch", str(tmp_path / "scratch")]
    data = ["--data", str(splits(tmp_path / "photos"))] if part == "accuracy" else []
    assert main(["--device", "cpu", "--small", "--parts", part, *folders, *data]) == 0
    cells = json.loads((tmp_path / "out" / f"{part}.json").read_text())["cells"]
    assert [name for name, found in cells.items() if "seconds" in found] == [cell.name for cell in PARTS[part]]
    assert "top-1" in table(tmp_path / "out") or "images/s" in table(tmp_path / "out")


@pytest.mark.slow
def test_a_seed_gives_rows_that_report_reads_and_continues_without_the_scratch_folder(tmp_path, monkeypatch):
    bench = make_bench(tmp_path, splits(tmp_path / "photos"))
    assert seeds.run_seed(bench, 0).keys() == {"rgb_matched", "square-24"}
    assert run("report", bench.out / "seeds") == 0
    rows = (bench.out / "seeds" / "rows.csv").read_bytes()
    shutil.rmtree(bench.scratch / "seeds")
    seeds.run_seed(bench, 0)
    assert (bench.out / "seeds" / "rows.csv").read_bytes() == rows


def test_a_benchmark_is_stopped_at_the_end_of_the_time(tmp_path):
    with pytest.raises(NotRun, match="0 arms are complete"):
        seeds.run_seed(make_bench(tmp_path, splits(tmp_path / "photos"), seconds=21), 0)


def test_a_repeated_run_makes_what_is_missing_or_failed(tmp_path, capsys):
    calls = []

    def measure(bench, name, wrong=False):
        calls.append(name)
        if wrong and len(calls) < 4:
            raise ValueError("no such device")
        return {"images/s": 3}

    def needs_data(bench):
        return {"root": str(bench.photographs())}

    cells = [
        Cell("wrong", 1, measure, {"name": "wrong", "wrong": True}),
        Cell("right", 1, measure, {"name": "right"}),
        Cell("long", 2000, measure, {"name": "long"}),
        Cell("data", 1, needs_data),
    ]
    assert run_part(make_bench(tmp_path), "paths", cells) == 1
    assert re.sub(r"\d+ s were", "N s were", capsys.readouterr().out) == (
        "paths, wrong: failed: ValueError: no such device\n"
        "paths, right: images/s 3\n"
        "paths, long: not run: takes 2000 s, N s were left\n"
        "paths, data: not run: needs --data\n"
    )
    assert run_part(make_bench(tmp_path, seconds=3000), "paths", cells) == 0
    assert calls == ["wrong", "right", "long", "wrong"]
    assert json.loads((tmp_path / "out" / "paths.json").read_text())["cells"]["right"]["images/s"] == 3


def test_the_page_has_all_measurements_and_says_which_were_not_made(tmp_path):
    page, rows = (ROOT / "docs" / "gpu.md").read_text(), re.compile(r"^\| (.*?) \| (.*?) \| .*\|$", re.MULTILINE)
    assert [name for name, _ in rows.findall(page) if name not in ("measurement", "---")] == [c.name for _, c in CELLS]
    empty = dict(rows.findall(table(tmp_path)))
    assert {empty[cell.name] for _, cell in CELLS} == {"not run"}


def test_divided_photographs_are_used_when_all_parts_are_there(tmp_path, photos):
    assert main(["--prepare", str(photos), "--out", str(tmp_path / "parts"), "--mib", "0.01"]) == 0
    parts, whole = sorted((tmp_path / "parts").iterdir()), tmp_path / "whole"
    assert len(parts) > 2
    for part in parts:
        sizes = [file.stat().st_size for file in part.rglob("*.jpg")]
        assert len(sizes) == 1 or sum(sizes) <= 0.01 * 2**20
    for part in parts[:-1]:
        shutil.copytree(part, whole, dirs_exist_ok=True)
    with pytest.raises(NotRun, match="add the other parts"):
        make_bench(tmp_path, whole).photographs()
    shutil.copytree(parts[-1], whole, dirs_exist_ok=True)
    assert make_bench(tmp_path, whole).photographs() == whole
    files = [file.relative_to(photos) for file in photos.rglob("*.jpg")]
    assert all((whole / file).read_bytes() == (photos / file).read_bytes() for file in files)
