"""A training that is asked to stop: it finishes the step, saves, says where, and ends with a status of its own."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytorch_lightning as pl

from dctnet.errors import Stopped

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Signals:
    """SIGTERM, SIGINT and SIGUSR1 are noted instead of obeyed, while the context lasts; a second one ends at once."""

    def __init__(self) -> None:
        self.came: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def _note(self, number: int, frame: Any) -> None:
        """Handles a signal."""
        if self.came is not None:
            os.write(2, b"dctnet: ended at once by a second signal; nothing was saved since the last checkpoint\n")
            os._exit(128 + number)
        self.came = number


@contextlib.contextmanager
def translate_interrupt() -> Iterator[None]:
    """Lets Ctrl-C end as everywhere: Lightning makes it an exit with status 1."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from end
        raise


def disable_lightning_signal_handlers(trainer: pl.Trainer) -> None:
    """Keeps Lightning from taking SIGTERM, which it would note, and end with status 0 or go on."""
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]


class StopOnSignal(pl.Callback):
    """Saves ``last.ckpt`` in the run's folder and stops, at the end of the step in which a signal came.

    A stop within a validation is saved as one before it, which is made anew when the training is resumed. With several
    ranks, which need not have equally many validation batches, a validation is finished first.

    Args:
        signals: What has come.
    """

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self._within_validation = False

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Stops, unless the epoch or a validation is due to end first: Lightning cannot resume from that point.

        Nor within an accumulation, whose gradients no checkpoint holds.
        """
        loop = trainer.fit_loop.epoch_loop
        due = (
            loop._is_training_done  # by its steps, or with its last batch
            or loop._should_accumulate()
            or loop._should_check_val_fx(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]
        )
        # Asked on every rank at every step, so that all stop at the same one.
        if trainer.strategy.reduce_boolean_decision(self.signals.came is not None, all=False) and not due:
            self._stop(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        """Stops within a validation."""
        if (
            self.signals.came is not None
            and trainer.world_size == 1
            and trainer.state.fn == "fit"
            and not trainer.sanity_checking
        ):
            self._within_validation = True
            self._stop(trainer)

    def _stop(self, trainer: pl.Trainer) -> None:
        # Without a folder of its own, under a name that is nobody else's.
        name = "last.ckpt" if trainer.log_dir else f"stopped-{os.getpid()}.ckpt"
        path = Path(trainer.log_dir or trainer.default_root_dir, name)
        trainer.save_checkpoint(path, weights_only=False)
        if not trainer.is_global_zero:
            raise Stopped
        why = (
            "on the word of another rank"
            if self.signals.came is None
            else f"by {signal.Signals(self.signals.came).name}"
        )
        raise Stopped(f"stopped {why} after step {trainer.global_step}; to go on: --ckpt_path {path}")

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Sets a validation that was broken off to its beginning."""
        if self._within_validation:
            begun = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress |= {"total": dict(begun), "current": dict(begun), "is_last_batch": False}
