"""Reports of bad files, their limits, and the predictions file."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.ignored import PREDICTIONS
from dctnet.data.images.photo import ImageError
from dctnet.data.packed.writer import pack
from dctnet.errors import UserError
from dctnet.training.callbacks.bad_files import BadFileReport, too_many_bad_files
from dctnet.training.callbacks.predictions import PredictionsCSV
from dctnet.training.module import FrequencyClassifier

pytestmark = pytest.mark.usefixtures("small_backbones")


def parts(root, **options):
    torch.manual_seed(0)
    model = FrequencyClassifier(["blue", "green", "red"], [0, 64, 128], image_size=32)
    data = FrequencyDataModule(str(root), channels="dc", image_size=32, batch_size=4, num_workers=0, **options)
    data.class_names = ["blue", "green", "red"]
    return model, data


def trainer(tmp_path, callback, logger=False):
    return pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", logger=logger, callbacks=[callback], enable_progress_bar=False
    )


def test_without_a_run_folder_the_list_is_printed_to_standard_error(own_photos, tmp_path, capsys):
    bad = own_photos / "val" / "red" / "1.jpg"
    bad.write_bytes(b"")
    model, data = parts(own_photos, on_error="skip", max_bad_fraction=None)
    trainer(tmp_path, BadFileReport()).validate(model, data, verbose=False)
    assert f"skipped {bad}: " in capsys.readouterr().err
    assert not list(tmp_path.glob("*.csv"))


def test_limit_is_a_fraction_of_all_files_of_a_split(own_photos):
    _, data = parts(own_photos, on_error="skip", max_bad_fraction=2 / 9)
    paths = data.files("val").paths
    for count, path in enumerate((*paths[:3], *paths[:3]), 1):  # a file counts once
        data.bad_files.add("val", [(path, "spoilt")])
        assert (too_many_bad_files(data, "val") is not None) == (count >= 3)
    assert too_many_bad_files(data, "train") is None
    assert f"3 of 9 val files are unreadable so far, more than --data.max_bad_fraction {2 / 9}" in too_many_bad_files(
        data, "val"
    )
    data.hparams["max_bad_fraction"] = None
    assert too_many_bad_files(data, "val") is None


def test_evaluation_stops_at_the_batch_that_exceeds_the_limit(own_photos, tmp_path, capsys):
    for name in ("blue/0", "blue/1", "red/2"):
        (own_photos / "val" / f"{name}.jpg").write_bytes(b"")
    # Batches of four: 2 of 9 in the first, the third bad file in the last.
    model, data = parts(own_photos, on_error="skip", max_bad_fraction=0.2)
    with pytest.raises(UserError, match=r"2 of 9 val files .*--data.max_bad_fraction 0.2.*blue/0.jpg.*listed above"):
        trainer(tmp_path, BadFileReport()).validate(model, data, verbose=False)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped")]
    listed = [line.split(": ")[0].rpartition("/val/")[2] for line in lines]
    assert listed == ["blue/0.jpg", "blue/1.jpg"]


def test_evaluation_at_the_limit_passes(own_photos, tmp_path):
    for name in ("blue/0", "blue/1", "red/2"):
        (own_photos / "val" / f"{name}.jpg").write_bytes(b"")
    model, data = parts(own_photos, on_error="skip", max_bad_fraction=3 / 9)
    (found,) = trainer(tmp_path, BadFileReport()).validate(model, data, verbose=False)
    assert (found["val_images"], found["val_skipped"]) == (6, 3)
    assert len(data.bad_files.of_kind("val")) == 3


def fit(root, tmp_path, **options):
    model, data = parts(root, on_error="skip", **options)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    fitting = pl.Trainer(
        default_root_dir=tmp_path, accelerator="cpu", callbacks=[BadFileReport()], max_epochs=1, **quiet
    )
    return data, fitting, lambda: fitting.fit(model, data)


def test_bad_files_found_by_the_statistics_stop_the_fit_before_its_first_step(own_photos, tmp_path):
    for name in ("blue/0", "blue/1"):
        (own_photos / "train" / f"{name}.jpg").write_bytes(b"")
    _, fitting, go = fit(own_photos, tmp_path, max_bad_fraction=0.1)
    with pytest.raises(UserError, match="2 of 18 train files are unreadable so far"):
        go()
    assert fitting.global_step == 0
    data, fitting, go = fit(own_photos, tmp_path, max_bad_fraction=2 / 18)
    go()
    assert fitting.global_step == 4
    assert len(data.bad_files.of_kind("train")) == 2


@pytest.mark.parametrize("norm_images", [1, 100])
def test_bad_file_of_the_dropped_last_batch_is_listed_if_the_statistics_read_it(own_photos, tmp_path, norm_images):
    # Of 18 files the first epoch drops two.
    dropped = np.random.default_rng((0, 0)).permutation(18)[16:]
    (own_photos / "val" / "red" / "1.jpg").write_bytes(b"")
    paths = FrequencyDataModule(str(own_photos)).files("train").paths
    seen, unseen = (paths[i] for i in (next(i for i in range(1, 18) if i not in dropped), max(dropped)))
    for path in (seen, unseen):
        open(path, "w").close()
    data, _, go = fit(own_photos, tmp_path, max_bad_fraction=0.2, norm_images=norm_images)
    go()
    assert set(data.bad_files.of_kind("train")) == ({seen, unseen} if norm_images == 100 else {seen})
    assert set(data.bad_files.left_out) == {*data.bad_files.of_kind("train"), str(own_photos / "val" / "red" / "1.jpg")}


def test_a_resumed_training_restores_the_list_of_files_that_are_still_there(photos):
    data = FrequencyDataModule(str(photos))
    path, fitting = data.files("train").paths[5], SimpleNamespace(state=SimpleNamespace(fn="fit"), datamodule=data)
    saved = {"train": {path: "spoilt", "gone.jpg": "spoilt"}, "val": {"gone.jpg": "spoilt"}, "packing": {}}
    BadFileReport().on_load_checkpoint(fitting, None, {"left_out": saved})
    assert data.bad_files.left_out == {path: "spoilt"}


def test_a_resumed_training_without_bad_files_does_not_read_the_names_of_a_store(photos, tmp_path):
    store = tmp_path / "store"
    pack(str(photos), str(store), channels="dc", image_size=32, decoder="pillow", workers=1)
    data = FrequencyDataModule(str(store))
    data.setup("fit")
    for split in ("train", "val"):
        (store / f"{split}.names").unlink()
    fitting = SimpleNamespace(state=SimpleNamespace(fn="fit"), datamodule=data)
    BadFileReport().on_load_checkpoint(fitting, None, {"left_out": {"train": {}, "packing": {}}})
    assert not data.bad_files.left_out


def test_failed_prediction_leaves_the_previous_file(own_photos, tmp_path):
    model, data = parts(own_photos / "val")
    sorted((own_photos / "val").rglob("*.jpg"))[-1].write_bytes(b"")
    out = tmp_path / "p.csv"
    previous = f"{','.join(PREDICTIONS)}\na.jpg,red,1,[]\n"
    out.write_text(previous)
    with pytest.raises(ImageError):
        trainer(tmp_path, PredictionsCSV(out)).predict(model, data)
    assert out.read_text() == previous
    assert not list(tmp_path.glob(".p.csv*"))


def test_prediction_that_fails_before_it_starts_keeps_its_own_error(tmp_path):
    (tmp_path / ".p.csv.partial").touch()  # from a killed process
    model, data = parts(tmp_path / "missing")
    with pytest.raises(UserError, match="missing"):
        trainer(tmp_path, PredictionsCSV(tmp_path / "p.csv")).predict(model, data)


def test_prediction_skips_bad_files(own_photos, tmp_path):
    bad = own_photos / "val" / "red" / "0.jpg"
    bad.write_bytes(b"")
    model, data = parts(own_photos / "val", on_error="skip")
    trainer(tmp_path, PredictionsCSV(tmp_path / "p.csv")).predict(model, data)
    rows = list(csv.DictReader(open(tmp_path / "p.csv")))
    assert len(rows) == 8
    assert str(bad) not in {row["path"] for row in rows}
    assert {row["label"] for row in rows} <= {"blue", "green", "red"}
