"""Reports unreadable files and stops a run with too many of them."""

import csv
import itertools
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch.distributed
from pytorch_lightning.utilities import rank_zero_warn

from dctnet.data.bad_files import unreadable_classes
from dctnet.data.datamodule import FrequencyDataModule, Split
from dctnet.data.images.files import ImageError
from dctnet.data.sources import enumerate_classes
from dctnet.errors import Stopped, UserError, printable


class BadFileReport(pl.Callback):
    """Lists the files that all ranks skipped, and stops the run above ``--data.max_bad_fraction``.

    Under ``--data.on_error stop`` the first bad file stops the run. The lists are ``skipped.csv`` and ``by_pixels.csv``
    (files decoded to pixels although coefficients were requested) in the run's folder, or else standard error.

    A single process checks every batch. Several ranks have to check together, because a rank that stopped alone would
    leave the others waiting: at every training batch, and at the end of an evaluation, whose number of batches can
    differ between ranks.

    Args:
        folder: The run's folder, if it has one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._checked = 0  # bad training files at the last check
        self._warned = ""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Lets the data module raise at a bad file only in a single process."""
        trainer.datamodule.raises_bad_files = trainer.world_size == 1  # type: ignore[attr-defined]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Saves the lists of all ranks with the checkpoint."""
        checkpoint["left_out"] = self._gather(trainer).bad_files.by_kind()

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restores the lists, restricted to files that still belong to the data."""
        if trainer.state.fn != "fit":
            return
        data: FrequencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        saved = checkpoint.get("left_out", {})
        # The names of a packed store are not read without need.
        if named := {path for files in saved.values() for path in files}:
            named.intersection_update(itertools.chain(data.files("train").paths, data.files("val").paths))
        for kind, files in saved.items():
            data.bad_files.merge((kind, path, reason) for path, reason in files.items() if path in named)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Writes the lists when a signal stops the training, which happens on all ranks at the same step."""
        if isinstance(exception, Stopped):
            self._write(trainer)

    def _gather(self, trainer: pl.Trainer) -> FrequencyDataModule:
        """Exchanges new entries between ranks; returns the data module."""
        data: FrequencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        own = data.bad_files.pop_new()
        if trainer.world_size > 1:
            gathered = [own] * trainer.world_size
            torch.distributed.all_gather_object(gathered, own)
            for entries in gathered:
                data.bad_files.merge(entries)
        return data

    def _write(self, trainer: pl.Trainer) -> str:
        """Writes the lists; returns where they are."""
        data = self._gather(trainer)
        folder = self.folder
        lists = (
            ("skipped", "skipped", data.bad_files.left_out),
            ("by_pixels", "read by pixels", data.bad_files.of_kind("by_pixels")),
        )
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
        """Stops all ranks together if a split has too many bad files; rank 0 reports the error."""
        self._stop(trainer, too_many_bad_files(self._gather(trainer), split))

    def _stop(self, trainer: pl.Trainer, found: str | None) -> None:
        if found:
            where = self._write(trainer)
            # Status 0 elsewhere: Lightning kills rank 0 as soon as another rank ends with an error.
            raise UserError(f"{found}; {where}") if trainer.is_global_zero else SystemExit(0)

    def _warn_of_classes(self, trainer: pl.Trainer, split: Split) -> None:
        found = unreadable(trainer.datamodule, split)  # type: ignore[attr-defined]
        if found and found != self._warned:
            self._warned = found
            rank_zero_warn(f"{found}; figures are over the other classes")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Checks the training split if any rank has found another bad file."""
        bad = len(trainer.datamodule.bad_files.of_kind("train"))  # type: ignore[attr-defined]
        if trainer.strategy.reduce_boolean_decision(bad > self._checked, all=False):
            self._check(trainer, "train")
            self._checked = len(trainer.datamodule.bad_files.of_kind("train"))  # type: ignore[attr-defined]

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Checks the validation split."""
        if trainer.world_size == 1:
            self._check(trainer, "val")

    def on_test_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Checks the test split."""
        if trainer.world_size == 1:
            self._check(trainer, "test")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks the files that were read after the last batch started."""
        self._check(trainer, "train")
        self._stop(trainer, unreadable(trainer.datamodule, "train"))  # type: ignore[attr-defined]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks, and writes the lists, so that they exist if the run is killed later."""
        self._check(trainer, "val")
        self._warn_of_classes(trainer, "val")
        self._write(trainer)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Checks, and writes the lists."""
        self._check(trainer, "test")
        self._warn_of_classes(trainer, "test")
        self._write(trainer)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the lists; predicting has no limit on bad files."""
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the lists."""
        self._write(trainer)


def unreadable(data: FrequencyDataModule, split: Split) -> str | None:
    """Returns a message if a split has classes of which no file can be read, else None."""
    if not (bad := data.bad_files.of_kind(split)):
        return None
    if not (targets := unreadable_classes(data.files(split), bad)):
        return None
    names = enumerate_classes([data.class_names[target] for target in targets], data.class_names)
    return printable(f"{data.hparams['root']}: no {split} image can be read of {names}")


def too_many_bad_files(data: FrequencyDataModule, split: Split) -> str | None:
    """Returns an error message if a split has more bad files than the options allow, else None."""
    options, bad, total = data.hparams, data.bad_files.of_kind(split), len(data.files(split))
    limit = 0 if options["on_error"] == "stop" else options["max_bad_fraction"]
    if limit is None or len(bad) <= limit * total:
        return None
    path, reason = min(bad.items())
    if options["on_error"] == "stop":
        return str(ImageError(path, reason).with_advice())
    return (
        f"{options['root']}: {len(bad):,} of {total:,} {split} files are unreadable so far, more than "
        f"--data.max_bad_fraction {limit} allows, such as {path}: {reason}"
    )
