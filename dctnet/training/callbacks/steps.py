"""Seeds of training steps, and the training throughput."""

import time
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class StepSeed(pl.Callback):
    """Seeds torch before each training step, so that a resumed training draws the same gate noise and dropout."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Derives the seed from the data's seed, step, batch and rank."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        key = (data.hparams["seed"] if data else 0, trainer.global_step, batch_idx, trainer.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1)


class TrainingClock(pl.Callback):
    """Logs ``images_per_second`` of each training epoch, over all ranks, and ``seconds`` since the fit began.

    Validation runs inside the training epoch; it counts for ``seconds`` only.
    """

    def __init__(self) -> None:
        self._start()  # a callback may train before on_fit_start

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts both clocks; a training that resumes within an epoch has no start of the epoch."""
        self._start()

    def _start(self) -> None:
        self._images, self._fit_started = 0, time.perf_counter()
        self._epoch_started = self._fit_started

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock of the epoch."""
        self._images, self._epoch_started = 0, time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Counts the images of the batch."""
        self._images += len(batch["target"])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pauses the clock of the epoch."""
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Resumes the clock of the epoch."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._epoch_started += time.perf_counter() - self._paused

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs both figures."""
        now = time.perf_counter()
        rate = self._images / (now - self._epoch_started)
        pl_module.log("images_per_second", rate, sync_dist=True, reduce_fx="sum")
        pl_module.log("seconds", now - self._fit_started)
