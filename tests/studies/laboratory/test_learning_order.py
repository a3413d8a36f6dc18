"""Learning order from runs whose order is known, and from the checkpoints of a real fit."""

import csv
import os
import shutil
import signal

import numpy as np
import pytest
import yaml

from dctnet.frequency.bands import octave_bands
from dctnet.studies.laboratory.learning_order.order import (
    Accuracies,
    correlation,
    half_times,
    order,
    read_accuracies,
    t50,
)
from dctnet.training.band_probes import COLUMNS
from tests import commands
from tests.commands import fails, read_csv
from tests.conftest import make_photos

IMAGES, EPOCHS, CLASSES = 128, 10, 4
ENDS = [0.0, 0.0625, 0.125, 0.25, 1.0]
NEVER = 99


def write_run(folder, learned_at, seed=0, epochs=EPOCHS, root="photos", **changes):
    """A run whose bands rise from chance to 90 % at known epochs."""
    folder.mkdir(parents=True)
    config = {
        "seed_everything": seed,
        "model": {"input": "channels", "gate": "none"},
        "data": {"root": str(root), "channels": "square-24", "image_size": 96, "seed": seed},
        "trainer": {"max_epochs": epochs},
    }
    (folder / "config.yaml").write_text("# pytorch_lightning==2.6.6\n" + yaml.safe_dump(config))
    rng = np.random.default_rng(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        rows.append({"epoch": epoch, "quantity": "chance", "value": 1 / CLASSES})
        rows.append({"epoch": epoch, "quantity": "all", **answers(0.9, rng)})
        for low, high, at in zip(ENDS, ENDS[1:], learned_at, strict=False):
            ends = {"low": low, "high": high}
            chance = 1 / CLASSES if epoch < at else 0.9
            rows.append({"epoch": epoch, "quantity": "only", **ends, **answers(chance, rng)})
            rows.append({"epoch": epoch, "quantity": "without", **ends, **answers(0.8, rng)})
        for name, value in (("e_low", 1 / epoch), ("e_high", 1 - epoch / 20)):
            rows.append({"epoch": epoch, "quantity": name, "neighbours": 4, "width": 0.3, "value": value})
    with open(folder / "probes.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder


def answers(probability, rng):
    """Exactly this share of right answers, at random images."""
    right = rng.permutation(IMAGES) < round(probability * IMAGES)
    return {"value": right.mean(), "correct": "".join("rw"[1 - each] for each in right.astype(int))}


def study(tmp_path, *folders):
    """Runs the study; returns rows, curves and the text of the page."""
    out = tmp_path / "out"
    assert commands.run("lab", "learning-order", *folders, "--out", out) == 0
    return read_csv(out / "rows.csv"), (out / "report.html").read_text()


def curves_of(*folders):
    from dctnet.studies.laboratory.learning_order.runs import open_run

    runs = [open_run(folder) for folder in folders]
    return read_accuracies([row for run in runs for _, unit in run.units() for row in unit()], "name")


def test_t50_is_the_planted_epoch(tmp_path):
    folders = [write_run(tmp_path / f"run{seed}", (2, 4, 6, 9), seed) for seed in range(3)]
    curves = curves_of(*folders)
    assert t50(curves).tolist() == [[2, 4, 6, 9]] * 3
    found = order(curves)
    assert found.value == found.low == found.high == 1


@pytest.mark.parametrize(
    ("learned_at", "words"),
    [
        ((2, 4, 6, 9), "low frequencies are learned first"),
        ((9, 6, 4, 2), "high frequencies are learned first"),
        ((4, 4, 4, 4), "no order by frequency can be told"),
        ((4, NEVER, NEVER, 2), "fewer than 3 bands are significantly above chance"),
    ],
)
def test_the_page_says_the_order(tmp_path, learned_at, words):
    folders = [write_run(tmp_path / f"run{seed}", learned_at, seed) for seed in range(2)]
    page = study(tmp_path, *folders)[1]
    assert words in page
    assert "2 seeds" in page
    assert "learning order only" in page


def test_a_band_without_a_significant_gain_has_no_t50(tmp_path):
    curves = curves_of(write_run(tmp_path / "run", (2, 4, NEVER, 9)))
    times = t50(curves)[0]
    assert np.isnan(times[2])
    assert times[[0, 1, 3]].tolist() == [2, 4, 9]
    page = study(tmp_path, tmp_path / "run")[1]
    assert "have no t50: 0.125–0.25" in page
    assert "one seed" in page


def test_half_times_follow_their_definition():
    rng, epochs = np.random.default_rng(0), np.arange(1, 8)
    accuracy = rng.random((5, 7, 3))
    expected = np.full((5, 3), np.nan)
    for index in np.ndindex(5, 3):
        curve = accuracy[index[0], :, index[1]]
        if curve[-1] > 0.3:
            expected[index] = next(e for e, v in zip(epochs, curve, strict=True) if v > 0.3 + (curve[-1] - 0.3) / 2)
    np.testing.assert_array_equal(half_times(accuracy, epochs, 0.3), expected)


def test_rank_correlation_ignores_bands_that_are_not_learned():
    nan = np.nan
    assert correlation(np.array([1, nan, 5, 9])) == pytest.approx(1)
    assert correlation(np.array([3.0, 3, 3])) == 0
    assert np.isnan(correlation(np.array([1, nan, 5])))


def test_a_band_that_may_not_be_learned_widens_the_interval():
    """Each sample of images decides again which bands are learned."""
    rng, epochs, images = np.random.default_rng(0), np.arange(1, 11), 256

    def right(learned_at, share):
        order_of_images = rng.permutation(images)
        return np.array([order_of_images < images * (share if epoch >= learned_at else 0.1) for epoch in epochs])

    def interval(last):
        only = np.stack([right(2, 0.8), right(4, 0.8), right(6, 0.8), right(1, last)], 1)[None]
        whole = only[:, :, 0]
        found = Accuracies(octave_bands(64), [0], epochs, only, only, whole, [], [], np.zeros((1, 10, 0, 2)), 0.1)
        return order(found)

    sure, doubtful = interval(0.8), interval(0.145)  # the test of 256 images needs 0.14
    assert sure.value == doubtful.value == pytest.approx(-0.2)
    assert sure.high - sure.low < 0.1
    assert doubtful.high - doubtful.low > 0.5


def test_only_the_calibrated_set_allows_to_speak_of_spectral_bias(tmp_path):
    (tmp_path / "bands").mkdir()
    (tmp_path / "bands" / "planted.json").write_text('{"format": "dctnet-planted", "design": "bands"}')
    page = study(tmp_path, write_run(tmp_path / "run", (2, 4, 6, 9), root=tmp_path / "bands"))[1]
    assert "spectral bias in the sense of Rahaman et al." in page
    assert "learning order only" not in page


def test_trainings_with_other_options_are_other_groups(tmp_path):
    first, second = write_run(tmp_path / "a", (2, 4, 6, 9)), write_run(tmp_path / "b", (9, 6, 4, 2))
    config = yaml.safe_load((second / "config.yaml").read_text())
    config["model"]["input"] = "rgb"
    (second / "config.yaml").write_text(yaml.safe_dump(config))
    page = study(tmp_path, first, second)[1]
    assert "square-24 at 96 px: low frequencies are learned first" in page
    assert "RGB at 96 px: high frequencies are learned first" in page


def test_runs_that_cannot_be_used_are_one_line(tmp_path, capsys):
    good = write_run(tmp_path / "name" / "version_0", (2, 4, 6, 9))
    assert "no such folder. Did you mean" in fails(capsys, "lab", "learning-order", tmp_path / "nam")
    line = fails(capsys, "lab", "learning-order", tmp_path / "name")
    assert "no folder of a training: FileNotFoundError" in line
    assert f"give {good}" in line
    again = shutil.copytree(good, tmp_path / "again")
    line = fails(capsys, "lab", "learning-order", good, again)
    assert "are the same training with seed 0; give one" in line
    other = write_run(tmp_path / "short", (2, 4, 6, 7), 1, epochs=8)
    config = yaml.safe_load((other / "config.yaml").read_text()) | {"trainer": {"max_epochs": EPOCHS}}
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    line = fails(capsys, "lab", "learning-order", good, other, "--out", tmp_path / "o")
    assert "give runs of the same length" in line
    lines = (again / "probes.csv").read_text().splitlines()
    (again / "probes.csv").write_text("\n".join(line for line in lines if not line.startswith("4,")))
    assert "expected the epochs 1, 2, 3" in fails(capsys, "lab", "learning-order", again, "--out", tmp_path / "p")
    (again / "probes.csv").write_text("epoch,value\n1,x\n")
    assert "not the probes of dctnet fit" in fails(capsys, "lab", "learning-order", again, "--out", tmp_path / "q")
    (again / "probes.csv").unlink()
    line = fails(capsys, "lab", "learning-order", again)
    assert "--probes true" in line
    assert "checkpoints of 0 epochs" in line


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, small_backbones):
    """A run with probes and with the checkpoint of each epoch."""
    folder = tmp_path_factory.mktemp("fitted")
    make_photos(folder / "photos", 4, 4)
    keep = {"class_path": "ModelCheckpoint", "init_args": {"save_top_k": -1, "dirpath": str(folder / "kept")}}
    config = {
        "data": {"root": str(folder / "photos"), "image_size": 64, "batch_size": 4, "num_workers": 0},
        "model": {"lr": 0.01},
        "trainer": {
            "max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False, "logger": False,
            "callbacks": [keep],
        },
    }  # fmt: skip
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["dctnet"])
        args = ("--out_dir", folder, "--name", "run", "--probes", "true")
        assert commands.run("fit", "--config", folder / "c.yaml", *args) == 0
    run = folder / "run" / "version_0"
    without = shutil.copytree(run, folder / "without")
    (without / "probes.csv").unlink()
    for path in (folder / "kept").glob("*.ckpt"):
        shutil.copy(path, without / path.name)
    return run, without


