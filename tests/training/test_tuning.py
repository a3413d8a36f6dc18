"""Callbacks that train before the training: the fit is the one with the options that they find."""

import pytest
import torch
from pytorch_lightning.callbacks import LearningRateFinder

from dctnet.training import checkpoint
from tests.commands import fails, run
from tests.conftest import GATED

pytestmark = pytest.mark.usefixtures("small_backbones")
FINDERS = {
    "lr": ["LearningRateFinder", "--trainer.callbacks.num_training_steps", 20, "--trainer.callbacks.min_lr", 1e-4],
    "batch_size": ["BatchSizeFinder", "--trainer.callbacks.max_trials", 2, "--trainer.callbacks.steps_per_trial", 2],
}


@pytest.fixture
def fit(gated_run, tmp_path, monkeypatch):
    """The command of the shared run with three epochs, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    config = ["--config", gated_run / "tiny.yaml", "--data.root", gated_run / "photos"]
    return ["fit", *config, "--trainer.max_epochs", 4, "--out_dir", tmp_path]


@pytest.mark.parametrize("option", FINDERS)
def test_a_fit_after_a_search_is_the_one_with_the_option_that_was_found(fit, tmp_path, capsys, option):
    assert run(*fit, "--name", "found", "--trainer.callbacks", *FINDERS[option]) == 0
    path = tmp_path / "found/version_0/last.ckpt"
    part = "model" if option == "lr" else "data"
    value = dict(zip(("model", "data"), checkpoint.read_options(path), strict=True))[part][option]
    assert value != GATED[part][option]
    assert run(*fit, "--name", "given", f"--{part}.{option}", value) == 0
    found, given = (
        torch.load(tmp_path / name / "version_0/last.ckpt", weights_only=True) for name in ("found", "given")
    )
    assert found["global_step"] == given["global_step"]
    if option == "lr":
        assert all(torch.equal(value, given["state_dict"][key]) for key, value in found["state_dict"].items())
    else:  # the normalisation is summed in batches of the first size, which can change its last bit
        for statistic in ("mean", "std"):
            key = f"network.normalisation.{statistic}"
            assert torch.allclose(found["state_dict"][key], given["state_dict"][key], rtol=1e-4, atol=1e-4)
    assert not list(tmp_path.rglob(".*.ckpt"))  # the searches' own checkpoints
    # It is resumed without another search, with what was found.
    again = [*fit, "--name", "again", "--ckpt_path", path]
    line = fails(capsys, *again, "--trainer.callbacks", FINDERS[option][0])
    assert f"--{part}.{option} {value}" in line
    assert run(*again, f"--{part}.{option}", value) == 0


class LateFinder(LearningRateFinder):
    """Searches in the second epoch."""

    def on_fit_start(self, *_):
        pass

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            pl_module.hparams["lr"] = 0.5


def test_options_changed_within_a_training_are_refused(fit, capsys):
    assert "within the training" in fails(capsys, *fit, "--trainer.callbacks", f"{__name__}.LateFinder")
