"""Checkpoints and names of an enemy, through every verb that reads them; the campaign has many more."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import torch

from dctnet.cli import main
from dctnet.errors import UserError, printable
from dctnet.studies.accuracy.provenance import list_images, record_images
from dctnet.studies.rows import read_rows, write_rows
from dctnet.training.checkpoint import adapt_data_options, load_classifier, read_options
from dctnet.training.checkpoint_schema import check_content
from tests.adversarial.payloads import FIT, QUIET, Trial, calls, forged
from tests.conftest import paint
from tests.simulated_rows import make_row

NAMES = [
    "line\ndctnet: forged", "carriage\rreturn", "a,b;c\td", "quo\"te's", "=cmd()", "+1", "@x", "-2+3", "&lt;<b>",
    "<script>alert(1)<", "\u202egnp.exe", os.fsdecode(b"\xff\xfe"), "😀", " lead", "trail ", "null", "\x1b[31mred",
    "a\u2028b", "a\x85b", "${HOME}", "{0}", "%s",
]  # fmt: skip
UTF8 = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    before = Path.cwd()
    os.chdir(folder := tmp_path_factory.mktemp("enemies"))
    yield Trial(folder)
    os.chdir(before)


@pytest.fixture(autouse=True)
def plain_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dctnet"])


def none_got_through(trial, group, refused=True):
    count = trial.counts[group]
    assert count["tried"] > 0
    assert not any(count[what] for what in ("executed", "escaped", "over 2 GB", "traceback"))
    if refused:
        assert count["refused"] == count["tried"]


def test_no_verb_runs_what_a_checkpoint_calls(trial):
    path = trial.folder / "payload.ckpt"
    torch.save({**trial.content, "x": calls(trial.marker)["os.system"]}, path)
    torch.load(path, weights_only=False)
    assert trial.marker.exists()  # so the payload would leave its mark
    trial.marker.unlink()
    for command, verb in trial.verbs(path).values():
        trial.give("pickles", "os.system", command, verb)
    said = trial.give("pickles", "os.system", ["fit", *FIT, "--model.weights", str(path)])
    assert "it names 'posix.system'" in said
    none_got_through(trial, "pickles")


def test_small_files_that_ask_for_all_memory_and_masks_that_are_none(trial):
    trial.small()
    none_got_through(trial, "bombs")
    none_got_through(trial, "masks")


def test_options_of_a_checkpoint_are_known_ones_of_their_types(trial):
    # Without the others, which can be; the campaign has all of them run.
    refused = [name for name, content in forged(trial.content, trial.precious) if is_refused(content)]
    assert len(refused) >= 56
    check_content("x.ckpt", trial.content)


def is_refused(content):
    try:
        check_content("x.ckpt", content)
    except UserError as error:
        return "\n" not in str(error)
    return False


def test_resuming_removes_no_folder_that_a_checkpoint_names(trial):
    # Without the check Lightning removes it, with all that is in it.
    for state in (states := trial.content["callbacks"]).values():
        state["best_model_path"] = f"local://{trial.precious}"
    torch.save({**trial.content, "callbacks": states}, trial.folder / "forged.ckpt")
    said = trial.give("resume", "local", ["fit", *FIT, "--ckpt_path", str(trial.folder / "forged.ckpt")])
    assert "best_model_path" in said
    none_got_through(trial, "resume")


def test_a_checkpoint_fetches_nothing_and_starts_no_more_processes_than_there_are_cores(trial):
    model, data = read_options(trial.own)
    for download, root in (("planted", "photos"), ("imagenette", "photos/imagenette2")):
        adapted = adapt_data_options({**data, "num_workers": 10**6, "download": download}, model, None)
        assert "download" not in adapted
        assert adapted["root"] == root
        assert adapted["num_workers"] <= os.cpu_count()


@pytest.fixture(scope="module")
def named(trial):
    """A run on class folders and files of such names, one of which cannot be read."""
    os.chdir(trial.folder)
    for split in ("train", "val"):
        for seed, name in enumerate(NAMES):
            (folder := Path("named", split, name)).mkdir(parents=True)
            paint((10 * seed, 50, 99), (32, 32), seed).save(folder / "1.jpg")
            (folder / "1.jpg").rename(folder / f"{name}.jpg")
    bad = Path("named", "val", NAMES[0], "bad\ndctnet: forged.jpg")
    bad.write_bytes(b"x")
    options = [*FIT, "--data.root", "named", "--name", NAMES[12], "--data.on_error", "skip"]
    assert main([part.format(epochs=1) for part in ["fit", *options]]) == 0
    return Path("out", NAMES[12], "version_0"), bad


def table(path):
    with open(path, **UTF8) as file:
        return list(csv.reader(file))


def test_names_come_back_from_every_table_as_they_are(named):
    run, bad = named
    assert [row[0] for row in table(run / "skipped.csv")[1:]] == [str(bad)]
    predict = ["predict", "--ckpt_path", str(run / "last.ckpt"), "--data.root", "named/val", "--out", "=p.csv"]
    assert main([*predict, "--data.on_error", "skip", *QUIET]) == 0
    rows = table("=p.csv")[1:]
    assert sorted(row[0] for row in rows) == sorted(str(Path("named/val", name, f"{name}.jpg")) for name in NAMES)
    assert {row[1] for row in rows} <= set(NAMES)
    assert {name for row in rows for name, _ in json.loads(row[3])} <= set(NAMES)


def test_evaluation_images_keep_their_names(named, tmp_path):
    listed = list_images(load_classifier(named[0] / "last.ckpt", root="named")[1], ["val"])
    record_images(tmp_path / "images.csv", listed)
    assert table(tmp_path / "images.csv")[1:] == listed
    record_images(tmp_path / "images.csv", listed)
    assert {row[2] for row in listed} == set(NAMES)


def test_a_trained_network_keeps_its_classes(named, capsys):
    assert read_options(named[0] / "last.ckpt")[0]["classes"] == sorted(NAMES)
    assert main(["validate", "--ckpt_path", str(named[0] / "last.ckpt"), "--data.on_error", "skip", *QUIET]) == 0
    out, err = capsys.readouterr()
    assert "val_acc1" in out
    assert f"skipped {printable(str(named[1]))}" in err
    assert "\ndctnet:" not in err


def test_a_name_makes_no_second_line_of_an_error(named, capsys):
    capsys.readouterr()
    assert main(["validate", "--ckpt_path", str(named[0] / "last.ckpt"), "--data.on_error", "stop", *QUIET]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "dctnet: " in line]
    assert len(lines) == 1
    assert r"bad\ndctnet: forged.jpg" in lines[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_printed_is_one_line_that_can_be_encoded(name):
    text = printable(name)
    assert len(f"{text}.".splitlines()) == 1
    assert text.isprintable()
    text.encode()


def test_ordinary_text_is_printed_as_it_is():
    text = "é 中 − × …\N{NO-BREAK SPACE}😀 C:\\new"
    assert printable(text) == text


def test_rows_keep_the_names_of_arms(tmp_path):
    # What the report's page makes of them is tested beside it. An undecodable one cannot stand in a configuration.
    rows = [make_row(name, 0, "10", label=name) for name in NAMES if name.encode(errors="replace").decode() == name]
    assert len(rows) == len(NAMES) - 1
    write_rows(tmp_path / "rows.csv", rows)
    assert read_rows(tmp_path / "rows.csv") == rows