def test_checkpoints_give_the_accuracies_of_the_probes(fitted, tmp_path):
    run, without = fitted
    from_checkpoints = study(tmp_path, without)[0]
    (tmp_path / "out").rename(tmp_path / "first")
    from_probes = study(tmp_path, run)[0]
    both = from_checkpoints, from_probes
    names = ("epoch", "quantity", "low", "high", "correct", "seed")
    found, expected = (
        [tuple(row[name] for name in names) for row in rows if row["correct"]]
        for rows in (from_checkpoints, from_probes)
    )
    assert found == expected
    errors = [[float(row["value"]) for row in rows if row["neighbours"]] for rows in both]
    assert errors[0] == pytest.approx(errors[1], rel=1e-3)


def test_a_stopped_study_goes_on_with_the_next_checkpoint(fitted, tmp_path, monkeypatch):
    from dctnet.training.band_probes import BandProbes

    measure, measured = BandProbes.measure, []

    def stop_after_two(self, network, epoch):
        measured.append(epoch)
        if len(measured) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return measure(self, network, epoch)

    whole = study(tmp_path, fitted[1])[0]
    monkeypatch.setattr(BandProbes, "measure", stop_after_two)
    command = ("lab", "learning-order", fitted[1], "--out", tmp_path / "stopped")
    assert commands.run(*command) == 75
    assert measured == [1, 2]
    assert commands.run(*command) == 0
    assert measured == [1, 2, 3]
    assert read_csv(tmp_path / "stopped" / "rows.csv") == whole
