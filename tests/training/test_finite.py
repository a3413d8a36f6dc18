"""NaN and infinity stop a training within one step; the error names the first tensor."""

import pytest
import pytorch_lightning as pl
import torch

from dctnet.errors import UserError
from dctnet.training.callbacks.finite import all_finite, first_nonfinite
from tests.training.test_module import classifier, data, trainer

pytestmark = pytest.mark.usefixtures("small_backbones")
INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize("value", [INF, -INF, NAN])
def test_one_nonfinite_element_is_found(value):
    tensors = [torch.zeros(3), torch.ones(50, 50), torch.zeros(0), torch.tensor([1])]
    assert all_finite(tensors)
    tensors[1][31, 7] = value
    assert not all_finite(tensors)
    wrong = "NaN" if value != value else "infinity"
    assert first_nonfinite({"one": tensors[0], "two": tensors[1]}) == f"two has {wrong} (1 of 2,500 elements)"


def test_large_values_are_finite():
    assert all_finite([torch.full((1000,), 3e38), torch.full((10,), 60000.0, dtype=torch.float16)])
    assert all_finite([])


class Spoil(pl.Callback):
    """Puts a value into one tensor before the fifth step."""

    def __init__(self, place, value):
        self.place, self.value = place, value

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step != 4:
            return
        if self.place == "the input":
            batch["input"][3, 5, 1, 1] = self.value
        elif self.place == "the gate":
            with torch.no_grad():
                pl_module.network.gate.logits[7] = self.value
        elif self.place == "the logits":
            with torch.no_grad():
                pl_module.network.backbone.fc.bias[1] = self.value
        elif self.place == "the loss":
            pl_module.loss.register_forward_hook(lambda module, inputs, loss: loss * self.value)
        else:
            weight = pl_module.network.backbone.layer2[0].conv1.weight
            weight.register_hook(lambda gradient: gradient * self.value)


PLACES = ["the input", "the gate", "the logits", "the loss", "the gradient of network.backbone.layer2.0.conv1.weight"]


# An infinite gate logit is a channel that is always kept, not an error.
@pytest.mark.parametrize(
    ("place", "value"), [(p, v) for p in PLACES for v in (INF, NAN) if (p, v) != ("the gate", INF)]
)
def test_training_stops_at_the_step_and_names_the_first_tensor(photos, tmp_path, place, value):
    run = trainer(tmp_path, callbacks=[Spoil(place, value)], max_epochs=3)
    with pytest.raises(UserError, match=f"^step 5: {place} has .*the last checkpoint is finite"):
        run.fit(classifier(gate="static"), data(photos))
    assert run.global_step == 4


@pytest.mark.parametrize("weights_only", [False, True])
def test_nonfinite_weights_are_not_saved(photos, tmp_path, weights_only):
    run, model = trainer(tmp_path, max_epochs=1), classifier()
    run.fit(model, data(photos))
    run.save_checkpoint(tmp_path / "good.ckpt")
    with torch.no_grad():
        model.network.backbone.fc.weight[0, 0] = NAN
    with pytest.raises(UserError, match=r"step 3: network.backbone.fc.weight has NaN \(1 of 48 elements\); not saved"):
        run.save_checkpoint(tmp_path / "bad.ckpt", weights_only)
    assert not (tmp_path / "bad.ckpt").exists()


def test_nonfinite_optimizer_state_is_not_saved(photos, tmp_path):
    # The square of a gradient of 1e25 overflows float32, and the weight would never change again.
    model = classifier(optimizer="adamw")
    model.loss.register_forward_hook(lambda module, inputs, loss: loss * 1e25)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, data(photos))
    with pytest.raises(UserError, match=r"step 3: the optimizer's 0 .*exp_avg_sq has infinity .*; not saved"):
        run.save_checkpoint(tmp_path / "bad.ckpt")
