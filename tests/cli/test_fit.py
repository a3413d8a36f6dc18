"""fit, from a folder of photographs to checkpoints and a mask; resuming; validate and predict."""

import functools
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from dctnet.cli.fit import _new_version
from dctnet.data.planted import make_planted
from dctnet.frequency.maskfile import read_mask
from tests.commands import CKPT, fails, read_csv, run
from tests.conftest import GATED, make_photos

pytestmark = pytest.mark.usefixtures("small_backbones")


def tensor(path, name):
    """The one tensor of a checkpoint whose name ends so."""
    state = torch.load(path, weights_only=True)["state_dict"]
    (found,) = [value for key, value in state.items() if key.endswith(name)]
    return found


@pytest.fixture
def fit(gated_run, tmp_path):
    """The command of the shared run, into a folder of the test's own."""
    photos = gated_run / "photos"
    return ["fit", "--config", gated_run / "tiny.yaml", "--data.root", photos, "--out_dir", tmp_path]


def test_all_files_of_a_fit_are_in_one_folder(gated_run):
    folder = (gated_run / CKPT).parent
    found = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "metrics.csv", "last.ckpt", "best.ckpt", "mask.json", "mask.png"} <= found
    assert any(name.startswith("events.out.tfevents") for name in found)
    columns = {"train_loss", "val_acc1", "val_acc5", "num_kept", "gate_penalty", "images_per_second"}
    assert columns <= read_csv(folder / "metrics.csv")[0].keys()


def test_the_mask_has_the_number_of_channels_of_the_budget_and_names_its_source(gated_run):
    kept, probability = read_mask(gated_run / "out/tiny/version_0/mask.json")
    assert len(kept) == 6
    assert sum(p > 0 for p in probability) == 24
    source = json.loads((gated_run / "out/tiny/version_0/mask.json").read_text())["source"]
    assert (source["gate"], source["images"], len(source["checkpoint_sha256"])) == ("static", 15, 64)


def test_a_fit_on_a_mask_reads_only_its_channels_and_each_fit_gets_a_new_folder(gated_run, fit, tmp_path, capsys):
    mask = gated_run / "out/tiny/version_0/mask.json"
    (tmp_path / "static.yaml").write_text(yaml.safe_dump({**GATED, "model": {"lr": 0.05}}))
    fit[2] = tmp_path / "static.yaml"
    for number in range(2):
        assert run(*fit, "--data.channels", mask, "--trainer.max_epochs", 1) == 0
        out = capsys.readouterr().out
        assert f"version_{number}" in out
        assert "6 of 192" in out
    path = tmp_path / "tiny/version_1/last.ckpt"
    assert tensor(path, "backbone.conv1.weight").shape == (64, 6, 1, 1)
    options = torch.load(path, weights_only=True)["hyper_parameters"]
    assert options["channels"] == list(read_mask(mask)[0].indices)
    # A checkpoint without a gate has no mask, and reads no other channels.
    assert "trained without a gate" in fails(capsys, "export-mask", path, "--out", tmp_path / "m.json")
    assert "trained on 6 channels" in fails(capsys, "validate", "--ckpt_path", path, "--data.channels", "dc")


def test_concurrent_fits_get_different_folders(tmp_path):
    assert [_new_version(tmp_path / "x").name for _ in range(3)] == ["version_0", "version_1", "version_2"]


def test_accuracy_and_mask_are_of_the_last_weights(fit, tmp_path):
    # The last of three epochs has no validation of its own.
    assert run(*fit, "--trainer.max_epochs", 3, "--trainer.check_val_every_n_epoch", 2) == 0
    folder = tmp_path / "tiny/version_0"
    expected = sorted(tensor(folder / "last.ckpt", "gate.logits").sigmoid().tolist())
    assert sorted(p for p in read_mask(folder / "mask.json")[1] if p) == pytest.approx(expected, abs=1e-5)


def test_a_gated_fit_without_validation_has_no_mask(fit, tmp_path, capsys):
    assert run(*fit, "--trainer.max_epochs", 1, "--trainer.limit_val_batches", 0) == 0
    assert "dctnet export-mask" in capsys.readouterr().out
    assert not (tmp_path / "tiny/version_0/mask.json").exists()


