"""What a run writes beside its checkpoints: the files left out, and the predictions."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch.distributed

from dctnet.data.datamodule import FrequencyDataModule, Split
from dctnet.data.images.files import ImageError
from dctnet.errors import Stopped, UserError, did_you_mean_path, printable


class SkippedFiles(pl.Callback):
    """Lists the files that all ranks left out, and stops where they are more than ``--data.max_bad_fraction``.

    Under ``--data.on_error stop`` one is too many.
    In ``skipped.csv`` of the run's folder, else on standard error; in ``by_pixels.csv`` the files that were read by
    pixels where coefficients were asked for.

    One process looks at every batch. Several have to look together, or the others would wait for one that has stopped:
    at every batch of training, and at the end of an evaluation, in which they may have unlike numbers of batches.
    """

    def __init__(self) -> None:
        self._judged = 0  # how many bad training files have been found not to be too many

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Takes it over to stop at a bad file where one rank cannot stop by itself."""
        trainer.datamodule.raises_bad_files = trainer.world_size == 1  # type: ignore[attr-defined]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the lists, so that a training that goes on knows what was left out before."""
        checkpoint["left_out"] = self._share(trainer).bad_files.by_kind()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Takes the lists over, as far as these files are still there to be read."""
        if trainer.state.fn != "fit":
            return
        data: FrequencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        known = {*data.files("train").paths, *data.files("val").paths}
        for kind, files in checkpoint.get("left_out", {}).items():
            data.bad_files.merge((kind, path, reason) for path, reason in files.items() if path in known)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Writes the lists where a training is told to stop."""
        if isinstance(exception, Stopped):  # by which all ranks end at once, and none waits for another
            self._write(trainer)

    def _share(self, trainer: pl.Trainer) -> FrequencyDataModule:
        """Tells every rank what the others have noted since the last time; returns the data."""
        data: FrequencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        own = data.bad_files.pop_new()
        if trainer.world_size > 1:
            gathered = [own] * trainer.world_size
            torch.distributed.all_gather_object(gathered, own)
            for news in gathered:
                data.bad_files.merge(news)
        return data

    def _write(self, trainer: pl.Trainer) -> str:
        """Writes the lists; returns where they are."""
        data = self._share(trainer)
        asked = trainer.log_dir  # on every rank: it is broadcast
        folder = Path(asked) if asked and trainer.loggers else None
        by_pixels = data.bad_files.of_kind("by_pixels")
        lists = (("skipped", "left out", data.bad_files.left_out), ("by_pixels", "read by pixels", by_pixels))
        for name, what, files in lists if trainer.is_global_zero else ():
            if files and folder is None:
                lines = (printable(f"{what} {path}: {reason}") for path, reason in sorted(files.items()))
                print("\n".join(lines), file=sys.stderr)
            elif files and folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                with open(folder / f"{name}.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                    csv.writer(file).writerows([("path", "reason"), *sorted(files.items())])
        return "all listed above" if folder is None else f"all in {folder / 'skipped.csv'}"

    def _check(self, trainer: pl.Trainer, split: Split) -> None:
        """Stops all ranks at once; the first speaks for them."""
        if found := excess(self._share(trainer), split):
            where = self._write(trainer)
            # Status 0, for Lightning kills a first rank whose others end with another.
            raise UserError(f"{found}; {where}") if trainer.is_global_zero else SystemExit(0)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Looks whether too many training files are bad."""
        bad = len(trainer.datamodule.bad_files.of_kind("train"))  # type: ignore[attr-defined]
        if trainer.strategy.reduce_boolean_decision(bad > self._judged, all=False):
            self._check(trainer, "train")
            self._judged = len(trainer.datamodule.bad_files.of_kind("train"))  # type: ignore[attr-defined]

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The same of validation files."""
        if trainer.world_size == 1:
            self._check(trainer, "val")

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """The same of test files."""
        if trainer.world_size == 1:
            self._check(trainer, "test")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Looks once more, for what came after the last common look."""
        self._check(trainer, "train")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the lists after each validation, so that a run that is killed has its own."""
        self._check(trainer, "val")
        self._write(trainer)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After the test."""
        self._check(trainer, "test")
        self._write(trainer)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After predicting, for which there is no limit: a row that is missing speaks for itself."""
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After training."""
        self._write(trainer)


def excess(data: FrequencyDataModule, split: Split) -> str | None:
    """What to tell where more of a split is bad than ``on_error`` and ``max_bad_fraction`` allow, else None."""
    options, bad, total = data.hparams, data.bad_files.of_kind(split), len(data.files(split))
    limit = 0 if options["on_error"] == "stop" else options["max_bad_fraction"]
    if limit is None or len(bad) <= limit * total:
        return None
    path, reason = min(bad.items())
    if options["on_error"] == "stop":
        return str(ImageError(path, reason).with_advice())
    return (
        f"{options['root']}: {len(bad):,} of {total:,} {split} files cannot be read so far, more than "
        f"--data.max_bad_fraction {limit} allows, such as {path}: {reason}"
    )


class PredictionsCSV(pl.Callback):
    """Writes predictions batch by batch: path, label, probability, and the five likeliest as JSON.

    Args:
        path: The CSV file. Written under another name and renamed at the end: one that is there is whole.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise UserError(f"{path}: cannot write there.{did_you_mean_path(self.path.parent)}")
        if self.path.exists() and not self.path.is_file():
            raise UserError(f"{path}: a folder or a device; wanted a file, which is written beside it and renamed")
        self._partial = self.path.with_name(f".{self.path.name}.partial")

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the file and writes the header."""
        if trainer.world_size > 1:
            raise UserError(
                f"predictions go to one file from one device; got {trainer.world_size}: --trainer.devices 1"
            )
        data: FrequencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        self._paths, self._classes = data.files("predict").paths, pl_module.hparams["classes"]
        self._file = open(self._partial, "w", newline="", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
        self._rows = csv.writer(self._file)
        self._rows.writerow(("path", "label", "probability", "top5"))
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
        """Writes a batch."""
        columns = (outputs[key].tolist() for key in ("index", "probability", "label"))
        for index, probabilities, labels in zip(*columns, strict=True):
            top = [(self._classes[label], round(p, 6)) for label, p in zip(labels, probabilities, strict=True)]
            self._rows.writerow((self._paths[index], *top[0], json.dumps(top, ensure_ascii=False)))
        self._written += len(outputs["index"])

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the file and gives it its name."""
        self._file.close()
        replaced = "; replaces the one that was there" if self.path.exists() else ""
        self._partial.replace(self.path)
        left_out = len(self._paths) - self._written
        print(
            f"\n{printable(str(self.path))}: {self._written:,} images"
            f"{f', {left_out:,} left out, listed above' if left_out else ''}{replaced}"
        )
