"""Writes predictions to a CSV file."""

import contextlib
import csv
import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.ignored import PREDICTIONS, is_predictions
from dctnet.errors import UserError, did_you_mean_path, printable
from dctnet.io.atomic import atomic_open


class PredictionsCSV(pl.Callback):
    """Writes path, label, probability, and the five best classes as JSON, batch by batch.

    Args:
        path: The CSV file. It is written under a temporary name and renamed at the end.

    Raises:
        UserError: The folder does not exist, or the path is something else than a table of predictions.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise UserError(f"{path}: no such folder {self.path.parent}.{did_you_mean_path(self.path.parent)}")
        if self.path.exists() and not self.path.is_file():
            raise UserError(f"{path}: a folder or a device; --out needs a file name, such as predictions.csv")
        if self.path.exists() and self.path.stat().st_size and not is_predictions(str(self.path)):
            raise UserError(f"{path}: exists and is no table of predictions; choose another name for --out")
        self._stack = contextlib.ExitStack()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the file and writes the header."""
        if trainer.world_size > 1:
            raise UserError(f"predict writes one file from one device; got {trainer.world_size}: --trainer.devices 1")
        data: FrequencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        self._paths, self._classes = data.files("predict").paths, pl_module.hparams["classes"]
        text = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}
        self._rows = csv.writer(self._stack.enter_context(atomic_open(self.path, "w", suffix="partial", **text)))
        self._rows.writerow(PREDICTIONS)
        self._written = 0

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: dict[str, Any],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes the rows of a batch."""
        columns = (outputs[key].tolist() for key in ("index", "probability", "label"))
        for index, probabilities, labels in zip(*columns, strict=True):
            top = [(self._classes[label], round(p, 6)) for label, p in zip(labels, probabilities, strict=True)]
            self._rows.writerow((self._paths[index], *top[0], json.dumps(top, ensure_ascii=False)))
        self._written += len(outputs["index"])

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Removes the temporary file."""
        self._stack.__exit__(type(exception), exception, exception.__traceback__)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Renames the file to its final name, and prints the number of images."""
        replaced = "; replaced the previous file" if self.path.exists() else ""
        self._stack.close()
        skipped = len(trainer.datamodule.bad_files.of_kind("predict"))  # type: ignore[attr-defined]
        unread = len(self._paths) - self._written - skipped
        print(
            f"\n{printable(str(self.path))}: {self._written:,} images"
            f"{f', {skipped:,} skipped, listed above' if skipped else ''}"
            f"{f', {unread:,} not read (--trainer.limit_predict_batches)' if unread else ''}{replaced}"
        )
