"""fit --model.weights of a checkpoint of dctnet on other classes, --model.freeze, and resuming such a fit."""

import shutil
import signal

import pytest
import torch
import yaml

import dctnet
from tests.commands import CKPT, fails, run
from tests.conftest import paint
from tests.stress.stop_resume import outcome, same
from tests.training.test_resume import Watch

pytestmark = pytest.mark.usefixtures("small_backbones")
QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.num_sanity_val_steps", 0]
SMALL = ["--data.batch_size", 4, "--data.num_workers", 0, "--trainer.max_epochs", 2, "--model.lr", 0.05]


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Photographs of two other classes."""
    root = tmp_path_factory.mktemp("pets")
    for split, count in (("train", 6), ("val", 2)):
        for target, name in enumerate(("cat", "dog")):
            (folder := root / split / name).mkdir(parents=True)
            for number in range(count):
                paint((40 + 90 * target, 99, 20 * number), (72, 64), number).save(folder / f"{number}.jpg")
    return root


@pytest.fixture
def fit(pets, tmp_path):
    """Runs a fit on the other classes; returns its status."""

    def run_fit(*options):
        return run("fit", "--data.root", pets, "--out_dir", tmp_path, *SMALL, *QUIET, *options)

    return run_fit


def trained(folder, name="run", version=0):
    """Weights and options of the last checkpoint of a fit."""
    content = torch.load(folder / name / f"version_{version}" / "last.ckpt", weights_only=True)
    return content["state_dict"], content["hyper_parameters"], content


def test_a_checkpoint_brings_its_channels_gate_and_normalisation_to_other_classes(gated_run, fit, tmp_path, caplog):
    with caplog.at_level("INFO"):
        assert fit("--model.weights", gated_run / CKPT, "--model.gate_lr", 1e-9) == 0
    assert f"{gated_run / CKPT}: taken: normalisation, gate, entry, body; new: head (2 classes)" in caplog.text
    assert f"{gated_run / CKPT} sets --model.gate static, --data.image_size 64, --data.channels [0, 1, 2" in caplog.text
    donor = dctnet.load(gated_run / CKPT)
    weights, options, content = trained(tmp_path)
    assert options["channels"] == list(donor.channels.indices)
    assert [options[name] for name in ("classes", "gate", "keep")] == [["cat", "dog"], "static", 6]
    assert content["datamodule_hyper_parameters"]["image_size"] == 64
    for name in ("normalisation.mean", "normalisation.std"):
        assert torch.equal(weights[f"network.{name}"], donor.state_dict()[name])
    assert torch.allclose(weights["network.gate.logits"], donor.gate.logits, atol=1e-5)
    again = dctnet.load(tmp_path / "run/version_0/last.ckpt")
    assert again.classes == ["cat", "dog"]


@pytest.mark.parametrize("where", ["option", "file", "section"])
def test_weights_are_found_wherever_they_are_given(gated_run, fit, tmp_path, where):
    section = {"weights": str(gated_run / CKPT)}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model": section}))
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(section))
    given = {
        "option": [f"--model.weights={gated_run / CKPT}"],
        "file": ["--config", tmp_path / "c.yaml"],
        "section": ["--model", tmp_path / "m.yaml"],
    }
    assert fit(*given[where], "--trainer.max_epochs", 1) == 0
    assert trained(tmp_path)[1]["gate"] == "static"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--model.gate", "none"], {"gate": "none", "keep": None}),
        (["--model.gate", "dynamic", "--model.keep", 3], {"gate": "dynamic", "keep": 3}),
        (["--data.channels", "zigzag-8"], {"gate": "static", "keep": 6}),
        (["--data.channels", "all", "--model.keep", 5], {"gate": "static", "keep": 5}),
        (["--data.image_size", 32], {"image_size": 32}),
        (["--model.input", "rgb", "--model.gate", "none"], {"input": "rgb", "gate": "none"}),
    ],
    ids=str,
)
def test_options_of_the_user_override_those_of_the_checkpoint(gated_run, fit, tmp_path, options, found):
    assert fit("--model.weights", gated_run / CKPT, *options, "--trainer.max_epochs", 1) == 0
    assert {**trained(tmp_path)[1], **found} == trained(tmp_path)[1]
    assert all(value.isfinite().all() for value in trained(tmp_path)[0].values())


@pytest.mark.parametrize("channels", ["square-24", "zigzag-24"])
def test_an_exported_file_gives_the_same_as_its_checkpoint(gated_run, fit, tmp_path, channels):
    assert run("export", gated_run / CKPT, "--out", tmp_path / "model.safetensors") == 0
    found = []
    for weights in (gated_run / CKPT, tmp_path / "model.safetensors"):
        assert fit("--model.weights", weights, "--data.channels", channels, "--trainer.max_epochs", 1) == 0
        found.append(trained(tmp_path, version=len(found)))
    (one, options, _), (other, now, _) = found
    assert {**options, "weights": None} == {**now, "weights": None}
    assert options["gate"] == "static"
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_another_backbone_is_refused_by_name(gated_run, fit, capsys, pets, tmp_path):
    args = ["fit", "--data.root", pets, "--out_dir", tmp_path, *SMALL, *QUIET, "--model.weights", gated_run / CKPT]
    line = fails(capsys, *args, "--model.backbone", "resnet34")
    assert line.endswith("last.ckpt: a resnet18, not a resnet34: --model.backbone resnet18")


def test_a_frozen_backbone_keeps_all_but_the_head(gated_run, fit, tmp_path):
    assert fit("--model.weights", gated_run / CKPT, "--model.freeze", "backbone") == 0
    donor, (weights, options, content) = dctnet.load(gated_run / CKPT).state_dict(), trained(tmp_path)
    for name, value in donor.items():
        assert torch.equal(weights[f"network.{name}"], value) or ".fc." in name
    (state,) = content["optimizer_states"]
    assert [len(group["params"]) for group in state["param_groups"]] == [1, 1]
    assert options["freeze"] == "backbone"


@pytest.mark.parametrize("freeze", [[], ["--model.freeze", "backbone"]], ids=["all layers", "frozen"])
@pytest.mark.parametrize("by", ["config", "options", "config without weights file"])
def test_a_fit_from_weights_is_resumed_with_the_same_bits(gated_run, fit, tmp_path, monkeypatch, freeze, by):
    weights = shutil.copy(gated_run / CKPT, tmp_path / "best.ckpt")
    options = ["--model.weights", weights, *freeze]
    assert fit(*options, "--name", "whole") == 0
    watch = Watch(("train", 4), signal.SIGTERM)
    with monkeypatch.context() as patch:
        watch.install(patch)
        assert fit(*options, "--name", "stopped") == 75
    folder = tmp_path / "stopped" / "version_0"
    resume = ["--ckpt_path", folder / "last.ckpt", "--name", "stopped"]
    if by == "config without weights file":
        weights.unlink()
    if by == "options":
        assert fit(*options, *resume) == 0
    else:
        assert run("fit", "--config", folder / "config.yaml", *resume) == 0
    assert same(outcome(tmp_path / "stopped"), outcome(tmp_path / "whole"))


def test_what_cannot_be_frozen_is_refused(gated_run, fit, pets, tmp_path, capsys):
    args = ["fit", "--data.root", pets, "--out_dir", tmp_path, *SMALL, *QUIET, "--model.freeze", "backbone"]
    assert "--model.freeze backbone needs trained weights: --model.weights" in fails(capsys, *args)
    args += ["--model.weights", gated_run / CKPT]
    assert "does not have all weights of the entry" in fails(capsys, *args, "--data.channels", "all")
    assert fit("--model.weights", gated_run / CKPT, "--trainer.max_epochs", 1, "--name", "unfrozen") == 0
    last = tmp_path / "unfrozen/version_0/last.ckpt"
    line = fails(capsys, *args, "--trainer.max_epochs", 1, "--ckpt_path", last)
    assert "cannot be resumed: it was trained with freeze None, now backbone" in line
