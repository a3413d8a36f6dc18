"""Preemption: on a signal, a training finishes its step, saves a checkpoint and exits with status 75."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dctnet.errors import Stopped
from dctnet.signals import SignalRecorder
from dctnet.training.checkpointing import LAST
from dctnet.training.lightning_internals import can_stop_after_batch, release_ranks


@contextlib.contextmanager
def translate_interrupt() -> Iterator[None]:
    """Restores KeyboardInterrupt, which Lightning converts to an exit with status 1."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


class StopOnSignal(pl.Callback):
    """Saves ``last.ckpt`` in the run's folder and stops at the end of the step in which a signal was received.

    A stop during validation saves the state before that validation, which is repeated when the training resumes. With
    several ranks, which can differ in their number of validation batches, the validation is finished first.

    Args:
        signals: The recorder.
        folder: The run's folder, if it has one; else the checkpoint has a unique name in the working directory.
    """

    def __init__(self, signals: SignalRecorder, folder: Path | None = None) -> None:
        self.signals = signals
        self.path = Path(f"stopped-{os.getpid()}.ckpt") if folder is None else folder / LAST
        self._within_validation = False

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Stops all ranks at the same step, if Lightning can resume from it."""
        # A collective call: every rank makes it at every step.
        requested = trainer.strategy.reduce_boolean_decision(self.signals.received is not None, all=False)
        if requested and can_stop_after_batch(trainer):
            self._stop(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Stops during validation in a single process."""
        validates_fit = trainer.state.fn == "fit" and not trainer.sanity_checking
        if self.signals.received is not None and trainer.world_size == 1 and validates_fit:
            self._within_validation = True
            self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        path = trainer.strategy.broadcast(self.path)  # a collective call: all ranks make it
        trainer.save_checkpoint(path, weights_only=False)
        release_ranks(trainer)
        if not trainer.is_global_zero:
            raise Stopped
        received = self.signals.received
        why = "because another rank was stopped" if received is None else f"by {signal.Signals(received).name}"
        raise Stopped(f"stopped {why} after step {trainer.global_step}; to resume: --ckpt_path {path}")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Resets the progress of an interrupted validation to its start."""
        if self._within_validation:
            start = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress |= {"total": dict(start), "current": dict(start), "is_last_batch": False}
