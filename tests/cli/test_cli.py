"""The command line, from a folder of photographs to a mask and predictions."""

import csv
import errno
import functools
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from dctnet.cli import main
from dctnet.cli.main import VERBS
from dctnet.data.planted import make_planted
from dctnet.errors import Stopped
from dctnet.frequency.maskfile import read_mask
from tests.conftest import make_photos

TINY = {
    "seed_everything": 0,
    "name": "tiny",
    "data": {"channels": "square-24", "image_size": 64, "batch_size": 6, "num_workers": 0},
    "model": {"gate": "static", "keep": 6, "gate_lr": 0.3, "lr": 0.05},
    "trainer": {"max_epochs": 8, "accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 5},
}


@pytest.fixture(autouse=True)
def plain_arguments(monkeypatch):
    # LightningCLI warns when it is given arguments while the process has some of its own.
    monkeypatch.setattr(sys, "argv", ["dctnet"])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A fitted tiny experiment: the folder it was run in."""
    folder = tmp_path_factory.mktemp("run")
    make_photos(folder / "photos", 12, 5)
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    sys.argv = ["dctnet"]
    assert (
        main(["fit", "--config", str(config), "--data.root", str(folder / "photos"), "--out_dir", str(folder / "out")])
        == 0
    )
    return folder


def fails(capsys, *args: object) -> str:
    """Runs a command that must end with status 2 and one line on standard error; returns the line."""
    capsys.readouterr()
    assert main([str(a) for a in args]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dctnet: ")]
    assert len(lines) == 1
    return lines[0]


def test_help_is_there_without_torch():
    code = "import sys; from dctnet.cli import main; assert main(['--help']) == 0; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in VERBS:
        assert verb in done.stdout


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dctnet 0.")


def test_fit_leaves_everything_in_one_folder(run):
    folder = run / "out" / "tiny" / "version_0"
    found = {p.name for p in folder.iterdir()}
    assert {"config.yaml", "metrics.csv", "last.ckpt", "best.ckpt", "mask.json", "mask.png"} <= found
    assert any(name.startswith("events.out.tfevents") for name in found)
    rows = list(csv.DictReader(open(folder / "metrics.csv")))
    assert {"train_loss", "val_acc1", "val_acc5", "num_kept", "gate_penalty", "images_per_second"} <= rows[0].keys()


def test_mask_has_the_channels_asked_for_and_says_where_it_comes_from(run):
    folder = run / "out" / "tiny" / "version_0"
    kept, probability = read_mask(folder / "mask.json")
    assert len(kept) == 6
    assert sum(p > 0 for p in probability) == 24
    source = json.loads((folder / "mask.json").read_text())["source"]
    assert source["gate"] == "static"
    assert source["images"] == 15
    assert len(source["checkpoint_sha256"]) == 64


def test_second_run_gets_its_own_folder_and_the_mask_removes_channels(run, capsys):
    mask = run / "out" / "tiny" / "version_0" / "mask.json"
    options = [
        "--data.root",
        run / "photos",
        "--out_dir",
        run / "out",
        "--data.channels",
        mask,
        "--trainer.max_epochs",
        1,
    ]
    config = {**TINY, "model": {"lr": 0.05}}
    (run / "static.yaml").write_text(yaml.safe_dump(config))
    assert main([str(a) for a in ["fit", "--config", run / "static.yaml", *options]]) == 0
    out = capsys.readouterr().out
    assert "version_1" in out
    assert "6 of 192" in out
    state = torch.load(run / "out" / "tiny" / "version_1" / "last.ckpt", weights_only=True)
    assert state["state_dict"]["backbone.conv1.weight"].shape == (64, 6, 1, 1)
    assert state["hyper_parameters"]["channels"] == list(read_mask(mask)[0].indices)


def test_resumed_run_goes_on_from_the_last_epoch(run, tmp_path, capsys):
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", run / "photos", "--out_dir", tmp_path]
    ckpt = run / "out" / "tiny" / "version_0" / "last.ckpt"
    assert torch.load(ckpt, weights_only=True)["epoch"] == 7
    longer = [*args, "--ckpt_path", ckpt, "--trainer.max_epochs", 9]
    assert "was trained with max_epochs 8, now 9. To go on" in fails(capsys, *longer, "--name", "refused")
    assert main([str(a) for a in [*longer, "--allow_changes", "true"]]) == 0
    rows = list(csv.DictReader(open(tmp_path / "tiny" / "version_0" / "metrics.csv")))
    assert {row["epoch"] for row in rows} == {"8"}
    assert "cannot be resumed" in fails(capsys, *args, "--ckpt_path", ckpt, "--data.channels", "dc", "--model.keep", 2)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("data.batch_size", 5, "batch_size 6, now 5"),
        ("seed_everything", 1, "seed 0, now 1"),
        ("model.lr", 1, "lr 0.05, now 1.0"),
        ("data.dct", "device", "dct loader, now device"),
        ("trainer.gradient_clip_val", 0.5, "gradient_clip_val None, now 0.5"),
        ("trainer.check_val_every_n_epoch", 2, "check_val_every_n_epoch 1, now 2"),
        ("trainer.callbacks", "LearningRateMonitor", "callbacks [], now ['LearningRateMonitor']"),
    ],
)
def test_resuming_with_another_option_is_refused(run, tmp_path, capsys, option, value, said):
    ckpt = run / "out" / "tiny" / "version_0" / "last.ckpt"
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", run / "photos", "--out_dir", tmp_path]
    assert f"{ckpt} was trained with {said}. To go on with" in fails(
        capsys, *args, "--ckpt_path", ckpt, f"--{option}", value
    )


@pytest.mark.parametrize(("split", "said"), [("train", "in train: 36, now 35"), ("val", "in val: 15, now 14")])
def test_resuming_on_other_images_is_refused(run, tmp_path, capsys, split, said):
    shutil.copytree(run / "photos", tmp_path / "photos")
    next((tmp_path / "photos" / split).rglob("*.jpg")).unlink()
    ckpt = run / "out" / "tiny" / "version_0" / "last.ckpt"
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", tmp_path / "photos", "--out_dir", tmp_path]
    assert f"other images {said}" in fails(capsys, *args, "--ckpt_path", ckpt)
    assert not list((tmp_path / "tiny").iterdir())


def test_training_that_had_ended_says_so(run, tmp_path, capsys):
    ckpt = run / "out" / "tiny" / "version_0" / "last.ckpt"
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", run / "photos", "--out_dir", tmp_path]
    assert main([str(a) for a in [*args, "--ckpt_path", ckpt]]) == 0
    assert "trained         nothing: it had ended; for more, --trainer.max_epochs N" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda content: content["state_dict"]["backbone.bn1.weight"].fill_(math.nan), "backbone.bn1.weight has NaN"),
        (lambda content: content.pop("optimizer_states"), "cannot be resumed: it has no 'optimizer_states'"),
    ],
)
def test_resuming_what_is_no_whole_state_is_refused(run, tmp_path, capsys, spoil, said):
    content = torch.load(run / "out" / "tiny" / "version_0" / "last.ckpt", weights_only=True)
    spoil(content)
    torch.save(content, tmp_path / "spoilt.ckpt")
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", run / "photos", "--out_dir", tmp_path]
    assert f"{tmp_path / 'spoilt.ckpt'}" in (line := fails(capsys, *args, "--ckpt_path", tmp_path / "spoilt.ckpt"))
    assert said in line


def test_flipped_bit_of_a_checkpoint_is_found(run, tmp_path, capsys):
    content = bytearray((run / "out" / "tiny" / "version_0" / "last.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.ckpt").write_bytes(content)
    assert "damaged: the checksum of " in fails(capsys, "validate", "--ckpt_path", tmp_path / "flipped.ckpt")


def test_accuracy_and_mask_are_those_of_the_last_weights(run, tmp_path, capsys):
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", run / "photos", "--out_dir", tmp_path]
    assert main([str(a) for a in [*args, "--trainer.max_epochs", 3, "--trainer.check_val_every_n_epoch", 2]]) == 0
    folder = tmp_path / "tiny" / "version_0"
    logits = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]["gate.logits"]
    probability = read_mask(folder / "mask.json")[1]
    assert sorted(p for p in probability if p) == pytest.approx(sorted(logits.sigmoid().tolist()), abs=1e-5)


def test_gated_fit_without_validation_says_that_there_is_no_mask(run, tmp_path, capsys):
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", run / "photos", "--out_dir", tmp_path]
    assert main([str(a) for a in [*args, "--trainer.max_epochs", 1, "--trainer.limit_val_batches", 0]]) == 0
    assert "export-mask counts later" in capsys.readouterr().out


def test_two_runs_at_once_get_folders_of_their_own(tmp_path):
    from dctnet.cli.fit import _new_version

    assert [_new_version(tmp_path / "x").name for _ in range(3)] == ["version_0", "version_1", "version_2"]


def test_download_of_the_training_does_not_follow_to_another_root(run, tmp_path, capsys, monkeypatch):
    small_set = functools.partial(make_planted, train_per_class=2, val_per_class=1)
    monkeypatch.setattr("dctnet.data.download.make_planted", small_set)
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", tmp_path / "set", "--data.download", "planted"]
    small = ["--trainer.max_epochs", 1, "--trainer.limit_train_batches", 1, "--out_dir", tmp_path]
    assert main([str(a) for a in [*args, *small]]) == 0
    ckpt = tmp_path / "tiny" / "version_0" / "last.ckpt"
    line = fails(capsys, "validate", "--ckpt_path", ckpt, "--data.root", tmp_path / "sett")
    assert f"Did you mean {tmp_path / 'set'}" in line
    assert not (tmp_path / "sett").exists()


def test_validate_takes_all_from_the_checkpoint(run, capsys, monkeypatch):
    monkeypatch.chdir(run)
    before = set(run.iterdir())
    assert (
        main(["validate", "--ckpt_path", "out/tiny/version_0/last.ckpt", "--trainer.enable_progress_bar", "false"]) == 0
    )
    assert "val_acc1" in capsys.readouterr().out
    assert set(run.iterdir()) == before


def test_option_of_the_command_line_wins_over_the_checkpoint(run, capsys):
    (run / "other").mkdir()
    make_photos(run / "other" / "photos", 1, 2)
    args = ["validate", "--ckpt_path", run / "out/tiny/version_0/last.ckpt", "--data.root", run / "other" / "photos"]
    assert main([str(a) for a in args]) == 0
    assert "6.0" in capsys.readouterr().out  # val_images


@pytest.mark.parametrize("what", ["photos/val", "photos/val/red/0.jpg"])
def test_predict_writes_a_row_a_file(run, tmp_path, what):
    out = tmp_path / "p.csv"
    args = ["predict", "--ckpt_path", run / "out/tiny/version_0/last.ckpt", "--data.root", run / what, "--out", out]
    assert main([str(a) for a in args]) == 0
    rows = list(csv.DictReader(open(out)))
    assert len(rows) == (1 if what.endswith("jpg") else 15)
    assert list(rows[0]) == ["path", "label", "probability", "top5"]
    for row in rows:
        top = json.loads(row["top5"])
        assert [row["label"], float(row["probability"])] == top[0]
        assert sum(p for _, p in top) == pytest.approx(1, abs=1e-4)
        assert [p for _, p in top] == sorted((p for _, p in top), reverse=True)
    if len(rows) == 15:
        assert sum(Path(r["path"]).parent.name == r["label"] for r in rows) > 9


def test_export_mask_counts_anew_and_keeps_k(run, tmp_path):
    out = tmp_path / "m.json"
    ckpt = run / "out/tiny/version_0/last.ckpt"
    assert main(["export-mask", str(ckpt), "--out", str(out), "--keep", "3"]) == 0
    three, probability = read_mask(out)
    six, fitted = read_mask(run / "out/tiny/version_0/mask.json")
    assert set(three.indices) < set(six.indices)
    assert probability == pytest.approx(fitted, abs=1e-5)
    assert out.with_suffix(".png").is_file()


def test_export_mask_without_a_number_keeps_as_many_as_the_fit(run, tmp_path):
    assert main(["export-mask", str(run / "out/tiny/version_0/last.ckpt"), "--out", str(tmp_path / "m.json")]) == 0
    assert read_mask(tmp_path / "m.json")[0].indices == read_mask(run / "out/tiny/version_0/mask.json")[0].indices


def test_export_mask_tells_what_it_skipped(run, tmp_path, capsys):
    (tmp_path / "more").mkdir()
    photos = make_photos(tmp_path / "more" / "photos", 1, 2)
    (photos / "val" / "red" / "0.jpg").write_bytes(b"")
    args = ["export-mask", run / "out/tiny/version_0/last.ckpt", "--out", tmp_path / "m.json", "--data.root", photos]
    assert str(photos / "val" / "red" / "0.jpg") in fails(capsys, *args)


def test_predict_of_one_bad_file_writes_no_row(run, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    args = [
        "predict",
        "--ckpt_path",
        run / "out/tiny/version_0/last.ckpt",
        "--data.root",
        bad,
        "--out",
        tmp_path / "p.csv",
    ]
    assert main([str(a) for a in [*args, "--data.on_error", "skip"]]) == 0
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 1
    assert f"left out {bad}" in capsys.readouterr().err


def test_export_mask_asks_another_data_set(run, tmp_path):
    (tmp_path / "more").mkdir()
    make_photos(tmp_path / "more" / "photos", 1, 1)
    args = ["export-mask", run / "out/tiny/version_0/last.ckpt", "--out", tmp_path / "m.json"]
    assert main([str(a) for a in [*args, "--data.root", tmp_path / "more" / "photos"]]) == 0
    assert json.loads((tmp_path / "m.json").read_text())["source"]["images"] == 3


@pytest.fixture(scope="module")
def store(run):
    """The run's photographs packed: eight channels, for crops of 64."""
    options = ["--data.channels", "zigzag-8", "--data.image_size", "64", "--data.crop_fraction", "1.0"]
    assert main(["pack", str(run / "photos"), str(run / "store"), *options, "--workers", "1"]) == 0
    return run / "store"


def test_packed_store_is_trained_on_and_evaluated_by_its_path_alone(run, store, tmp_path, capsys):
    config = tmp_path / "plain.yaml"
    trainer = {"max_epochs": 4, "accelerator": "cpu", "enable_progress_bar": False}
    config.write_text(yaml.safe_dump({"data": {"batch_size": 6}, "trainer": trainer}))
    out = ["--out_dir", str(tmp_path), "--name", "packed"]
    assert main(["fit", "--config", str(config), "--data.root", str(store), *out]) == 0
    assert "8 of 192" in capsys.readouterr().out
    last = str(tmp_path / "packed" / "version_0" / "last.ckpt")
    assert main(["validate", "--ckpt_path", last]) == 0
    # The same network reads photographs: the checkpoint says at which size and which channels.
    assert main(["validate", "--ckpt_path", last, "--data.root", str(run / "photos")]) == 0
    assert main(["predict", "--ckpt_path", last, "--data.root", str(run / "photos" / "val"), "--out",
                 str(tmp_path / "p.csv")]) == 0  # fmt: skip
    assert len(list(csv.DictReader(open(tmp_path / "p.csv")))) == 15
    content = torch.load(last, weights_only=True)
    recorded = content["FrequencyDataModule"]["decoder"]
    assert recorded.startswith(("Pillow", "libjpeg-turbo"))


def test_checkpoint_of_photographs_reads_a_store(run, store, tmp_path, capsys):
    # The training held a part out of one folder and read it its own way; none of that applies to the store.
    options = [
        "--data.root",
        str(run / "photos" / "train"),
        "--data.val_fraction",
        "0.3",
        "--data.channels",
        "zigzag-8",
    ]
    options += [
        "--data.image_size",
        "64",
        "--data.crop_fraction",
        "1.0",
        "--data.batch_size",
        "6",
        "--data.num_workers",
    ]
    trainer = ["0", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--out_dir", str(tmp_path)]
    assert main(["fit", *options, *trainer]) == 0
    last = str(tmp_path / "run" / "version_0" / "last.ckpt")
    assert main(["validate", "--ckpt_path", last, "--data.root", str(store)]) == 0
    assert "val_acc1" in capsys.readouterr().out


def test_first_channels_of_a_store(run, store, tmp_path, capsys):
    options = ["--data.root", str(store), "--data.channels", "first-3", "--data.batch_size", "6"]
    trainer = ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--out_dir", str(tmp_path)]
    assert main(["fit", *options, *trainer]) == 0
    assert "3 of 192" in capsys.readouterr().out


def test_verify_passes_a_good_store_and_names_a_damaged_file(store, tmp_path, capsys):
    assert main(["verify", str(store)]) == 0
    copy = shutil.copytree(store, tmp_path / "copy")
    shard = next(copy.glob("train-*.bin"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert shard.name in fails(capsys, "verify", copy)


def test_pack_refuses_in_one_line(run, store, tmp_path, capsys):
    assert "already a packed store" in fails(capsys, "pack", store, tmp_path / "again")
    assert "squire-24" in fails(capsys, "pack", run / "photos", tmp_path / "x", "--data.channels", "squire-24")
    assert "multiples of 8" in fails(capsys, "pack", run / "photos", tmp_path / "x", "--scales", "[100]")
    assert "no option" in fails(capsys, "pack", run / "photos", tmp_path / "x", "--data.chanels", "dc")


def test_make_planted(tmp_path):
    args = ["make-planted", str(tmp_path / "set"), "--train_per_class", "1", "--val_per_class", "1", "--seed", "3"]
    assert main(args) == 0
    assert len(list((tmp_path / "set").rglob("*.jpg"))) == 16


def test_skipped_files_are_listed_and_counted(own_photos, tmp_path, capsys):
    bad = own_photos / "val" / "red" / "1.jpg"
    bad.write_bytes(b"no image")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}))
    args = ["fit", "--config", tmp_path / "c.yaml", "--data.root", own_photos, "--out_dir", tmp_path / "out"]
    line = fails(capsys, *args)
    assert str(bad) in line
    also = own_photos / "train" / "blue" / "2.jpg"
    also.write_bytes(b"no image")
    args += ["--data.on_error", "skip", "--name", "skip"]
    line = fails(capsys, *args)
    listed = tmp_path / "out" / "skip" / "version_0" / "skipped.csv"
    assert "1 of 9 val files" in line
    assert f"--data.max_bad_fraction 0.1 allows, such as {bad}: " in line
    assert line.endswith(f"; all in {listed}")
    assert main([str(a) for a in [*args, "--data.max_bad_fraction", "null"]]) == 0
    out, listed = capsys.readouterr().out, tmp_path / "out" / "skip" / "version_1" / "skipped.csv"
    assert f"8 validation images, 1 could not be read: {listed}" in out
    assert f"1 of 18 training files could not be read: {listed}" in out
    assert [row["path"] for row in csv.DictReader(open(listed))] == [str(also), str(bad)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fitt"], "no verb 'fitt'. Did you mean 'fit'?"),
        (["fit", "--model.gaet", "static", "--data.root", "x"], "Did you mean 'model.gate'"),
        (["fit", "--modl.gate", "static"], "Did you mean 'model.gate'"),
        (["fit", "--model.gate", "statc", "--data.root", "x"], "Did you mean 'static'"),
        (["fit", "--data.root", "x", "--model.keep", "many"], "--model.keep many: wanted int or null"),
        (["fit", "--trainer.maxepochs", "3"], "Did you mean 'trainer.max_epochs'"),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["fit"], "data.root"),
        (["fit", "--data.root", "x", "--data.channels", "squar-24"], "Did you mean 'square-24'"),
        (["fit", "--data.root", "x", "--data.channels", "none.json"], "none.json"),
        (["fit", "--data.root", "/no/such/folder"], "/no/such/folder"),
        (["validate"], "--ckpt_path is missing"),
        (["predict", "--ckpt_path", "none.ckpt", "--data.root", "x"], "none.ckpt: no such checkpoint"),
        (["export-mask", "none.ckpt"], "none.ckpt: no such checkpoint"),
        (["export-mask", "none.ckpt", "--kep", "3"], "Did you mean 'keep'"),
        (["export-mask"], "ckpt"),
        (["make-planted", "x", "--train_per_class", "many"], "many"),
        (["make-planted", "x", "--seed", "-1"], "seed must not be negative"),
        (["make-planted", "/proc/nope"], "/proc/nope: cannot be created"),
        (["fit", "--data.root", "x", "--seed_everything", "-1"], "--seed_everything must be"),
        (["fit", "--config", "/dev/null/x.yaml"], "x.yaml"),
    ],
)
def test_mistakes_get_one_line(capsys, args, message):
    assert message in fails(capsys, *args)


