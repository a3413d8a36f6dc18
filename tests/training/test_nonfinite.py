"""NaN and infinity stop a training within one step, and are named where they began."""

import pytest
import pytorch_lightning as pl
import torch

from dctnet.errors import UserError
from dctnet.training.nonfinite import all_finite, first_not_finite
from tests.training.test_module import classifier, data, trainer

INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_one_number_among_many_is_found(value):
    tensors = [torch.zeros(3), torch.ones(50, 50), torch.zeros(0), torch.tensor([1])]
    assert all_finite(tensors)
    tensors[1][31, 7] = value
    assert not all_finite(tensors)
    wrong = "NaN" if value != value else "infinity"
    assert first_not_finite({"one": tensors[0], "two": tensors[1]}) == f"two has {wrong} (1 of 2,500 numbers)"


def test_large_numbers_are_finite():
    assert all_finite([torch.full((1000,), 3e38), torch.full((10,), 60000.0, dtype=torch.float16)])
    assert all_finite([])


class Spoil(pl.Callback):
    """Puts a number into one place before the fifth step."""

    def __init__(self, place, value):
        self.place, self.value = place, value

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step != 4:
            return
        if self.place == "the input":
            batch["input"][3, 5, 1, 1] = self.value
        elif self.place == "the gate":
            with torch.no_grad():
                pl_module.gate.logits[7] = self.value
        elif self.place == "the logits":
            with torch.no_grad():
                pl_module.backbone.fc.bias[1] = self.value
        elif self.place == "the loss":
            pl_module.loss.register_forward_hook(lambda module, inputs, loss: loss * self.value)
        else:
            weight = pl_module.backbone.layer2[0].conv1.weight
            weight.register_hook(lambda gradient: gradient * self.value)


PLACES = ["the input", "the gate", "the logits", "the loss", "the gradient of backbone.layer2.0.conv1.weight"]


# A gate that is open for certain, at infinity, is no error.
@pytest.mark.parametrize(
    ("place", "value"), [(p, v) for p in PLACES for v in (INF, NAN) if (p, v) != ("the gate", INF)]
)
def test_training_stops_at_the_step_and_names_the_first_tensor(photos, tmp_path, place, value):
    run = trainer(tmp_path, callbacks=[Spoil(place, value)], max_epochs=3)
    with pytest.raises(UserError, match=f"^step 5: {place} has .*the last checkpoint is finite"):
        run.fit(classifier(gate="static"), data(photos))
    assert run.global_step == 4


def test_weights_that_are_not_finite_are_not_saved(photos, tmp_path):
    run, model = trainer(tmp_path, max_epochs=1), classifier()
    run.fit(model, data(photos))
    run.save_checkpoint(tmp_path / "good.ckpt")
    with torch.no_grad():
        model.backbone.fc.weight[0, 0] = NAN
    with pytest.raises(
        UserError, match=r"step 3: backbone.fc.weight has NaN \(1 of 1,536 numbers\), so it is not saved"
    ):
        run.save_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "bad.ckpt").exists()


def test_an_optimiser_whose_state_is_not_finite_is_not_saved(photos, tmp_path):
    # The square of a gradient of 1e25 is beyond float32: that weight would never move again.
    model = classifier(optimizer="adamw")
    model.loss.register_forward_hook(lambda module, inputs, loss: loss * 1e25)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, data(photos))
    with pytest.raises(UserError, match=r"step 3: the optimiser's 0 .*exp_avg_sq has infinity .*, so it is not saved"):
        run.save_checkpoint(tmp_path / "bad.ckpt")
