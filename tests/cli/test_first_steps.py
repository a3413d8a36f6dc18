"""A newcomer's mistakes: each is one line that says what to do, and a fit that cannot start leaves no folder."""

import logging

import pytest
import torch

from dctnet.cli.plain_help import _plain
from dctnet.cli.quiet import hide_noise
from tests.commands import CKPT, fails, run

pytestmark = pytest.mark.usefixtures("small_backbones")


@pytest.fixture
def fit(gated_run, tmp_path):
    """The command of the shared run, into a folder of the test's own."""
    photos = gated_run / "photos"
    return ["fit", "--config", gated_run / "tiny.yaml", "--data.root", photos, "--out_dir", tmp_path / "out"]


def test_fit_without_options_says_what_is_missing_and_gives_an_example(capsys):
    line = fails(capsys, "fit")
    assert "required: --data.root" in line
    assert "dctnet fit --config configs/quickstart.yaml" in line


def test_a_misspelt_configuration_file_is_named_as_given_with_the_nearest_one(gated_run, capsys, monkeypatch):
    monkeypatch.chdir(gated_run)
    assert fails(capsys, "fit", "--config", "tiny.yml") == (
        "dctnet: --config tiny.yml: no such file. Did you mean tiny.yaml?"
    )


def test_a_configuration_that_is_not_yaml_is_named_with_its_line(tmp_path, capsys):
    (tmp_path / "broken.yaml").write_text("data:\n  root: photos\n  channels: [1\nmodel:\n")
    assert f"dctnet: {tmp_path / 'broken.yaml'}: not valid YAML, line 4" in fails(
        capsys, "fit", "--config", tmp_path / "broken.yaml"
    )


def test_a_missing_data_set_is_named_with_its_option(gated_run, fit, capsys, monkeypatch):
    monkeypatch.chdir(gated_run)
    expected = "dctnet: --data.root photso: no such folder. Did you mean photos?"
    assert fails(capsys, *fit, "--data.root", "photso") == expected
    assert fails(capsys, "validate", "--ckpt_path", gated_run / CKPT, "--data.root", "photso") == expected


def test_a_data_set_of_the_training_that_is_gone_is_named_with_the_option_to_give(gated_run, tmp_path, capsys):
    content = torch.load(gated_run / CKPT)
    content["datamodule_hyper_parameters"]["root"] = "/gone/photos"
    torch.save(content, tmp_path / "last.ckpt")
    expected = f"dctnet: {tmp_path}/last.ckpt: trained on /gone/photos, which is not here; give --data.root"
    assert fails(capsys, "validate", "--ckpt_path", tmp_path / "last.ckpt") == expected


def test_photographs_without_their_option_are_recognised(gated_run, capsys, monkeypatch):
    monkeypatch.chdir(gated_run)
    assert "--data.root photos" in fails(capsys, "fit", "photos", "--config", "tiny.yaml")


@pytest.mark.parametrize(("name", "verb"), [("train", "fit"), ("eval", "validate"), ("classify", "predict")])
def test_other_programs_names_of_the_verbs_are_known(capsys, name, verb):
    assert f"no verb {name!r}. Did you mean {verb!r}?" in fails(capsys, name)


@pytest.mark.parametrize("command", ["fit", "validate", "predict", "export", "export-mask", "weights"])
def test_a_mask_in_place_of_a_checkpoint_is_recognised(gated_run, fit, capsys, tmp_path, command):
    mask = (gated_run / CKPT).with_name("mask.json")
    commands = {
        "fit": [*fit, "--ckpt_path", mask],
        "weights": [*fit, "--model.weights", mask],
        "export": ["export", mask, "--out", tmp_path / "m.onnx"],
        "export-mask": ["export-mask", mask, "--out", tmp_path / "m.json"],
    }
    line = fails(capsys, *commands.get(command, [command, "--ckpt_path", mask]))
    assert f"{mask}: a mask, not " in line
    assert "--data.channels takes it" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.progressive", "0.5,1", "--trainer.max_epochs", 1], "--data.progressive: 2 sizes need at least 2"),
        (["--data.progressive", "0.5,1", "--trainer.max_epochs", -1, "--trainer.max_steps", 5], "--data.progressive"),
        (["--data.batch_size", 1], "--data.batch_size must be at least 2"),
        (["--trainer.overfit_batches", 2, "--data.sampler", "balanced"], "--trainer.overfit_batches reads files in"),
        (["--trainer.devices", 0], "--trainer: MisconfigurationException"),
        (["--model.freeze", "backbone"], "--model.freeze backbone needs trained weights"),
    ],
)
def test_a_fit_that_cannot_start_names_the_option_and_leaves_no_folder(fit, tmp_path, capsys, options, message):
    assert fails(capsys, *fit, *options).startswith(f"dctnet: {message}")
    assert not [*(tmp_path / "out").iterdir()]


def test_another_run_of_the_experiment_stays_when_a_fit_cannot_start(fit, tmp_path, capsys):
    assert run(*fit, "--trainer.max_epochs", 1) == 0
    before = {path.name for path in (tmp_path / "out/tiny/version_0").iterdir()}
    fails(capsys, *fit, "--data.batch_size", 1)
    assert [path.name for path in (tmp_path / "out/tiny").iterdir()] == ["version_0"]
    assert {path.name for path in (tmp_path / "out/tiny/version_0").iterdir()} == before


def test_a_resumed_fit_says_from_where_and_into_which_folder(gated_run, fit, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr("dctnet.cli.fit.rank_zero_info", lines.append)
    assert run(*fit, "--ckpt_path", gated_run / CKPT) == 0
    assert lines == [f"resumed from {gated_run / CKPT}, step 48, into the new folder {tmp_path / 'out/tiny/version_0'}"]


def test_only_messages_without_information_are_hidden():
    hide_noise()

    def shown(text, level=logging.INFO, logger="pytorch_lightning.utilities.rank_zero"):
        return bool(logging.getLogger(logger).filter(logging.LogRecord(logger, level, "", 0, text, (), None)))

    assert not shown("GPU available: False, used: False")
    assert not shown("💡 Tip: For seamless cloud logging, try installing something")
    assert not shown("Seed set to 0", logger="lightning_fabric.utilities.seed")
    assert shown("GPU available: True (cuda), used: True")
    assert shown("`Trainer.fit` stopped: No training batches.")
    assert shown("GPU available: False", logging.WARNING)


def test_help_has_no_markup_of_docstrings():
    text = "A ``name``, :class:`~datetime.timedelta` or :paramref:`~Trainer.max_time`; see `Notes <https://x.y>`_."
    assert _plain(text) == "A name, timedelta or max_time; see Notes."


@pytest.mark.parametrize("verb", ["fit", "benchmark", "make-planted"])
def test_no_help_text_has_a_backtick_or_a_role(capsys, verb, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run(verb, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: dctnet")
    assert "`" not in out
    assert ":class:" not in out
