"""Malicious checkpoints and names, given to every verb that reads them; tests.adversarial.payloads has many more."""

import csv
import json
import os
from pathlib import Path

import pytest
import torch

from dctnet.errors import printable
from dctnet.studies.accuracy.provenance import list_images, record_images
from dctnet.studies.rows import read_rows, write_rows
from dctnet.training.checkpoint import adapt_data_options, load_classifier, read_options
from tests.adversarial.payloads import FIT, QUIET, Trial, calls
from tests.commands import fails, run
from tests.conftest import paint
from tests.simulated_rows import make_row

pytestmark = pytest.mark.usefixtures("small_backbones")
NAMES = [
    "line\ndctnet: forged", "carriage\rreturn", "a,b;c\td", "quo\"te's", "=cmd()", "+1", "@x", "-2+3", "&lt;<b>",
    "<script>alert(1)<", "\u202egnp.exe", os.fsdecode(b"\xff\xfe"), "😀", " lead", "trail ", "null", "\x1b[31mred",
    "a\u2028b", "a\x85b", "${HOME}", "{0}", "%s",
]  # fmt: skip


@pytest.fixture(scope="module")
def trial(tmp_path_factory, small_backbones):
    before = Path.cwd()
    os.chdir(folder := tmp_path_factory.mktemp("adversarial"))
    yield Trial(folder)
    os.chdir(before)


def assert_harmless(trial, group, refused=True):
    count = trial.counts[group]
    assert count["tried"] > 0
    assert not any(count[fault] for fault in ("executed", "escaped", "over 2 GB", "traceback"))
    assert not refused or count["refused"] == count["tried"]


def test_no_verb_runs_a_call_in_a_checkpoint(trial):
    path = trial.folder / "payload.ckpt"
    torch.save({**trial.content, "x": calls(trial.marker)["os.system"]}, path)
    torch.load(path, weights_only=False)
    assert trial.marker.exists()  # the payload works
    trial.marker.unlink()
    for command, verb in trial.verbs(path).values():
        trial.give("pickles", "os.system", command, verb)
    assert "posix.system" in trial.give("pickles", "os.system", ["fit", *FIT, "--model.weights", str(path)])
    assert_harmless(trial, "pickles")


def test_files_that_request_too_much_memory_and_invalid_masks_are_refused(trial):
    trial.give_bombs_and_masks()
    assert_harmless(trial, "bombs")
    assert_harmless(trial, "masks")


def test_forged_options_paths_and_progress_cause_no_traceback(trial):
    trial.give_forged(("export-mask", "resume"), step=40)
    assert_harmless(trial, "forged checkpoints", refused=False)


def test_resuming_deletes_no_folder_that_a_checkpoint_names(trial):
    # Lightning would delete it with all its files.
    states = {name: {**state} for name, state in trial.content["callbacks"].items()}
    for state in states.values():
        state["best_model_path"] = f"local://{trial.precious}"
    torch.save({**trial.content, "callbacks": states}, trial.folder / "forged.ckpt")
    message = trial.give("resume", "local", ["fit", *FIT, "--ckpt_path", str(trial.folder / "forged.ckpt")])
    assert "best_model_path" in message
    assert_harmless(trial, "resume")


def test_a_checkpoint_starts_no_download_and_no_more_processes_than_there_are_cores(trial):
    model, data = read_options(trial.own)
    for download, root in (("planted", "photos"), ("imagenette", "photos/imagenette2")):
        adapted = adapt_data_options({**data, "num_workers": 10**6, "download": download}, model, None)
        assert "download" not in adapted
        assert adapted["root"] == root
        assert adapted["num_workers"] <= os.cpu_count()


@pytest.fixture(scope="module")
def named(trial):
    """The folder of a fit on class folders and files with such names, and the path of a file that is not an image."""
    for split in ("train", "val"):
        for seed, name in enumerate(NAMES):
            (folder := Path("named", split, name)).mkdir(parents=True)
            paint((10 * seed, 50, 99), (32, 32), seed).save(folder / "1.jpg")
            (folder / "1.jpg").rename(folder / f"{name}.jpg")
    bad = Path("named", "val", NAMES[0], "bad\ndctnet: forged.jpg")
    bad.write_bytes(b"x")
    options = [*FIT, "--data.root", "named", "--name", NAMES[12], "--data.on_error", "skip"]
    assert trial.run(["fit", *options])[0] == 0
    return Path("out", NAMES[12], "version_0"), bad


def table(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.reader(file))


def test_every_table_preserves_names(named):
    folder, bad = named
    assert [row[0] for row in table(folder / "skipped.csv")[1:]] == [str(bad)]
    predict = ["predict", "--ckpt_path", folder / "last.ckpt", "--data.root", "named/val", "--out", "=p.csv"]
    assert run(*predict, "--data.on_error", "skip", *QUIET) == 0
    rows = table("=p.csv")[1:]
    assert sorted(row[0] for row in rows) == sorted(str(Path("named/val", name, f"{name}.jpg")) for name in NAMES)
    assert {row[1] for row in rows} <= set(NAMES)
    assert {name for row in rows for name, _ in json.loads(row[3])} <= set(NAMES)


def test_the_list_of_evaluation_images_preserves_names(named, tmp_path):
    listed = list_images(load_classifier(named[0] / "last.ckpt", root="named")[1], ["val"])
    record_images(tmp_path / "images.csv", listed)
    assert table(tmp_path / "images.csv")[1:] == listed
    record_images(tmp_path / "images.csv", listed)
    assert {row[2] for row in listed} == set(NAMES)


def test_a_checkpoint_preserves_class_names_and_names_forge_no_line(named, capsys):
    folder, bad = named
    assert read_options(folder / "last.ckpt")[0]["classes"] == sorted(NAMES)
    validate = ["validate", "--ckpt_path", folder / "last.ckpt", *QUIET, "--data.on_error"]
    assert run(*validate, "skip") == 0
    error_output = capsys.readouterr().err
    assert f"skipped {printable(str(bad))}" in error_output
    assert "\ndctnet:" not in error_output
    assert r"bad\ndctnet: forged.jpg" in fails(capsys, *validate, "stop")


@pytest.mark.parametrize("name", NAMES)
def test_printed_names_are_one_line_that_can_be_encoded(name):
    text = printable(name)
    assert len(f"{text}.".splitlines()) == 1
    assert text.isprintable()
    text.encode()


def test_ordinary_text_is_printed_unchanged():
    text = "é 中 − × …\N{NO-BREAK SPACE}😀 C:\\new"
    assert printable(text) == text


def test_rows_preserve_the_names_of_arms(tmp_path):
    # Without the undecodable name, which a configuration cannot contain.
    rows = [make_row(name, 0, "10", label=name) for name in NAMES if name.encode(errors="replace").decode() == name]
    assert len(rows) == len(NAMES) - 1
    write_rows(tmp_path / "rows.csv", rows)
    assert read_rows(tmp_path / "rows.csv") == rows