def test_a_trial_of_a_few_batches_writes_no_file(fit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*fit, "--trainer.fast_dev_run", 2) == 0
    assert list(tmp_path.iterdir()) == []


def test_files_left_out_are_listed_counted_and_limited(own_photos, tmp_path, capsys):
    bad, also = own_photos / "val/red/1.jpg", own_photos / "train/blue/2.jpg"
    bad.write_bytes(b"no image")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**GATED, "trainer": {**GATED["trainer"], "max_epochs": 1}}))
    args = ["fit", "--config", tmp_path / "c.yaml", "--data.root", own_photos, "--out_dir", tmp_path / "out"]
    assert str(bad) in fails(capsys, *args)
    also.write_bytes(b"no image")
    args += ["--data.on_error", "skip", "--name", "skip"]
    line = fails(capsys, *args)
    assert "1 of 9 val files" in line
    assert f"--data.max_bad_fraction 0.1 allows, such as {bad}: " in line
    assert line.endswith(f"; all in {tmp_path / 'out/skip/version_0/skipped.csv'}")
    assert run(*args, "--data.max_bad_fraction", "null") == 0
    out, listed = capsys.readouterr().out, tmp_path / "out/skip/version_1/skipped.csv"
    assert f"8 validation images, 1 unreadable: {listed}" in out
    assert f"1 of 18 training files were unreadable: {listed}" in out
    assert [row["path"] for row in read_csv(listed)] == [str(also), str(bad)]


def test_a_run_is_resumed_from_its_last_epoch(gated_run, fit, tmp_path, capsys):
    ckpt = gated_run / CKPT
    assert torch.load(ckpt, weights_only=True)["epoch"] == 7
    longer = [*fit, "--ckpt_path", ckpt, "--trainer.max_epochs", 9]
    assert "was trained with max_epochs 8, now 9. To resume" in fails(capsys, *longer, "--name", "refused")
    assert run(*longer, "--allow_changes", "true") == 0
    assert {row["epoch"] for row in read_csv(tmp_path / "tiny/version_0/metrics.csv")} == {"8"}
    assert "cannot be resumed" in fails(capsys, *fit, "--ckpt_path", ckpt, "--data.channels", "dc", "--model.keep", 2)


def test_a_run_of_a_version_without_an_option_is_resumed_with_its_default_only(gated_run, fit, tmp_path, capsys):
    content = torch.load(gated_run / CKPT, weights_only=True)
    for later in ("augment", "mixup", "cutmix"):
        del content["datamodule_hyper_parameters"][later]
    torch.save(content, tmp_path / "old.ckpt")
    assert run(*fit, "--ckpt_path", tmp_path / "old.ckpt") == 0
    line = fails(capsys, *fit, "--ckpt_path", tmp_path / "old.ckpt", "--data.augment", "basic", "--name", "refused")
    assert "was trained with augment none, now basic" in line


def test_resuming_a_finished_run_trains_no_step(gated_run, fit, capsys):
    assert run(*fit, "--ckpt_path", gated_run / CKPT) == 0
    out = capsys.readouterr().out
    assert "nothing" in out
    assert "--trainer.max_epochs N" in out


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("data.batch_size", 5, "batch_size 6, now 5"),
        ("seed_everything", 1, "seed 0, now 1"),
        ("model.lr", 1, "lr 0.05, now 1.0"),
        ("trainer.gradient_clip_val", 0.5, "gradient_clip_val None, now 0.5"),
        ("trainer.callbacks", "LearningRateMonitor", "callbacks [], now ['LearningRateMonitor']"),
    ],
)
def test_resuming_with_another_option_is_refused(gated_run, fit, capsys, option, value, said):
    line = fails(capsys, *fit, "--ckpt_path", gated_run / CKPT, f"--{option}", value)
    assert f"{gated_run / CKPT} was trained with {said}. To resume" in line