@pytest.mark.parametrize(
    ("section", "key", "nearest"),
    [("data", "imagesize", "data.image_size"), ("model", "sparsity", "sparsity_weight"), (None, "trainr", "trainer")],
)
def test_misspelt_key_of_a_file_gets_the_nearest(capsys, tmp_path, section, key, nearest):
    config = {**TINY, "data": dict(TINY["data"]), "model": dict(TINY["model"])}
    (config[section] if section else config)[key] = 1
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    line = fails(capsys, "fit", "--config", tmp_path / "c.yaml", "--data.root", "x")
    assert nearest in line


def test_stop_s_line_is_one_line_whatever_its_checkpoint_is_called(capsys, monkeypatch):
    def stop(args):
        raise Stopped("stopped after step 1; to go on: --ckpt_path a\ndctnet: forged\x1b[31m")

    monkeypatch.setitem(VERBS, "fit", stop)
    assert main(["fit"]) == 75
    assert (
        capsys.readouterr().err == "dctnet: stopped after step 1; to go on: --ckpt_path a\\ndctnet: forged\\x1b[31m\n"
    )


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO])
@pytest.mark.parametrize(("name", "where"), [("a\nb.csv", r"a\nb.csv: "), (None, "")])
def test_what_a_disk_refuses_is_one_line(capsys, monkeypatch, code, name, where):
    def fail(args):
        raise OSError(code, os.strerror(code), name)

    monkeypatch.setitem(VERBS, "fit", fail)
    assert fails(capsys, "fit") == f"dctnet: {where}{os.strerror(code)}"


