"""Checks that data and options match the resumed checkpoint."""

import contextlib
import inspect
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BatchSizeFinder, LearningRateFinder
from pytorch_lightning.utilities import rank_zero_warn

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError, first_line, printable
from dctnet.model.network import SHAPE_OPTIONS
from dctnet.training import checkpoint
from dctnet.training.module import FrequencyClassifier

# Shape of the network and of the optimizer's state: with another value they do not fit.
_FIXED = ("classes", "channels", *SHAPE_OPTIONS, "freeze")
# No effect on the result: where the same images are read from, and how many bad files are acceptable.
_FREE = {"root", "num_workers", "residency", "download", "on_error", "max_bad_fraction", "weights"}
# The position within an epoch is counted in batches of all ranks.
_FIXED_WITHIN_EPOCH = ("batch_size", "world_size")
_SHAPE = (
    "max_epochs", "max_steps", "accumulate_grad_batches", "world_size", "limit_train_batches", "precision",
    "gradient_clip_val", "gradient_clip_algorithm", "limit_val_batches", "val_check_interval",
    "check_val_every_n_epoch", "reload_dataloaders_every_n_epochs", "overfit_batches",
)  # fmt: skip
# They train before a training; the options that they find are those of the checkpoint.
_SEARCHES = (LearningRateFinder, BatchSizeFinder)
# What a training state consists of, with the type of each part.
_STATE = {
    "epoch": int, "global_step": int, "loops": dict, "callbacks": dict, "optimizer_states": list,
    "lr_schedulers": list, "training": dict, "left_out": dict, FrequencyDataModule.__qualname__: dict,
}  # fmt: skip


def check_resumed(
    path: str | Path, trainer: pl.Trainer, model: FrequencyClassifier, data: FrequencyDataModule, allow: bool
) -> int:
    """Refuses to resume a training with other images, options or steps.

    Args:
        path: The checkpoint.
        trainer: The trainer of the fit.
        model: The model to train.
        data: The data to train on.
        allow: Accept differences that the network's shape permits; they are logged as a warning.

    Returns:
        The step at which the training resumes.

    Raises:
        UserError: There is a difference, with the value then and now; or the checkpoint holds no training state.
    """
    content = checkpoint.read(path)
    _check_state(path, content)
    _check_progress(path, trainer.fit_loop.state_dict(), content["loops"].get("fit_loop"))
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, _SEARCHES):
            lr, size = content["hyper_parameters"].get("lr"), content["datamodule_hyper_parameters"].get("batch_size")
            raise UserError(
                f"{path} cannot be resumed with {type(callback).__name__}, which searches before a training; leave it "
                f"out, and give what it found: --model.lr {lr} --data.batch_size {size}"
            )
    before, now = content["hyper_parameters"], dict(model.hparams)
    for name in _FIXED:
        if before.get(name, now[name]) != now[name]:
            raise UserError(f"{path} cannot be resumed: it was trained with {_change(name, before, now)}")
    # Checkpoints of earlier versions do not record later options, whose defaults are what they trained with.
    recorded = {"overfit_batches": 0.0, **content["datamodule_hyper_parameters"], **content["training"]}
    before = {**_defaults(type(model)), **_defaults(type(data)), **before, **recorded}
    now |= {**data.hparams, **model.training_shape}
    if not content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]:
        for name in _FIXED_WITHIN_EPOCH:
            if before.get(name) != now[name]:
                change = _change(name, before, now)
                raise UserError(f"{path} cannot be resumed: it was stopped within an epoch with {change}")
    names = [name for name in now if name not in {*_FREE, *_FIXED}]
    changed = [_change(name, before, now) for name in names if before.get(name) != now[name]]
    for split, files in data.fingerprint.items():
        record = content[type(data).__qualname__][split]
        if record["sha256"] != files["sha256"]:
            changed.append(f"other images in {split}: {record['images']:,}, now {files['images']:,}")
    if changed and not allow:
        raise UserError(
            f"{path} was trained with {'; '.join(changed)}. To resume with these changes: --allow_changes true"
        )
    if changed:
        rank_zero_warn(printable(f"resumed with changes: {'; '.join(changed)}"))
    return content["global_step"]


def _defaults(kind: type) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}


def training_shape(trainer: pl.Trainer, callbacks: Sequence[pl.Callback]) -> dict[str, Any]:
    """Collects the trainer's options that decide the steps of a training, as plain values for the checkpoint.

    Args:
        trainer: The trainer.
        callbacks: Callbacks that the user configured.
    """
    plain = (bool, int, float, str, type(None))  # weights-only loading rejects enumerations
    values = {name: getattr(trainer, name) for name in _SHAPE}
    return {
        **{name: value if type(value) in plain else str(value) for name, value in values.items()},
        "callbacks": sorted(type(callback).__name__ for callback in callbacks if not isinstance(callback, _SEARCHES)),
    }


def _check_state(path: str | Path, content: dict[str, Any]) -> None:
    """Checks for a complete training state: Lightning restarts missing parts without a warning."""
    for part, kind in _STATE.items():
        if part not in content:
            raise UserError(f"{path} cannot be resumed: it has no {part!r}; a checkpoint of weights alone?")
        if not isinstance(content[part], kind):
            raise UserError(f"{path} cannot be resumed: {part!r} must be of type {kind.__name__}")
    for part in ("optimizer_states", "lr_schedulers"):
        if len(content[part]) != 1:
            raise UserError(f"{path} cannot be resumed: {part!r} must hold one state, it has {len(content[part])}")
    for split in ("train", "val"):
        record = content[FrequencyDataModule.__qualname__].get(split)
        if not isinstance(record, dict) or [type(record.get(key)) for key in ("images", "sha256")] != [int, str]:
            raise UserError(f"{path} cannot be resumed: the record of {split} images must be a number and a SHA-256")


def _check_progress(path: str | Path, expected: Any, found: Any) -> None:
    """Checks that the progress of the loops has all counters of a new training's, with their types."""
    nested = isinstance(expected, dict)
    if type(found) is not type(expected) or (nested and not expected.keys() <= found.keys()):
        raise UserError(f"{path} cannot be resumed: 'loops' does not hold the progress of a training")
    for key in expected if nested else ():
        _check_progress(path, expected[key], found[key])


def _change(name: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    return f"{name} {str(before.get(name))[:60]}, now {str(now[name])[:60]}"


@contextlib.contextmanager
def translate_restore_errors() -> Iterator[None]:
    """Converts any exception raised while Lightning and torch restore a checkpoint to one line.

    Raises:
        UserError: A checkpoint cannot be restored.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not any(frame.name.lstrip("_").startswith("restore") for frame in frames):
            raise
        raise UserError(f"the checkpoint cannot be resumed: {first_line(error)}") from error
