"""What is written about files that were left out, and predictions that were not finished."""

import csv

import pytest
import pytorch_lightning as pl
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.decode import ImageError
from dctnet.model.classifier import FrequencyClassifier
from dctnet.study.callbacks import PredictionsCSV, SkippedFiles


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


def test_without_a_run_folder_the_list_goes_to_standard_error(own_photos, tmp_path, capsys):
    bad = own_photos / "val" / "red" / "1.jpg"
    bad.write_bytes(b"")
    model, data = parts(own_photos, on_error="skip")
    trainer(tmp_path, SkippedFiles()).validate(model, data, verbose=False)
    assert f"left out {bad}: " in capsys.readouterr().err
    assert not list(tmp_path.glob("*.csv"))


def test_prediction_that_fails_leaves_no_file(own_photos, tmp_path):
    model, data = parts(own_photos / "val")
    sorted((own_photos / "val").rglob("*.jpg"))[-1].write_bytes(b"")
    out = tmp_path / "p.csv"
    out.write_text("of yesterday")
    with pytest.raises(ImageError):
        trainer(tmp_path, PredictionsCSV(out)).predict(model, data)
    assert out.read_text() == "of yesterday"


def test_prediction_skips_and_names_the_rest(own_photos, tmp_path):
    bad = own_photos / "val" / "red" / "0.jpg"
    bad.write_bytes(b"")
    model, data = parts(own_photos / "val", on_error="skip")
    trainer(tmp_path, PredictionsCSV(tmp_path / "p.csv")).predict(model, data)
    rows = list(csv.DictReader(open(tmp_path / "p.csv")))
    assert len(rows) == 8
    assert str(bad) not in {row["path"] for row in rows}
    assert {row["label"] for row in rows} <= {"blue", "green", "red"}
