"""validate and test: the folder that they write, and what they refuse."""

import errno
import json
import os
import re
import shutil
from collections import Counter

import pytest
import torch

from tests.commands import CKPT, fails, read_csv, run
from tests.conftest import make_photos

pytestmark = pytest.mark.usefixtures("small_backbones")


@pytest.fixture(scope="module")
def trained(gated_run, tmp_path_factory):
    """A copy of the gated run's checkpoint, and photographs of which one is damaged and a class has none in test/."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(gated_run / CKPT, folder / "last.ckpt")
    make_photos(folder / "photos", 1, 4)
    shutil.copytree(folder / "photos/val", folder / "photos/test")
    (folder / "photos/test/red/1.jpg").write_bytes(b"no image")
    shutil.rmtree(folder / "photos/test/green")
    return folder


def command(trained, verb="test", *options):
    """Arguments of an evaluation that skips bad files."""
    data = ["--data.root", trained / "photos", "--data.on_error", "skip", "--data.max_bad_fraction", 0.5]
    return [verb, "--ckpt_path", trained / "last.ckpt", *data, *options]


def test_each_readable_image_is_counted_once_in_a_new_folder_beside_the_checkpoint(trained, capsys):
    for number in range(2):
        assert run(*command(trained)) == 0
        assert f"report          {trained}/test_last_{number}/report.html" in capsys.readouterr().out
    first, second = (trained / f"test_last_{number}" for number in range(2))
    assert (first / "images.csv").read_bytes() == (second / "images.csv").read_bytes()
    rows = read_csv(first / "images.csv")
    names = {row["path"].rpartition("/test/")[2] for row in rows}
    assert names == {f"{name}/{number}.jpg" for name in ("blue", "red") for number in range(4)} - {"red/1.jpg"}
    assert len(rows) == 7
    record = json.loads((first / "evaluation.json").read_text())
    assert (record["images"], record["skipped"], record["unread"]) == (7, 1, 0)
    assert record["top1"] == pytest.approx(sum(row["class"] == row["predicted"] for row in rows) / 7)
    by_class = {row["class"]: row["images"] for row in read_csv(first / "classes.csv")}
    assert by_class == {"blue": "4", "green": "0", "red": "3"}


def test_its_figures_are_those_that_lightning_prints_and_those_of_predict(trained, tmp_path, capsys):
    assert run(*command(trained, "validate", "--out", tmp_path / "new/folder")) == 0
    printed = capsys.readouterr().out
    record = json.loads((tmp_path / "new/folder/evaluation.json").read_text())
    for name, key in (("val_acc1", "top1"), ("val_loss", "loss"), ("val_acc5", "top5")):
        assert record[key] == pytest.approx(float(re.search(rf"{name}\W+([\d.]+)", printed)[1]), rel=1e-5)
    assert re.search(r"^accuracy +\d\.\d{3} top-1 on 12 validation images$", printed, re.MULTILINE)
    out = tmp_path / "predictions.csv"
    photos = trained / "photos/val"
    assert run("predict", "--ckpt_path", trained / "last.ckpt", "--data.root", photos, "--out", out) == 0
    predicted = {row["path"]: (row["label"], float(row["probability"])) for row in read_csv(out)}
    for row in read_csv(tmp_path / "new/folder/images.csv"):
        label, probability = predicted[row["path"]]
        assert row["predicted"] == label
        assert float(row["probability"]) == pytest.approx(probability, abs=1e-5)


def test_images_beyond_a_limit_are_counted_and_a_trial_writes_nothing(trained, tmp_path, capsys):
    options = ["--data.batch_size", 5, "--out", tmp_path / "out"]
    assert run(*command(trained, "validate", *options, "--trainer.limit_val_batches", 1)) == 0
    assert "on 5 validation images, 7 not read" in capsys.readouterr().out
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["unread"] == 7
    shutil.rmtree(tmp_path / "out")
    assert run(*command(trained, "validate", *options, "--trainer.fast_dev_run", "true")) == 0
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_not_written_into(trained, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert run(*command(trained, "test", "--out", out)) == 0
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    line = fails(capsys, *command(trained, "validate", "--out", out))
    holds = f"holds the evaluation of {trained / 'last.ckpt'} on test"
    assert line == f"dctnet: --out {out}: {holds}; choose another folder"
    assert {path: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").touch()
    assert "exists and is not empty" in fails(capsys, *command(trained, "test", "--out", tmp_path / "other"))
    for file in (tmp_path / "other/notes.txt", tmp_path / "other/notes.txt/out"):
        assert f"{tmp_path}/other/notes.txt is a file; choose a folder" in fails(
            capsys, *command(trained, "test", "--out", file)
        )
    inside = trained / "photos/test/red/out"
    assert "lies in the class folder" in fails(capsys, *command(trained, "test", "--out", inside))
    assert not inside.exists()


def test_a_folder_without_permission_is_refused_before_the_evaluation(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    line = fails(capsys, *command(trained, "test"))
    assert line == f"dctnet: {trained}: no permission to write the evaluation there; choose a folder with --out"


def test_an_evaluation_that_cannot_be_written_leaves_no_folder(trained, capsys, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(trained.iterdir())
    monkeypatch.setattr("dctnet.studies.evaluation.report.render_plots", fail)
    assert "No space left on device" in fails(capsys, *command(trained, "test"))
    assert set(trained.iterdir()) == before


def test_data_without_a_class_of_the_checkpoint_is_refused_in_one_line(trained, tmp_path, capsys):
    for name in ("cat", "dog"):
        (tmp_path / "pets/val" / name).mkdir(parents=True)
        shutil.copy(trained / "photos/val/red/0.jpg", tmp_path / "pets/val" / name)
    line = fails(capsys, *command(trained, "validate"), "--data.root", tmp_path / "pets", "--out", tmp_path / "out")
    assert "class 'cat' is not among the 3 of training" in line
    assert not (tmp_path / "out").exists()


def test_a_split_without_images_or_without_a_folder_is_refused_and_leaves_nothing(trained, tmp_path, capsys):
    for name in ("blue", "green", "red"):
        (tmp_path / "photos/val" / name).mkdir(parents=True)
    options = ["--data.root", tmp_path / "photos", "--out", tmp_path / "out"]
    line = fails(capsys, *command(trained, "validate"), *options)
    assert line == f"dctnet: {tmp_path}/photos/val: no image in any of the 3 class folders"
    line = fails(capsys, *command(trained), *options)
    assert line == f"dctnet: {tmp_path}/photos: no folder test/ in it; dctnet validate measures on val/"
    (tmp_path / "photos/val/red/0.jpg").write_bytes(b"no image")
    assert "no validation image is readable" in fails(
        capsys, *command(trained, "validate"), *options, "--data.max_bad_fraction", "null"
    )
    assert not (tmp_path / "out").exists()


def test_a_store_gives_the_file_names_of_its_manifest(trained, gated_run, tmp_path):
    options = ["--data.channels", "square-24", "--data.image_size", 64, "--workers", 1]
    assert run("pack", gated_run / "photos", tmp_path / "store", *options) == 0
    store = ["--data.root", tmp_path / "store", "--out", tmp_path / "out"]
    assert run("validate", "--ckpt_path", trained / "last.ckpt", *store) == 0
    rows = read_csv(tmp_path / "out/images.csv")
    assert {row["path"] for row in rows} == {
        f"val/{name}/{number}.jpg" for name in ("blue", "green", "red") for number in range(5)
    }
    assert Counter(row["class"] for row in rows) == {"blue": 5, "green": 5, "red": 5}


def test_a_checkpoint_from_before_the_options_for_unbalanced_folders_is_evaluated(trained, tmp_path):
    content = torch.load(trained / "last.ckpt", weights_only=True)
    for name in ("sampler", "class_weights"):
        del content["datamodule_hyper_parameters"][name]
    torch.save(content, tmp_path / "old.ckpt")
    photos = ["--data.root", trained / "photos", "--out", tmp_path / "out"]
    assert run("validate", "--ckpt_path", tmp_path / "old.ckpt", *photos) == 0
