"""What a run writes beside its checkpoints: the files left out, and the predictions."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch.distributed

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError, did_you_mean_path


class SkippedFiles(pl.Callback):
    """Lists the files that all ranks left out, and those read by pixels where coefficients were asked for.

    In ``skipped.csv`` and ``by_pixels.csv`` of the run's folder, else on standard error.
    """

    def _write(self, trainer: pl.Trainer) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        own = {"skipped": data.skipped, "by_pixels": data.by_pixels}
        gathered: list[dict[str, dict[str, str]]] = [own]
        if trainer.world_size > 1:
            gathered = [own] * trainer.world_size
            torch.distributed.all_gather_object(gathered, own)
        folder = trainer.log_dir  # asked on every rank: it is broadcast
        for name, what in (("skipped", "left out"), ("by_pixels", "read by pixels")):
            files = {path: reason for part in gathered for path, reason in part[name].items()}
            if not trainer.is_global_zero or not files:
                continue
            if folder is None or not trainer.loggers:
                print("\n".join(f"{what} {path}: {reason}" for path, reason in sorted(files.items())), file=sys.stderr)
                continue
            Path(folder).mkdir(parents=True, exist_ok=True)
            path = Path(folder, f"{name}.csv")
            with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                csv.writer(file).writerows([("path", "reason"), *sorted(files.items())])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After each validation, so that a run that is killed has its list."""
        self._write(trainer)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After predicting."""
        self._write(trainer)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the test."""
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After training."""
        self._write(trainer)


class PredictionsCSV(pl.Callback):
    """Writes predictions batch by batch: path, label, probability, and the five likeliest as JSON.

    Args:
        path: The CSV file. Written under another name and renamed at the end: one that is there is whole.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise UserError(f"{path}: cannot write there.{did_you_mean_path(self.path.parent)}")
        self._partial = self.path.with_name(f".{self.path.name}.partial")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the file and writes the header."""
        if trainer.world_size > 1:
            raise UserError(
                f"predictions go to one file from one device; got {trainer.world_size}: --trainer.devices 1"
            )
        data: FrequencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        self._paths, self._classes = data.predict_files().paths, pl_module.hparams["classes"]
        self._file = open(self._partial, "w", newline="", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        self._rows = csv.writer(self._file)
        self._rows.writerow(("path", "label", "probability", "top5"))

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: dict[str, Any],
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes a batch."""
        columns = (outputs[key].tolist() for key in ("index", "probability", "label"))
        for index, probabilities, labels in zip(*columns, strict=True):
            top = [(self._classes[label], round(p, 6)) for label, p in zip(labels, probabilities, strict=True)]
            self._rows.writerow((self._paths[index], *top[0], json.dumps(top, ensure_ascii=False)))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the file and gives it its name."""
        self._file.close()
        self._partial.replace(self.path)
