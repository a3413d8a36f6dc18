"""Exponential moving average of the weights, which is what is validated, saved and used."""

from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor

from dctnet.errors import UserError


class MovingAverage(WeightAveraging):
    """Averages parameters and buffers, such as the statistics of batch norms, after each step.

    Validation, checkpoints and the end of the training have the averaged weights; a checkpoint also has the current
    ones, with which a training resumes. In the first n steps the decay is at most (1 + n) / (10 + n), so that a short
    training is not averaged with its initial weights. Differences to Lightning's ``EMAWeightAveraging``: that limit; a
    checkpoint within a validation is right, for which Lightning's exchanges current and averaged weights; the average
    is on the device of the model; integers are copied.

    Args:
        decay: Weight of the previous average, 0…1; about 1 / (1 - decay) steps are averaged.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        super().__init__(avg_fn=self._average)
        self._exchanged = False

    def _average(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return current
        decay = min(self.decay, (1 + int(count)) / (10 + int(count)))
        return average.lerp(current, 1 - decay)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Creates the average; raises UserError if the precision would round its updates away."""
        if stage == "fit" and trainer.precision in ("16-true", "bf16-true"):
            raise UserError(
                f"--model.ema {self.decay}: --trainer.precision {trainer.precision} rounds the small updates of an "
                f"average away; give {trainer.precision.replace('true', 'mixed')}"
            )
        super().setup(trainer, pl_module, stage)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Moves the average to the device and type to which the model has been converted after ``setup``."""
        assert self._average_model is not None
        self._average_model.to(pl_module.device, cast(torch.dtype, pl_module.dtype))

    def _swap_models(self, pl_module: pl.LightningModule) -> None:
        super()._swap_models(pl_module)
        self._exchanged = not self._exchanged

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Puts the averaged weights into ``state_dict`` and the current ones into ``current_model_state``."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._exchanged:  # a signal has stopped a validation
            current = checkpoint["state_dict"]
            checkpoint["state_dict"], checkpoint["current_model_state"] = checkpoint["current_model_state"], current