@pytest.mark.parametrize(("split", "said"), [("train", "in train: 36, now 35"), ("val", "in val: 15, now 14")])
def test_resuming_on_other_images_is_refused(gated_run, tmp_path, fit, capsys, split, said):
    shutil.copytree(gated_run / "photos", tmp_path / "photos")
    next((tmp_path / "photos" / split).rglob("*.jpg")).unlink()
    line = fails(capsys, *fit, "--ckpt_path", gated_run / CKPT, "--data.root", tmp_path / "photos")
    assert f"other images {said}" in line
    assert not (tmp_path / "tiny").exists()


def put_nan_into_a_weight(content):
    name = next(name for name in content["state_dict"] if name.endswith("backbone.bn1.weight"))
    content["state_dict"][name].fill_(math.nan)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (put_nan_into_a_weight, "backbone.bn1.weight has NaN"),
        (lambda content: content.pop("optimizer_states"), "cannot be resumed: it has no 'optimizer_states'"),
    ],
)
def test_resuming_an_incomplete_checkpoint_is_refused(gated_run, fit, tmp_path, capsys, spoil, said):
    content = torch.load(gated_run / CKPT, weights_only=True)
    spoil(content)
    torch.save(content, tmp_path / "spoilt.ckpt")
    line = fails(capsys, *fit, "--ckpt_path", tmp_path / "spoilt.ckpt")
    assert str(tmp_path / "spoilt.ckpt") in line
    assert said in line


def test_files_that_are_not_whole_checkpoints_are_refused(gated_run, tmp_path, capsys):
    (tmp_path / "text.ckpt").write_bytes(b"text")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    assert "not a checkpoint of dctnet" in fails(capsys, "validate", "--ckpt_path", tmp_path / "text.ckpt")
    assert "not a checkpoint of dctnet" in fails(capsys, "export-mask", tmp_path / "other.ckpt")
    flipped = bytearray((gated_run / CKPT).read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "flipped.ckpt").write_bytes(flipped)
    assert "checksum" in fails(capsys, "validate", "--ckpt_path", tmp_path / "flipped.ckpt")


