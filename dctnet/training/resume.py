"""What a training goes on with must be what it began with, or be allowed to differ."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_warn

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError, first_line, printable
from dctnet.training import checkpoint
from dctnet.training.checkpoint_schema import check_resumable
from dctnet.training.module import FrequencyClassifier

# Without these the checkpoint fits no network, or the network no data.
_FOREVER = ("classes", "channels", "input", "stem", "scale", "backbone", "layer2_stride", "gate", "squeeze")
# These change no bit: they say where the same images are read from, and what is bad enough to stop at.
_FREE = {"root", "num_workers", "residency", "download", "on_error", "max_bad_fraction", "weights"}
# Nor can these, while an epoch that was begun is counted in batches.
_WITHIN_AN_EPOCH = ("batch_size", "world_size")


def check_resumed(
    path: str | Path,
    model: FrequencyClassifier,
    data: FrequencyDataModule,
    progress: dict[str, Any],
    allow: bool,
) -> int:
    """Refuses to resume what is not the same training, image by image and step by step.

    Args:
        path: The checkpoint.
        model: The network that is to go on.
        data: The data that it is to go on with.
        progress: The state of the new training's loop.
        allow: Go on all the same, where the checkpoint fits the network; the differences are told.

    Returns:
        The step from which it goes on.

    Raises:
        UserError: They differ. Names what, as it was and as it is. Or the checkpoint is one of weights alone.
    """
    content = checkpoint.read(path)
    check_resumable(path, content, progress)
    before, now = content["hyper_parameters"], dict(model.hparams)
    for name in _FOREVER:
        if before.get(name, now[name]) != now[name]:
            raise UserError(f"{path} cannot be resumed: it was trained with {_change(name, before, now)}")
    before = {**before, **content["datamodule_hyper_parameters"], **content["training"]}
    now |= {**data.hparams, **model.training_shape}
    if not content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]:
        for name in _WITHIN_AN_EPOCH:
            if before.get(name) != now[name]:
                change = _change(name, before, now)
                raise UserError(f"{path} cannot be resumed: it was stopped within an epoch with {change}")
    # A mask file may have moved; the channels themselves were compared above.
    names = [name for name in now if name not in {*_FREE, *_FOREVER}]
    changed = [_change(name, before, now) for name in names if before.get(name) != now[name]]
    for split, files in data.fingerprint.items():
        was = content[type(data).__qualname__][split]
        if was["sha256"] != files["sha256"]:
            changed.append(f"other images in {split}: {was['images']:,}, now {files['images']:,}")
    if changed and not allow:
        raise UserError(
            f"{path} was trained with {'; '.join(changed)}. To go on with what has changed: --allow_changes true"
        )
    if changed:
        rank_zero_warn(printable(f"resumed with what has changed: {'; '.join(changed)}"))
    return content["global_step"]


def _change(name: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    return f"{name} {str(before.get(name))[:60]}, now {str(now[name])[:60]}"


@contextlib.contextmanager
def translate_restore_errors() -> Iterator[None]:
    """Tells in one line what Lightning and torch raise while they restore a checkpoint, which may be nearly anything.

    Raises:
        UserError: A checkpoint cannot be restored.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if not any(frame.name.lstrip("_").startswith("restore") for frame in traceback.extract_tb(error.__traceback__)):
            raise
        raise UserError(f"the checkpoint cannot be resumed: {first_line(error)}") from error
