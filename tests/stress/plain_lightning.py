"""The control: a plain script for Lightning's Trainer, with the same signals and the same NaN.

    python -m tests.stress.plain_lightning

A small network with dropout, a shuffling DataLoader, and ModelCheckpoint with save_last after every step. Prints what
SIGTERM, SIGINT and SIGUSR1 do, the samples and weights of a training resumed within an epoch, and what a NaN does.
"""

import argparse
import contextlib
import io
import logging
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

IMAGES, BATCH, EPOCHS = 64, 4, 3


class Plain(pl.LightningModule):
    """A module as in a tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 2))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        """SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Watch(pl.Callback):
    """Records the samples of each batch; at one step sends a signal, or puts NaN into the input."""

    def __init__(self, at: int, number: int = 0, spoil: bool = False) -> None:
        self.at, self.number, self.spoil, self.seen = at, number, spoil, []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: list[Tensor], batch_idx: int) -> None:
        """The last feature of a sample is its number."""
        if trainer.global_step == self.at and self.spoil:
            batch[0][0, 0] = torch.nan
        self.seen.append(batch[0][:, -1].int().tolist())
        if trainer.global_step == self.at and self.number:
            signal.raise_signal(self.number)


def train(folder: Path, watch: Watch, resume: str | None = None) -> Plain:
    """Trains with a checkpoint after every step."""
    pl.seed_everything(0)
    inputs = torch.randn(IMAGES, 8)
    inputs[:, -1] = torch.arange(IMAGES)
    data = DataLoader(TensorDataset(inputs, torch.arange(IMAGES) % 2), BATCH, shuffle=True)
    model, saver = Plain(), ModelCheckpoint(folder, save_last=True, every_n_train_steps=1)
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", logger=False, callbacks=[saver, watch], enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data, ckpt_path=resume)
    return model


def stopped(number: signal.Signals) -> str:
    """Describes the result of a signal at step 20, in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "tests.stress.plain_lightning",
            "--folder",
            folder,
            "--signal",
            str(int(number)),
        ]
        status = subprocess.run(command, capture_output=True).returncode
        last = Path(folder, "last.ckpt")
        step = torch.load(last, weights_only=True)["global_step"] if last.exists() else None
    return f"{number.name} at step 20 of {EPOCHS * IMAGES // BATCH}: status {status}, newest checkpoint of step {step}"


def resumed() -> str:
    """Describes a training that was stopped in its second epoch and resumed."""
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Watch(-1), Watch(20, signal.SIGTERM)
        expected = train(Path(folder, "whole"), whole).state_dict()
        with contextlib.suppress(BaseException):
            train(Path(folder, "cut"), cut)
        last = Path(folder, "cut", "last.ckpt")
        done = torch.load(last, weights_only=True)["global_step"]
        second = Watch(-1)
        found = train(Path(folder, "cut"), second, str(last)).state_dict()
    batches = IMAGES // BATCH
    epoch = [*cut.seen[batches:done], *second.seen[: 2 * batches - done]]
    samples = {sample for batch in epoch for sample in batch}
    equal = all(torch.equal(expected[key], found[key]) for key in expected)
    order = (cut.seen[:done] + second.seen) == whole.seen
    return (
        f"resumed after step {done}: {len(samples)} of {IMAGES} samples seen in that epoch; the order of samples is "
        f"{'the same' if order else 'different'}, the weights are {'the same' if equal else 'different'}"
    )


def not_finite() -> str:
    """Describes the result of a NaN in the input of step 20."""
    with tempfile.TemporaryDirectory() as folder:
        watch = Watch(20, spoil=True)
        result = "continues to the end"
        try:
            train(Path(folder), watch)
        except Exception as error:
            result = f"stops: {type(error).__name__}"
        content = torch.load(Path(folder, "last.ckpt"), weights_only=True)
    finite = all(value.isfinite().all() for value in content["state_dict"].values())
    left = "finite" if finite else "not finite"
    return f"NaN in the input of step 20: {result}, {len(watch.seen)} steps; the last checkpoint is {left}"


def main() -> None:
    """Runs all cases, or with ``--folder`` one training that receives a signal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--signal", type=int)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    if given.folder:
        train(given.folder, Watch(20, given.signal))
        return
    with contextlib.redirect_stderr(io.StringIO()):
        lines = [
            *(stopped(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)),
            resumed(),
            not_finite(),
        ]
    print("\n".join([f"Lightning {pl.__version__}", *lines]))


if __name__ == "__main__":
    main()
