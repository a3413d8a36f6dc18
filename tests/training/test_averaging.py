"""The moving average of the weights: what is validated, saved, loaded and resumed."""

import copy

import pytest
import pytorch_lightning as pl
import torch

import dctnet
from dctnet.errors import UserError
from dctnet.training.callbacks.averaging import MovingAverage
from dctnet.training.checkpointing import AtomicCheckpointIO
from tests import commands
from tests.training.test_module import classifier, data, trainer

pytestmark = pytest.mark.usefixtures("small_backbones")


class Steps(pl.Callback):
    """Copies the weights after each step, and those that are validated."""

    def __init__(self):
        self.current, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.current.append(copy.deepcopy(pl_module.state_dict()))

    def on_validation_batch_end(self, trainer, pl_module, *_):
        self.validated.append(copy.deepcopy(pl_module.state_dict()))


def slow_average(states, decay):
    average = {name: value.double() for name, value in states[0].items()}
    for n, state in enumerate(states[1:], 1):
        weight = min(decay, (1 + n) / (10 + n))
        for name, value in state.items():
            average[name] = weight * average[name] + (1 - weight) * value
    return average


def is_average(state, expected):
    floating = [name for name, value in state.items() if value.is_floating_point()]
    assert any("running_var" in name for name in floating)
    return all(torch.allclose(state[name].double(), expected[name], rtol=1e-5, atol=1e-6) for name in floating)


@pytest.fixture(scope="module")
def averaged(photos, tmp_path_factory):
    """A fit with a moving average: its steps, its checkpoint and its trained model."""
    folder, steps = tmp_path_factory.mktemp("averaged"), Steps()
    run = trainer(folder, callbacks=[steps], max_epochs=4, num_sanity_val_steps=0, plugins=[AtomicCheckpointIO()])
    model = classifier(ema=0.3, gate="static", keep=6)
    run.fit(model, data(photos))
    run.save_checkpoint(folder / "last.ckpt", weights_only=False)
    return steps, folder / "last.ckpt", model


def test_trained_saved_loaded_and_validated_weights_are_the_average(averaged):
    steps, path, model = averaged
    expected = slow_average(steps.current, 0.3)
    assert len(steps.current) == 12
    assert is_average(torch.load(path, weights_only=True)["state_dict"], expected)
    assert is_average(model.state_dict(), expected)
    loaded = {f"network.{name}": value for name, value in dctnet.load(path).state_dict().items()}
    assert is_average(loaded, expected)
    assert is_average(steps.validated[-1], expected)
    assert is_average(steps.validated[0], slow_average(steps.current[:3], 0.3))
    name = "network.backbone.conv1.weight"
    assert not torch.equal(loaded[name], steps.current[-1][name])


def test_training_continues_with_the_current_weights(photos, tmp_path, averaged):
    # The average does not enter the training: the steps are those of a fit without one.
    steps = Steps()
    run = trainer(tmp_path, callbacks=[steps], max_epochs=4, num_sanity_val_steps=0)
    run.fit(classifier(gate="static", keep=6), data(photos))
    for one, other in zip(steps.current, averaged[0].current, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_checkpoint_within_a_validation_has_the_average_and_the_current_weights(photos, tmp_path):
    class Save(Steps):
        def on_validation_batch_end(self, trainer, *_):
            trainer.save_checkpoint(tmp_path / "within.ckpt", weights_only=False)

    steps = Save()
    run = trainer(tmp_path, callbacks=[steps], num_sanity_val_steps=0, plugins=[AtomicCheckpointIO()])
    run.fit(classifier(ema=0.3), data(photos))
    content = torch.load(tmp_path / "within.ckpt", weights_only=True)
    assert is_average(content["state_dict"], slow_average(steps.current, 0.3))
    current = content["current_model_state"]
    assert all(torch.equal(value, current[name]) for name, value in steps.current[-1].items())


def test_without_the_option_and_outside_of_a_fit_nothing_is_averaged(photos, tmp_path):
    model, run = classifier(ema=0.9), trainer(tmp_path)
    run.validate(model, data(photos), verbose=False)
    assert not any(isinstance(each, MovingAverage) for each in run.callbacks)
    run.fit(classifier(), data(photos))
    assert not any(isinstance(each, MovingAverage) for each in run.callbacks)


def test_a_frozen_network_keeps_its_bits(photos, tmp_path, averaged):
    model = classifier(ema=0.9, gate="static", keep=6, freeze="backbone", weights=str(averaged[1]))
    run = trainer(tmp_path)
    run.fit(model, data(photos))
    before = torch.load(averaged[1], weights_only=True)["state_dict"]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert {"network.backbone.fc.weight", "network.backbone.fc.bias"} <= changed
    assert all(name.startswith(("network.backbone.fc.", "sparsity.")) for name in changed)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_decay_is_between_0_and_1(decay):
    with pytest.raises(UserError, match="--model.ema must be above 0 and below 1"):
        classifier(ema=decay)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_the_average_has_the_type_of_the_weights(photos, tmp_path, precision):
    steps = Steps()
    run = trainer(tmp_path, callbacks=[steps], num_sanity_val_steps=0, precision=precision)
    model = classifier(ema=0.3)
    run.fit(model, data(photos))
    expected, found = slow_average(steps.current, 0.3), model.state_dict()
    assert {name: value.dtype for name, value in found.items()} == {n: v.dtype for n, v in steps.current[0].items()}
    assert is_average(found, expected)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_an_average_is_refused_where_its_updates_would_be_rounded_away(photos, tmp_path, precision):
    with pytest.raises(UserError, match=f"--trainer.precision {precision} rounds .* give {precision[:-4]}mixed"):
        trainer(tmp_path, precision=precision).fit(classifier(ema=0.999), data(photos))


FIT = ("--data.channels", "square-24", "--data.image_size", 32, "--data.batch_size", 12, "--data.num_workers", 0)
FIT += ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.max_epochs", 1)


def test_a_damaged_average_is_refused_in_one_line(photos, tmp_path, capsys):
    fit = ("fit", "--data.root", photos, "--out_dir", tmp_path, *FIT, "--model.ema", 0.5)
    assert commands.run(*fit) == 0
    last = tmp_path / "run/version_0/last.ckpt"
    content = torch.load(last, weights_only=True)
    assert "ema 0.5, now 0.25" in commands.fails(capsys, *fit[:-2], "--model.ema", 0.25, "--ckpt_path", last)
    for damage in ({"current_model_state": {}}, {"averaging_state": {"n_averaged": torch.zeros(3)}}):
        torch.save(content | damage, tmp_path / "bad.ckpt")
        commands.fails(capsys, *fit, "--ckpt_path", tmp_path / "bad.ckpt")
    assert commands.run("validate", "--ckpt_path", last, "--data.root", photos) == 0