@pytest.mark.parametrize("error", [OSError("encoder error"), FileNotFoundError(errno.ENOENT, "none"), ValueError("x")])
def test_what_is_our_own_fault_keeps_its_traceback(monkeypatch, error):
    def fail(args):
        raise error

    monkeypatch.setitem(VERBS, "fit", fail)
    with pytest.raises(type(error)):
        main(["fit"])


def test_planted_set_on_a_full_disk_is_one_line_and_leaves_nothing(capsys, monkeypatch, tmp_path):
    def full(*given, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    line = fails(capsys, "make-planted", tmp_path / "set")
    assert line == f"dctnet: {tmp_path}/set: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_null_in_a_file_is_refused_by_name(run, capsys, tmp_path):
    for section, name in (("model", "lr"), ("data", "batch_size")):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump({section: {name: None}}))
        assert main(["fit", "--config", str(tmp_path / "c.yaml"), "--data.root", str(run / "photos")]) == 2
        assert f"dctnet: --{section}.{name} must not be null; " in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--ckpt_path", "nowhere.ckpt"],
        ["--trainer.accelerator", "gpuu"],
        ["--trainer.strategy", "dpp"],
        ["--trainer.devices", "0"],
    ],
)
def test_run_that_cannot_start_says_so_in_one_line(run, capsys, tmp_path, options):
    args = ["fit", "--config", run / "tiny.yaml", "--data.root", run / "photos", "--out_dir", tmp_path]
    assert fails(capsys, *args, *options)


