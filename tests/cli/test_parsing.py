"""Mistakes in commands and configurations: status 2, one line, the nearest right name."""

import warnings

import pytest
import yaml

from dctnet.cli import parsing
from dctnet.cli.parsing import shorten_own_warnings
from tests.commands import CKPT, fails, run
from tests.conftest import GATED, paint


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fitt"], "no verb 'fitt'. Did you mean 'fit'?"),
        (["fit", "--model.gaet", "static", "--data.root", "x"], "Did you mean 'model.gate'"),
        (["fit", "--modl.gate", "static"], "Did you mean 'model.gate'"),
        (["fit", "--model.gate", "statc", "--data.root", "x"], "Did you mean 'static'"),
        (["fit", "--data.root", "x", "--model.keep", "many"], "--model.keep many: expected an integer or null"),
        (["fit", "--data.root", "x", "--data.batch_size", "8.5"], "--data.batch_size 8.5: expected an integer"),
        (["fit", "--data.root", "x", "--model.lr", "fast"], "--model.lr fast: expected a number"),
        (["fit", "--data.root", "x", "--model.compile", "maybe"], "--model.compile maybe: expected true or false"),
        (["fit", "--data.root", "x", "--allow_changes", "maybe"], "--allow_changes maybe: expected true or false"),
        (["fit", "--data.root", "x", "--trainer.precision", "bf17-mixed"], "Did you mean 'bf16-mixed'?"),
        (
            ["pack", "photos", "--out", "store"],
            "--out: given by its position, without the name: dctnet pack SRC OUT",
        ),
        (
            ["fit", "--data.root", "x", "--trainer.callbacks", "Foo"],
            "--trainer.callbacks Foo: no such class. Others need a path",
        ),
        (["fit", "--data.root", "x", "--trainer.limit_val_batches", "x"], "expected an integer or a number or null"),
        (["fit", "--data.root", "x", "--data", "3"], "--data '3': expected a file or a mapping of options"),
        (["fit", "--data.root", "x", "--model", "{lr: 1"], "--model '{lr:"),
        (["fit", "--data.root", "x", "--name", "../x"], "--name ../x: must be the name of one folder"),
        (["fit", "--data.root", "x", "--name", "a/b"], "--name a/b: must be the name of one folder"),
        (["fit", "--data.root", "x", "--name", ".."], "--name ..: must be the name of one folder"),
        (["fit", "--data.root", "x", "--name", ""], "must be the name of one folder"),
        (["benchmark", "--data.root", "x", "--name", "../x"], "--name ../x: must be the name of one folder"),
        (["benchmark", "--data.root", "x", "--seeds", "[a]"], "--seeds a: expected an integer"),
        (["benchmark", "--data.root", "x", "--arms", "[3]"], "--arms 3: expected a mapping of options"),
        (["pack", "a", "b", "--scales", "[1, b]"], "--scales [1, 'b']: expected a list of integers or null"),
        (["fit", "--trainer.maxepochs", "3"], "Did you mean 'trainer.max_epochs'"),
        (["fit", "--trainer.max_epoch", "3", "--data.root", "x"], "Did you mean 'trainer.max_epochs'?"),
        (["benchmark", "--trainer.max_epoch", "3"], "Did you mean 'trainer.max_epochs'?"),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["fit", "--config", "/dev/null/x.yaml"], "x.yaml"),
        (["fit"], "required: --data.root"),
        (["fit", "--data.root", ".", "--data.channels", "squar-24"], "Did you mean 'square-24'"),
        (["fit", "--data.root", ".", "--data.channels", "none.json"], "none.json"),
        (["fit", "--data.root", "/no/such/folder"], "/no/such/folder"),
        (["fit", "--data.root", "x", "--seed_everything", "-1"], "--seed_everything must be"),
        (["validate"], "--ckpt_path is missing"),
        (["predict", "--ckpt_path", "none.ckpt", "--data.root", "x"], "none.ckpt: no such checkpoint"),
        (["export-mask", "none.ckpt"], "none.ckpt: no such checkpoint"),
        (["export-mask", "none.ckpt", "--kee", "3"], "Did you mean 'keep'"),
        (["export-mask"], "required: ckpt"),
        (["pack"], "required: src, out"),
        (["make-planted", "x", "--train_per_class", "many"], "many"),
        (["make-planted", "x", "--seed", "-1"], "the seed at least 0"),
        (["make-planted", "/proc/nope"], "/proc/nope: cannot be created"),
    ],
)
def test_mistakes_get_one_line(capsys, args, message):
    assert message in fails(capsys, *args)


