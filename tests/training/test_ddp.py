"""Two CPU processes find what one finds on the same data: normalisation, metrics, gate statistics."""

import json
import re
import subprocess
import sys

import pytest
import torch
import yaml

from tests.conftest import make_photos
from tests.stress.stop_resume import stopped_and_resumed

CONFIG = {
    "seed_everything": 0,
    "data": {"channels": "square-24", "image_size": 64, "batch_size": 3, "num_workers": 0, "on_error": "skip"},
    "model": {"gate": "dynamic", "keep": 6, "lr": 0.02},
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
}


def run(*args: object) -> subprocess.CompletedProcess[str]:
    """Runs a command in processes of its own, as a launcher needs it."""
    return subprocess.run(
        [sys.executable, "-m", "dctnet", *map(str, args)], capture_output=True, text=True, timeout=300
    )


def dctnet(*args: object) -> str:
    """The same of one that must succeed; returns what it printed."""
    done = run(*args)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same fit by one process and by two; a validation image is spoilt."""
    folder = tmp_path_factory.mktemp("ddp")
    make_photos(folder / "photos", 12, 5)
    (folder / "photos" / "val" / "red" / "3.jpg").write_bytes(b"no image")
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    common = ["fit", "--config", folder / "c.yaml", "--data.root", folder / "photos", "--out_dir", folder]
    dctnet(*common, "--name", "one", "--data.batch_size", 6)
    dctnet(*common, "--name", "two", "--trainer.devices", 2, "--trainer.strategy", "ddp")
    return folder


def load(folder, name):
    return torch.load(folder / name / "version_0" / "last.ckpt", weights_only=True)["state_dict"]


def test_normalisation_agrees(runs):
    one, two = load(runs, "one"), load(runs, "two")
    # Channels are computed for a few images at a time, in float32: which share a product decides the last bit.
    for name in ("mean", "std"):
        difference = one[f"normalisation.{name}"] - two[f"normalisation.{name}"]
        assert (difference.abs() <= 1e-5 * one["normalisation.std"]).all()


def test_metrics_and_gate_statistics_agree(runs):
    checkpoint = runs / "two" / "version_0" / "last.ckpt"
    common = ["validate", "--ckpt_path", checkpoint, "--trainer.accelerator", "cpu"]
    one = dctnet(*common)
    two = dctnet(*common, "--trainer.devices", 2, "--trainer.strategy", "ddp")
    for name in ("val_acc1", "val_acc5", "val_loss", "val_images", "val_skipped", "num_kept"):
        values = [float(re.search(rf"{name}\W+([\d.]+)", out)[1]) for out in (one, two)]
        assert values[0] == pytest.approx(values[1], rel=1e-5), name
    assert re.search(r"val_images\W+14\.0", two)
    assert re.search(r"val_skipped\W+1\.0", two)


def test_mask_of_two_processes_is_over_all_images(runs):
    source = json.loads((runs / "two" / "version_0" / "mask.json").read_text())["source"]
    assert source["images"] == 14
    assert "3.jpg" in (runs / "two" / "version_0" / "skipped.csv").read_text()


def test_bad_files_are_counted_over_all_ranks_and_stop_them_all_in_one_line(runs):
    # Two bad files that different ranks read, of 15 that each of them shares: neither has too many by itself.
    for name in ("blue/0", "blue/1"):
        (runs / "photos" / "val" / f"{name}.jpg").write_bytes(b"no image")
    args = ["fit", "--config", runs / "c.yaml", "--data.root", runs / "photos", "--out_dir", runs, "--name", "stop"]
    ranks = ["--trainer.devices", 2, "--trainer.strategy", "ddp", "--data.max_bad_fraction", 0.15]
    done = run(*args, *ranks)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("dctnet: ")]
    assert "3 of 15 val files" in line
    assert "Traceback" not in done.stderr
    listed = (runs / "stop" / "version_0" / "skipped.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0].rpartition("/val/")[2] for row in listed] == ["blue/0.jpg", "blue/1.jpg", "red/3.jpg"]


@pytest.mark.parametrize(("bad", "options"), [("val/red/3", ()), ("train/red/3", ("--data.norm_images", 4))])
def test_bad_file_of_any_rank_stops_them_all_in_one_line(tmp_path, runs, bad, options):
    make_photos(tmp_path / "photos", 12, 5)
    path = tmp_path / "photos" / f"{bad}.jpg"
    path.write_bytes(b"no image")
    args = ["fit", "--config", runs / "c.yaml", "--data.root", tmp_path / "photos", "--out_dir", tmp_path, *options]
    done = run(*args, "--data.on_error", "stop", "--trainer.devices", 2, "--trainer.strategy", "ddp")
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("dctnet: ")] == [
        f"dctnet: {path}: UnidentifiedImageError: cannot identify image file (to leave such files out and list "
        f"them: --data.on_error skip); all in {tmp_path / 'run' / 'version_0' / 'skipped.csv'}"
    ]
    assert "Traceback" not in done.stderr


def test_stopped_and_resumed_on_two_ranks_they_end_with_the_same_bits(tmp_path):
    make_photos(tmp_path / "photos", 20, 8)
    tally = stopped_and_resumed(tmp_path, "photographs", ranks=2, stops=1)
    assert tally.right_status == tally.stops == 1
    assert tally.same == tally.runs
