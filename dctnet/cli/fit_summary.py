"""The last steps of a fit: the mask of a gated network, and the summary table."""

from pathlib import Path

import pytorch_lightning as pl

from dctnet.data.bad_files import unreadable_classes
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError, printable
from dctnet.export.mask import write_mask_and_map
from dctnet.training.checkpointing import BEST, LAST
from dctnet.training.module import FrequencyClassifier

_FILES = {"checkpoint": LAST, "best": BEST, "mask": "mask.json", "heat map": "mask.png", "curves": "metrics.csv"}


def export_fitted_mask(
    trainer: pl.Trainer, model: FrequencyClassifier, data: FrequencyDataModule, folder: Path
) -> str | None:
    """Writes ``mask.json`` and ``mask.png`` of a gated fit into the run's folder.

    Returns:
        The row of the summary about kept channels: counts, or why there is no mask. None without a gate.
    """
    if model.network.gate is None:
        return None
    metrics, last = trainer.callback_metrics, folder / LAST
    if "num_kept" not in metrics:
        return "not counted: there was no validation; dctnet export-mask counts them from a checkpoint"
    count = f"{metrics['num_kept']:.1f} of {len(model.hparams['channels'])} in the average photograph"
    try:
        ckpt = str(last) if last.is_file() else None
        kept = write_mask_and_map(model, folder / "mask.json", model.hparams["keep"], ckpt, str(data.hparams["root"]))
    except UserError as error:
        return f"{count}; no mask: {error}"
    return f"{count}; mask.json holds {len(kept)}"


def print_summary(
    trainer: pl.Trainer,
    model: FrequencyClassifier,
    data: FrequencyDataModule,
    folder: Path,
    mask: str | None,
    nothing_trained: bool,
) -> None:
    """Prints accuracy, skipped files, channels, image size, compute, and the paths of the files of a run.

    Args:
        trainer: The trainer after the fit.
        model: The trained model.
        data: Its data.
        folder: The run's folder.
        mask: The row about kept channels, as :func:`export_fitted_mask` returns it.
        nothing_trained: Whether the resumed training had already ended.
    """
    options, metrics, cost = model.hparams, trainer.callback_metrics, model.network.cost()
    rows = []
    if nothing_trained:
        rows.append(("trained", "nothing, it had ended; to continue: --trainer.max_epochs N --allow_changes true"))
    if "val_images" not in metrics:
        rows.append(("accuracy", f"not measured: there was no validation, so there is no {BEST}"))
    else:
        images, skipped = int(metrics["val_images"]), int(metrics["val_skipped"])
        skipped_text = f", {skipped} unreadable: {folder / 'skipped.csv'}" if skipped else ""
        present = {*data.files("val").targets} - {*unreadable_classes(data.files("val"), data.bad_files.of_kind("val"))}
        missing = len(data.class_names) - len(present)
        classes = f" of {len(present)} of the {len(data.class_names)} classes" if missing else ""
        accuracy = f"{metrics['val_acc1']:.3f} top-1 on {images} validation images{classes}{skipped_text}"
        rows.append(("accuracy", accuracy))
    if bad := len(data.bad_files.of_kind("train")):
        total = len(data.files("train"))
        rows.append(("skipped", f"{bad} of {total} training files were unreadable: {folder / 'skipped.csv'}"))
    if mask is not None:
        rows.append(("channels kept", mask))
    elif options["input"] == "channels":
        rows.append(("channels", f"{len(options['channels'])} of 192"))
    native, size = model.network.native_size, options["image_size"]
    rows.append(("image size", f"{size} px" + (f"; the layers are designed for {native} px" if native != size else "")))
    compute = f"{cost['gmac']:.3f} GMAC (billion multiply-adds) and {cost['values']:,} input values per image"
    rows.append(("compute", compute))
    if by_pixels := len(data.bad_files.of_kind("by_pixels")):
        rows.append(("by pixels", f"{by_pixels} files had no usable coefficients: {folder / 'by_pixels.csv'}"))
    if not trainer.checkpoint_callbacks:
        rows.append(("checkpoint", "not saved: --trainer.enable_checkpointing false"))
    rows += [(name, str(folder / file)) for name, file in _FILES.items() if (folder / file).is_file()]
    if not (folder / "metrics.csv").is_file():
        rows += [
            ("curves", f"{type(each).__name__}: {each.log_dir or each.save_dir or each.name}")
            for each in trainer.loggers
        ]
    print("\n" + "\n".join(f"{name:<16}{printable(value)}" for name, value in rows))