@pytest.mark.parametrize(
    ("section", "key", "nearest"),
    [("data", "imagesize", "data.image_size"), ("model", "sparsity", "sparsity_weight"), (None, "trainr", "trainer")],
)
def test_a_misspelt_key_of_a_file_gets_the_nearest(capsys, tmp_path, section, key, nearest):
    config = {**GATED, "data": dict(GATED["data"]), "model": dict(GATED["model"])}
    (config[section] if section else config)[key] = 1
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert nearest in fails(capsys, "fit", "--config", tmp_path / "c.yaml", "--data.root", "x")


@pytest.mark.parametrize(("section", "name"), [("model", "lr"), ("data", "batch_size")])
def test_null_in_a_file_is_refused_by_name(photos, capsys, tmp_path, section, name):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({section: {name: None}}))
    line = fails(capsys, "fit", "--config", tmp_path / "c.yaml", "--data.root", photos, "--out_dir", tmp_path)
    assert line.startswith(f"dctnet: --{section}.{name} must not be null; ")


def test_a_configuration_that_is_not_text_is_refused(capsys, tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xff\xfe\x00\x01")
    assert "cannot be read" in fails(capsys, "fit", "--config", tmp_path / "c.yaml")


@pytest.mark.parametrize("verb", ["fit", "benchmark"])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("data: [unclosed\n", "not valid YAML, line 2, column 1: did not find expected ',' or ']'"),
        ("data:\n\troot: x\n", "not valid YAML, line 2, column 1: "),
        ('data: {root: "a\\qb"}', "not valid YAML, line 1, column 16: found unknown escape character"),
        ("data: *nowhere", "not valid YAML, line 1, column 7: found undefined alias"),
        ("!!python/object:os.system x", "not valid YAML, line 1, column 1: "),
        ("just text", "no options in it; expected a mapping"),
        ("- 1", "no options in it; expected a mapping"),
        ("", "no options in it; expected a mapping"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(capsys, tmp_path, verb, text, fault):
    (tmp_path / "c.yaml").write_text(text)
    assert fails(capsys, verb, "--config", tmp_path / "c.yaml").startswith(f"dctnet: {tmp_path / 'c.yaml'}: {fault}")


def test_a_broken_file_of_one_section_is_named(capsys, tmp_path):
    (tmp_path / "m.yaml").write_text("lr: [1")
    line = fails(capsys, "fit", "--data.root", "x", "--model", tmp_path / "m.yaml")
    assert str(tmp_path / "m.yaml") in line
    assert "not valid YAML" in line


@pytest.mark.parametrize(
    ("option", "value"),
    [("name", "no"), ("name", "2024"), ("data.root", "1e3"), ("model.weights", "10"), ("data.classes", "no")],
)
def test_a_text_that_yaml_reads_as_a_value_is_refused_with_the_remedy(capsys, tmp_path, option, value):
    section, _, name = option.rpartition(".")
    config = f"{section}: {{{name}: {value}}}" if section else f"{name}: {value}"
    (tmp_path / "c.yaml").write_text(config)
    root = [] if option == "data.root" else ["--data.root", "x"]
    line = fails(capsys, "fit", "--config", tmp_path / "c.yaml", *root)
    assert line.startswith(f"dctnet: --{option} ")
    assert "expected text" in line
    assert "in YAML, quote a text like no" in line


NAMES = ["no", "1e3", "null", "0", "1", "10", "010", "1:30", "0x1F", "2024-01-01", "1_0"]


@pytest.mark.parametrize("where", ["option", "file", "quoted file", "section", "none"])
def test_names_of_classes_are_taken_as_they_are_written(capsys, tmp_path, monkeypatch, where):
    for split in ("train", "val"):
        for name in NAMES:
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            paint((90, 120, 60), (64, 64), 0).save(tmp_path / "photos" / split / name / "0.png")
    found = []
    monkeypatch.setattr("dctnet.cli.fit.FrequencyDataModule.setup", lambda data, stage: found.extend(data.class_names))
    monkeypatch.chdir(tmp_path)
    listed = f"[{', '.join(NAMES)}]"
    (tmp_path / "c.yaml").write_text(f"data: {{root: photos, classes: {listed}}}")
    (tmp_path / "q.yaml").write_text(yaml.safe_dump({"data": {"root": "photos", "classes": NAMES}}))
    given = {
        "option": ["--data.root", "photos", "--data.classes", listed],
        "file": ["--config", "c.yaml"],
        "quoted file": ["--config", "q.yaml"],
        "section": ["--data", f"{{root: photos, classes: {listed}}}"],
        "none": ["--data.root", "photos"],
    }
    run("fit", *given[where], "--trainer.fast_dev_run", "true", "--data.num_workers", 0)
    assert found[: len(NAMES)] == (sorted(NAMES) if where == "none" else NAMES)


@pytest.mark.parametrize(
    "options",
    [
        ["--ckpt_path", "nowhere.ckpt"],
        ["--trainer.accelerator", "gpuu"],
        ["--trainer.strategy", "dpp"],
        ["--trainer.devices", "0"],
    ],
)
def test_a_run_that_cannot_start_is_refused(gated_run, capsys, tmp_path, options):
    config = ["--config", gated_run / "tiny.yaml", "--data.root", gated_run / "photos", "--out_dir", tmp_path]
    assert fails(capsys, "fit", *config, *options)


def test_predictions_into_a_missing_folder_are_refused(gated_run, small_backbones, capsys, tmp_path):
    args = ["predict", "--ckpt_path", gated_run / CKPT, "--data.root", gated_run / "photos"]
    assert "no such folder" in fails(capsys, *args, "--out", tmp_path / "none" / "p.csv")


def test_packing_mistakes_get_one_line(photos, capsys, tmp_path):
    pack = ["pack", photos, tmp_path / "x"]
    assert "squire-24" in fails(capsys, *pack, "--data.channels", "squire-24")
    assert "multiples of 8" in fails(capsys, *pack, "--scales", "[100]")
    assert "no option" in fails(capsys, *pack, "--data.chanels", "dc")


def test_the_home_folder_is_expanded_in_options_and_files(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("data: {root: ~/photos, classes: [~/a]}\n")
    (tmp_path / "~").mkdir()
    for args in (
        ["fit", "--data.root=~/photos"],
        ["fit", "--data.root", "~/photos"],
        ["fit", "--config=~/c.yaml"],
        ["pack", "~/photos", "store"],
        ["throughput", "--data.root=~/photos"],
    ):
        assert f"{tmp_path}/photos: no such folder" in fails(capsys, *args)
    assert f"{tmp_path}/none.ckpt: no such checkpoint" in fails(capsys, "validate", "--ckpt_path=~/none.ckpt")
    assert "no-one" in fails(capsys, "fit", "--data.root=~no-one/photos")
    monkeypatch.chdir(tmp_path)
    assert "~/photos: no such folder" in fails(capsys, "fit", "--data.root", "./~/photos")


def test_a_warning_is_one_line_without_its_place_in_the_source(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    shorten_own_warnings()
    shorten_own_warnings()
    own = parsing.__file__
    assert warnings.formatwarning("text", UserWarning, own, 7) == "dctnet: warning: text\n"
    assert "other.py:7: UserWarning: text" in warnings.formatwarning("text", UserWarning, "/x/other.py", 7)
