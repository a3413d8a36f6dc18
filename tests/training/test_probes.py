"""--probes true: rows of each epoch, exact under resumption, without an effect on the training."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import yaml

from dctnet.training.preemption import StopOnSignal
from tests import commands
from tests.commands import fails, read_csv
from tests.conftest import make_photos
from tests.stress.stop_resume import outcome, same

pytestmark = pytest.mark.usefixtures("small_backbones")
# Three steps an epoch; a dynamic gate and dropout draw random numbers.
CONFIG = {
    "data": {"image_size": 32, "batch_size": 4, "num_workers": 0, "channels": "zigzag-6"},
    "model": {"lr": 0.01, "gate": "dynamic", "keep": 3},
    "trainer": {"max_epochs": 3, "accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 1},
}
# Within the first and the last epoch, before an epoch's last step, and within a validation; the others are slow.
STOPS = [("train", 0), ("train", 4), ("train", 7), ("validation", 4)]
STOPS += [pytest.param("train", number, marks=pytest.mark.slow) for number in (1, 2, 3, 5, 6, 8)]
RGB = ("--model.input", "rgb", "--model.gate", "none", "--model.keep", "null")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Has photographs, a recipe, and runs with and without probes."""
    folder = tmp_path_factory.mktemp("probes")
    make_photos(folder / "photos", 4, 4)
    content = {**CONFIG, "data": {**CONFIG["data"], "root": str(folder / "photos")}}
    (folder / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["dctnet"])
        assert fit(folder, "without", probes=False) == fit(folder, "with") == 0
    return folder


def fit(folder, name, *options, probes=True):
    options = [*options, "--probes", str(probes).lower()]
    return commands.run("fit", "--config", folder / "c.yaml", "--out_dir", folder, "--name", name, *options)


def probes(folder, name, version=0):
    return (folder / name / f"version_{version}" / "probes.csv").read_text()


def test_probes_change_no_bit_of_a_training(folder):
    assert same(outcome(folder / "with"), outcome(folder / "without"))
    assert not (folder / "without" / "version_0" / "probes.csv").exists()


def test_each_epoch_has_each_quantity_once(folder):
    rows = read_csv(folder / "with" / "version_0" / "probes.csv")
    keys = [(row["epoch"], row["quantity"], row["low"], row["neighbours"]) for row in rows]
    assert len(set(keys)) == len(keys)
    bands = {row["low"] for row in rows if row["quantity"] == "only"}
    for epoch in "123":
        of = [row for row in rows if row["epoch"] == epoch]
        assert [row["quantity"] for row in of].count("only") == len(bands) == 3
        assert {row["quantity"] for row in of} == {"chance", "all", "only", "without", "e_low", "e_high"}
        assert all(len(row["correct"]) == 12 for row in of if row["quantity"] in ("all", "only", "without"))
    assert {float(row["value"]) for row in rows if row["quantity"] == "chance"} == {4 / 12}


@pytest.mark.parametrize("options", [(), RGB], ids=["channels", "rgb"])
def test_accuracy_with_all_bands_is_that_of_validation(folder, options):
    name = "equal" if options else "with"
    if options:
        assert fit(folder, name, *options) == 0
    run = folder / name / "version_0"
    validated = [float(row["val_acc1"]) for row in read_csv(run / "metrics.csv") if row["val_acc1"]]
    measured = [float(row["value"]) for row in read_csv(run / "probes.csv") if row["quantity"] == "all"]
    assert measured == pytest.approx(validated[:3], abs=1e-6)


@pytest.mark.parametrize(("what", "number"), STOPS)
def test_a_resumed_training_has_the_rows_of_one_that_was_not_stopped(folder, what, number, monkeypatch):
    count = [0]

    def stop(*_):
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGTERM)
        count[0] += 1

    hook = f"on_{what}_batch_start"
    monkeypatch.setattr(StopOnSignal, hook, stop)
    name = f"{what}-{number}"
    assert fit(folder, name) == 75
    assert fit(folder, name, "--ckpt_path", folder / name / "version_0" / "last.ckpt") == 0
    assert probes(folder, name, 1) == probes(folder, "with")


def test_a_training_resumed_between_two_epochs_has_all_rows(folder, monkeypatch):
    def keep(_, trainer, *args):
        last = Path(trainer.log_dir, "last.ckpt")
        if trainer.current_epoch == 2 and last.exists():
            shutil.copy(last, last.with_name("epoch.ckpt"))

    monkeypatch.setattr(StopOnSignal, "on_train_epoch_start", keep)
    assert fit(folder, "kept") == 0
    assert fit(folder, "between", "--ckpt_path", folder / "kept" / "version_0" / "epoch.ckpt") == 0
    assert probes(folder, "between") == probes(folder, "with")


def test_a_training_that_was_not_measured_from_its_start_is_refused(folder, capsys):
    last = folder / "without" / "version_0" / "last.ckpt"
    resume = ("--ckpt_path", last, "--trainer.max_epochs", 4)
    fit_command = ("fit", "--config", folder / "c.yaml", "--out_dir", folder, "--name", "late", "--probes", "true")
    assert "callbacks [], now ['ProbesCSV']" in fails(capsys, *fit_command, *resume)
    line = fails(capsys, *fit_command, *resume, "--allow_changes", "true")
    assert "has 3 epochs, and 0 of them were measured" in line


def test_a_packed_store_has_no_photographs_to_filter(folder, capsys):
    assert commands.run("pack", folder / "photos", folder / "store", "--data.image_size", 32, "--workers", 1) == 0
    options = ("--data.root", folder / "store", "--out_dir", folder, "--name", "packed", "--probes", "true")
    assert "is a packed store" in fails(capsys, "fit", "--config", folder / "c.yaml", *options)


def test_an_unreadable_image_is_left_out_or_stops_the_run(folder, tmp_path, capsys):
    shutil.copytree(folder / "photos", tmp_path / "photos")
    bad = tmp_path / "photos" / "val" / "red" / "1.jpg"
    bad.write_bytes(b"no image")
    skip = ("--data.root", tmp_path / "photos", "--data.on_error", "skip", "--data.max_bad_fraction", "null")
    assert fit(folder, "bad", *skip, "--trainer.max_epochs", 1) == 0
    rows = read_csv(folder / "bad" / "version_0" / "probes.csv")
    assert len(next(row["correct"] for row in rows if row["quantity"] == "all")) == 11