def test_validate_takes_all_options_from_the_checkpoint(gated_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(gated_run)
    before = set(gated_run.iterdir())
    out = tmp_path / "evaluation"
    assert run("validate", "--ckpt_path", CKPT, "--trainer.enable_progress_bar", "false", "--out", out) == 0
    assert "val_acc1" in capsys.readouterr().out
    assert set(gated_run.iterdir()) == before


def test_an_option_of_the_command_line_overrides_the_checkpoint(gated_run, tmp_path, capsys):
    photos = make_photos(tmp_path / "photos", 1, 2)
    assert run("validate", "--ckpt_path", gated_run / CKPT, "--data.root", photos, "--out", tmp_path / "out") == 0
    assert "6.0" in capsys.readouterr().out  # val_images


def test_the_download_of_a_training_is_not_repeated_for_another_root(gated_run, tmp_path, capsys, monkeypatch):
    small_set = functools.partial(make_planted, train_per_class=2, val_per_class=1)
    monkeypatch.setattr("dctnet.data.planted.make_planted", small_set)
    fit = ["fit", "--config", gated_run / "tiny.yaml", "--data.root", tmp_path / "set", "--data.download", "planted"]
    assert run(*fit, "--trainer.max_epochs", 1, "--trainer.limit_train_batches", 2, "--out_dir", tmp_path) == 0
    ckpt = tmp_path / "tiny/version_0/last.ckpt"
    line = fails(capsys, "validate", "--ckpt_path", ckpt, "--data.root", tmp_path / "sett")
    assert f"Did you mean {tmp_path / 'set'}" in line
    assert not (tmp_path / "sett").exists()


def test_predict_writes_a_row_for_each_file(gated_run, tmp_path):
    out = tmp_path / "p.csv"
    assert run("predict", "--ckpt_path", gated_run / CKPT, "--data.root", gated_run / "photos/val", "--out", out) == 0
    rows = read_csv(out)
    assert list(rows[0]) == ["path", "label", "probability", "top5"]
    for row in rows:
        top = json.loads(row["top5"])
        assert [row["label"], float(row["probability"])] == top[0]
        assert sum(p for _, p in top) == pytest.approx(1, abs=1e-4)
        assert [p for _, p in top] == sorted((p for _, p in top), reverse=True)
    # The labels are right as often as the last validation says.
    metrics = read_csv(gated_run / "out/tiny/version_0/metrics.csv")
    accuracy = [row["val_acc1"] for row in metrics if row["val_acc1"]][-1]
    right = sum(Path(row["path"]).parent.name == row["label"] for row in rows)
    assert right / 15 == pytest.approx(float(accuracy), abs=1e-4)


@pytest.fixture
def flat(gated_run, tmp_path, monkeypatch):
    """One folder of class folders, which is the working directory."""
    root = shutil.copytree(gated_run / "photos" / "train", tmp_path / "flat")
    monkeypatch.chdir(root)
    return root


FLAT = ["fit", "--data.root", ".", "--data.val_fraction", 0.25, "--data.channels", "square-6", "--data.image_size", 32]
FLAT += ["--data.batch_size", 8, "--data.num_workers", 0, "--trainer.max_epochs", 1, "--trainer.accelerator", "cpu"]


def test_a_fit_beside_the_class_folders_can_be_repeated_and_resumed(flat, capsys):
    ckpt = "checkpoints/run/version_0/last.ckpt"
    with pytest.warns(UserWarning, match="not a class: checkpoints"):
        assert [run(*FLAT) for _ in range(2)] == [0, 0]
    first, second = (torch.load(f"checkpoints/run/version_{n}/last.ckpt", weights_only=True) for n in range(2))
    assert first["hyper_parameters"]["classes"] == second["hyper_parameters"]["classes"] == ["blue", "green", "red"]
    assert first["FrequencyDataModule"] == second["FrequencyDataModule"]
    (flat / "checkpoints/run/version_1/.dctnet").unlink()  # as an earlier version leaves it
    assert run(*FLAT, "--ckpt_path", ckpt) == 0
    assert run("validate", "--ckpt_path", ckpt) == 0
    assert "nothing, it had ended" in capsys.readouterr().out


def test_a_refused_resumption_leaves_no_folder(flat, capsys):
    assert run(*FLAT) == 0
    ckpt = "checkpoints/run/version_0/last.ckpt"
    assert "seed 0, now 1" in fails(capsys, *FLAT, "--ckpt_path", ckpt, "--seed_everything", 1)
    assert [path.name for path in (flat / "checkpoints/run").iterdir()] == ["version_0"]


def test_a_run_is_not_written_into_a_class_folder(flat, capsys):
    line = fails(capsys, *FLAT, "--out_dir", "red")
    assert line == "dctnet: --out_dir red/run: lies in the class folder red; choose another folder"
    assert not (flat / "red" / "run").exists()


@pytest.mark.parametrize("out", ["predictions.csv", "table.txt", "rows"])
def test_predictions_are_not_predicted(gated_run, flat, capsys, out):
    predict = ["predict", "--ckpt_path", gated_run / CKPT, "--data.root", ".", "--out", out]
    for _ in range(2):
        assert run(*predict) == 0
        assert len(read_csv(flat / out)) == 36
    assert "replaced the previous file" in capsys.readouterr().out
    assert "lies in the class folder red" in fails(capsys, *predict[:-1], f"red/{out}")


def test_predictions_replace_no_photograph(gated_run, flat, capsys):
    before = (flat / "red" / "0.jpg").read_bytes()
    line = fails(capsys, "predict", "--ckpt_path", gated_run / CKPT, "--data.root", "red", "--out", "red/0.jpg")
    assert "exists and is no table of predictions" in line
    assert (flat / "red" / "0.jpg").read_bytes() == before


def test_a_class_of_which_no_training_image_can_be_read_stops_the_fit(flat, capsys):
    for path in (flat / "red").iterdir():
        path.write_bytes(b"no image")
    skip = ["--data.on_error", "skip", "--data.max_bad_fraction", "null"]
    line = fails(capsys, *FLAT, *skip)
    assert ".: no train image can be read of 1 of the 3 classes: 'red'; all in checkpoints/run/version_0/skip" in line


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"no image")])
def test_accuracy_over_fewer_classes_says_so(own_photos, tmp_path, capsys, damage):
    for path in (own_photos / "val" / "red").iterdir():
        damage(path)
    skip = ["--data.on_error", "skip", "--data.max_bad_fraction", "null", "--out_dir", tmp_path]
    with pytest.warns(UserWarning, match="no val image .*1 of the 3 classes: 'red'"):
        assert run(*FLAT, "--data.root", own_photos, "--data.val_fraction", 0, *skip) == 0
    assert "on 6 validation images of 2 of the 3 classes" in capsys.readouterr().out


