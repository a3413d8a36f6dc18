"""Collects what a network answers to each image of an evaluation."""

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed
from torch import Tensor


@dataclass(frozen=True)
class Answers:
    """The answers to the images that could be read, on the CPU, ascending by index.

    Shape:
        - index: (N,), position of the image in its split
        - target, label: (N,), true and predicted class
        - rank: (N,), number of classes ranked before the true one
        - probability, target_probability: (N,), of the predicted and of the true class, float32
    """

    index: Tensor
    target: Tensor
    label: Tensor
    rank: Tensor
    probability: Tensor
    target_probability: Tensor


class AnswerCollector(pl.Callback):
    """Collects the answers of ``validate`` or ``test`` from all ranks, each image once.

    Attributes:
        answers: Those of the last evaluation, on every rank; None before its end.
    """

    def __init__(self) -> None:
        self.answers: Answers | None = None
        self._classes: list[Tensor] = []
        self._probabilities: list[Tensor] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets an earlier evaluation."""
        self.answers, self._classes, self._probabilities = None, [], []

    on_test_epoch_start = on_validation_epoch_start

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the answers of a batch on the device, so that the device is not waited for."""
        if not len(outputs["index"]):
            return
        target, probabilities = batch["target"], outputs["logits"].float().softmax(1)
        best = probabilities.max(1)
        own = probabilities.gather(1, target[:, None])[:, 0]
        self._classes.append(torch.stack([outputs["index"], target, best.indices, outputs["rank"]], 1))
        self._probabilities.append(torch.stack([best.values, own], 1))

    on_test_batch_end = on_validation_batch_end

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Exchanges the answers between the ranks."""
        classes = torch.cat([torch.empty(0, 4, dtype=torch.long), *(each.cpu() for each in self._classes)])
        probabilities = torch.cat([torch.empty(0, 2), *(each.cpu() for each in self._probabilities)])
        parts = [(classes, probabilities)]
        if trainer.world_size > 1:
            parts *= trainer.world_size
            torch.distributed.all_gather_object(parts, (classes, probabilities))
        classes, probabilities = (torch.cat(each) for each in zip(*parts, strict=True))
        order = classes[:, 0].argsort()
        self.answers = Answers(*classes[order].T.contiguous(), *probabilities[order].T.contiguous())

    on_test_epoch_end = on_validation_epoch_end