def test_predictions_without_a_folder_to_go_to_are_refused_at_once(run, capsys, tmp_path):
    args = ["predict", "--ckpt_path", run / "out/tiny/version_0/last.ckpt", "--data.root", run / "photos"]
    assert "cannot write there" in fails(capsys, *args, "--out", tmp_path / "none" / "p.csv")


def test_configuration_that_is_no_text_is_refused(capsys, tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00\x01")
    fails(capsys, "fit", "--config", tmp_path / "c.yaml")


def test_checkpoint_that_is_none_is_refused_in_one_line(capsys, tmp_path):
    (tmp_path / "a.ckpt").write_bytes(b"text")
    assert "not a checkpoint of dctnet" in fails(capsys, "validate", "--ckpt_path", tmp_path / "a.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "b.ckpt")
    assert "not a checkpoint of dctnet" in fails(capsys, "export-mask", tmp_path / "b.ckpt")


def test_checkpoint_without_gate_and_foreign_channels_are_refused(run, capsys, tmp_path):
    config = {**TINY, "model": {"lr": 0.05}, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    args = ["fit", "--config", tmp_path / "c.yaml", "--data.root", run / "photos", "--out_dir", tmp_path]
    assert main([str(a) for a in args]) == 0
    ckpt = tmp_path / "tiny" / "version_0" / "last.ckpt"
    assert "trained without a gate" in fails(capsys, "export-mask", ckpt)
    assert "trained on 24 channels" in fails(capsys, "validate", "--ckpt_path", ckpt, "--data.channels", "dc")


def test_without_a_logger_nothing_lands_in_the_current_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ["--trainer.logger", "false", "--trainer.enable_checkpointing", "false", "--trainer.max_epochs", "1"]
    assert main(["fit", "--config", str(run / "tiny.yaml"), "--data.root", str(run / "photos"), *more]) == 0
    assert list(tmp_path.iterdir()) == []