def test_predict_reads_a_single_file_and_lists_a_bad_one(gated_run, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    for path, count in ((gated_run / "photos/val/red/0.jpg", 1), (bad, 0)):
        args = ["--ckpt_path", gated_run / CKPT, "--data.root", path, "--out", tmp_path / "p.csv"]
        assert run("predict", *args, "--data.on_error", "skip") == 0
        assert len(read_csv(tmp_path / "p.csv")) == count
    assert f"skipped {bad}: " in capsys.readouterr().err


@pytest.fixture(scope="module")
def store(gated_run):
    """The run's photographs packed: eight channels, for crops of 64."""
    options = ["--data.channels", "zigzag-8", "--data.image_size", 64, "--data.crop_fraction", 1.0, "--workers", 1]
    assert run("pack", gated_run / "photos", gated_run / "store", *options) == 0
    return gated_run / "store"


SHORT = ["--data.batch_size", 6, "--trainer.max_epochs", 2, "--trainer.accelerator", "cpu"]


def test_a_packed_store_is_trained_on_and_evaluated_by_its_path_alone(gated_run, store, tmp_path, capsys):
    assert run("fit", "--data.root", store, *SHORT, "--out_dir", tmp_path) == 0
    assert "8 of 192" in capsys.readouterr().out
    last = tmp_path / "run/version_0/last.ckpt"
    assert run("validate", "--ckpt_path", last) == 0
    # The same network reads photographs: the checkpoint records their size and the channels.
    assert run("validate", "--ckpt_path", last, "--data.root", gated_run / "photos") == 0
    photos = gated_run / "photos/val"
    assert run("predict", "--ckpt_path", last, "--data.root", photos, "--out", tmp_path / "p.csv") == 0
    assert len(read_csv(tmp_path / "p.csv")) == 15


def test_a_checkpoint_trained_on_photographs_reads_a_store(gated_run, store, tmp_path, capsys):
    # Held-out part, cropping and workers of the training do not apply to the store.
    data = ["--data.root", gated_run / "photos/train", "--data.val_fraction", 0.3, "--data.channels", "zigzag-8"]
    data += ["--data.image_size", 64, "--data.crop_fraction", 1.0, "--data.num_workers", 0]
    assert run("fit", *data, *SHORT, "--out_dir", tmp_path) == 0
    assert run("validate", "--ckpt_path", tmp_path / "run/version_0/last.ckpt", "--data.root", store) == 0
    assert "val_acc1" in capsys.readouterr().out


def test_the_first_channels_of_a_store_are_the_most_important(store, tmp_path, capsys):
    assert run("fit", "--data.root", store, "--data.channels", "first-3", *SHORT, "--out_dir", tmp_path) == 0
    assert "3 of 192" in capsys.readouterr().out


def test_verify_passes_a_whole_store_and_names_a_damaged_file(store, tmp_path, capsys):
    assert "already a packed store" in fails(capsys, "pack", store, tmp_path / "again")
    assert run("verify", store) == 0
    shard = next(shutil.copytree(store, tmp_path / "copy").glob("train-*.bin"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert shard.name in fails(capsys, "verify", tmp_path / "copy")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_strategy_whose_ranks_cannot_be_stopped_and_resumed_is_refused(fit, method, capsys):
    line = fails(capsys, *fit, "--trainer.devices", 2, "--trainer.strategy", f"ddp_{method}")
    assert f"ranks that are started by {method} cannot be stopped and resumed; give --trainer.strategy ddp" in line
