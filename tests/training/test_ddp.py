"""Two CPU processes compute what one computes on the same data, and stop together."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
import yaml

from tests.commands import read_csv, run
from tests.conftest import make_photos
from tests.stress.stop_resume import stopped_and_resumed

pytestmark = pytest.mark.usefixtures("small_backbones")
CONFIG = {
    "seed_everything": 0,
    "data": {"channels": "square-24", "image_size": 64, "batch_size": 3, "num_workers": 0, "on_error": "skip"},
    "model": {"gate": "dynamic", "keep": 6, "lr": 0.02},
    "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Has photographs, of which one for validation is damaged, and a recipe."""
    folder = tmp_path_factory.mktemp("ddp")
    make_photos(folder / "photos", 12, 5)
    (folder / "photos/val/red/3.jpg").write_bytes(b"no image")
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def fit(folder, name):
    """The command of a fit under a name."""
    photos = folder / "photos"
    return ["fit", "--config", folder / "c.yaml", "--data.root", photos, "--out_dir", folder, "--name", name]


def launch(*args):
    """Runs a command on two ranks, in processes of their own."""
    command = [sys.executable, "-m", "dctnet", *map(str, args), "--trainer.devices=2", "--trainer.strategy=ddp"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def two(folder):
    """The folder of a fit on two ranks."""
    done = launch(*fit(folder, "two"))
    assert done.returncode == 0, done.stderr[-2000:]
    return folder / "two/version_0"


def statistics(path):
    """Mean and standard deviation of the normalisation in a checkpoint."""
    state = torch.load(path, weights_only=True)["state_dict"]
    (prefix,) = [name.removesuffix("mean") for name in state if name.endswith("normalisation.mean")]
    return state[f"{prefix}mean"], state[f"{prefix}std"]


def test_normalisation_is_that_of_one_process(folder, two):
    assert run(*fit(folder, "one"), "--data.batch_size", 6, "--trainer.max_epochs", 1) == 0
    (mean, std), (mean2, std2) = statistics(folder / "one/version_0/last.ckpt"), statistics(two / "last.ckpt")
    # Sums in float32, over groups of images that differ.
    assert ((mean - mean2).abs() <= 1e-5 * std).all()
    assert ((std - std2).abs() <= 1e-5 * std).all()


def test_metrics_are_those_of_one_process(two, capsys):
    (last,) = [row for row in read_csv(two / "metrics.csv") if row["val_loss"]][-1:]
    validate = ["validate", "--ckpt_path", two / "last.ckpt", "--trainer.accelerator", "cpu"]
    assert run(*validate) == 0
    printed = capsys.readouterr().out
    for name in ("val_acc1", "val_acc5", "val_loss", "val_images", "val_skipped", "num_kept"):
        value = re.search(rf"{name}\W+([\d.]+)", printed)[1]
        assert float(last[name]) == pytest.approx(float(value), rel=1e-5), name
    assert (float(last["val_images"]), float(last["val_skipped"])) == (14, 1)
    # Of an evaluation on two ranks, one writes the folder, with each image once.
    done = launch(*validate)
    assert done.returncode == 0, done.stderr[-2000:]
    one, other = (two / f"validate_last_{number}" for number in range(2))
    assert read_csv(one / "confusion.csv") == read_csv(other / "confusion.csv")
    one, other = ({row["path"]: row["predicted"] for row in read_csv(each / "images.csv")} for each in (one, other))
    assert len(one) == 14
    assert one == other
    assert len(read_csv(two / "validate_last_1/images.csv")) == 14
    assert json.loads((two / "validate_last_1/evaluation.json").read_text())["skipped"] == 1
    assert done.stdout.count("report  ") == 1


def test_mask_and_list_of_bad_files_are_over_the_images_of_both_ranks(two):
    assert json.loads((two / "mask.json").read_text())["source"]["images"] == 14
    assert [row["path"].rpartition("/photos/")[2] for row in read_csv(two / "skipped.csv")] == ["val/red/3.jpg"]


def refused(done):
    """The one line of a command that stopped with status 2."""
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("dctnet: ")]
    return line


def test_bad_files_of_all_ranks_count_and_stop_all_in_one_line(folder, tmp_path):
    make_photos(tmp_path / "photos", 12, 5)
    bad = ["blue/0.jpg", "blue/1.jpg", "red/3.jpg"]  # neither rank alone reads more than 0.15 of 15
    for name in bad:
        (tmp_path / "photos/val" / name).write_bytes(b"no image")
    options = ["--data.root", tmp_path / "photos", "--data.max_bad_fraction", 0.15]
    assert "3 of 15 val files" in refused(launch(*fit(folder, "limit"), *options))
    listed = read_csv(folder / "limit/version_0/skipped.csv")
    assert [row["path"].rpartition("/val/")[2] for row in listed] == bad


def test_a_bad_training_file_of_one_rank_stops_all_in_one_line(folder, tmp_path):
    make_photos(tmp_path / "photos", 12, 5)
    bad = tmp_path / "photos/train/red/3.jpg"
    bad.write_bytes(b"no image")
    options = ["--data.root", tmp_path / "photos", "--data.on_error", "stop", "--data.norm_images", 4]
    line = refused(launch(*fit(folder, "stop"), *options))
    assert line.startswith(f"dctnet: {bad}: ")
    assert line.endswith(f"--data.on_error skip); all in {folder / 'stop/version_0/skipped.csv'}")


@pytest.mark.slow
@pytest.mark.parametrize("feed", ["photographs", "RGB, 2 workers"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_stopped_by_each_signal_to_the_group_and_resumed_a_fit_ends_with_the_same_bits(tmp_path, feed, ranks):
    make_photos(tmp_path / "photos", 20, 8)
    tally = stopped_and_resumed(tmp_path, feed, ranks, stops=3)
    assert tally.right_status == tally.stops == 3
    assert tally.same == tally.runs


# Starts two ranks, as torchrun and srun do, and prints their statuses.
LAUNCHER = """
import os, signal, subprocess, sys
signal.signal(signal.SIGUSR1, lambda *_: None)
port, *command = sys.argv[1:]
shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
ranks = [subprocess.Popen(command, env={**shared, "LOCAL_RANK": str(rank)}) for rank in range(2)]
print(*(rank.wait() for rank in ranks))
"""


@pytest.mark.slow
def test_each_rank_of_an_external_launcher_exits_with_75(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dctnet", *fit(folder, "external"), "--trainer.devices", 2]
    command += ["--trainer.strategy", "ddp", "--trainer.max_epochs", 500, "--data.num_workers", 1]
    options = {"stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(port), *map(str, command)], **options)
    end = time.monotonic() + 120
    while not (folder / "external/version_0/last.ckpt").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(launcher.pid, signal.SIGUSR1)
    assert launcher.communicate(timeout=120)[0].splitlines()[-1] == "75 75"
