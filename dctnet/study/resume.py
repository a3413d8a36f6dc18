"""What a training goes on with must be what it began with, or be allowed to differ."""

from pathlib import Path
from typing import Any

from pytorch_lightning.utilities import rank_zero_warn

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError
from dctnet.model.classifier import FrequencyClassifier
from dctnet.study import checkpoint

# Without these the checkpoint fits no network, or the network no data.
_FOREVER = ("classes", "channels", "input", "stem", "scale", "backbone", "layer2_stride", "gate", "squeeze")
# These change speed, or where the same images are read from.
_FREE = {
    "root", "num_workers", "residency", "download", "on_error", "max_bad_fraction", "decoder", "dct", "compile",
    "channels_last", "weights",
}  # fmt: skip


def check_resumed(
    path: str | Path, model: FrequencyClassifier, data: FrequencyDataModule, shape: dict[str, Any], allow: bool
) -> None:
    """Refuses to resume what is not the same training, image by image and step by step.

    Args:
        path: The checkpoint.
        model: The network that is to go on.
        data: The data that it is to go on with.
        shape: What else decides the steps: epochs, ranks, accumulation.
        allow: Go on all the same, where the checkpoint fits the network; the differences are told.

    Raises:
        UserError: They differ. Names what, as it was and as it is.
    """
    content = checkpoint.read(path)
    before, now = content["hyper_parameters"], dict(model.hparams)
    for name in _FOREVER:
        if before.get(name, now[name]) != now[name]:
            raise UserError(f"{path} cannot be resumed: it was trained with {_change(name, before, now)}")
    before = {**before, **content["datamodule_hyper_parameters"]}
    now |= dict(data.hparams)
    # A mask file may have moved; the channels themselves were compared above.
    names = [name for name in before if name in now and name not in {*_FREE, *_FOREVER}]
    changed = [_change(name, before, now) for name in names if before[name] != now[name]]
    trained_on = content.get(type(data).__qualname__, {})
    files = data.fingerprint
    if trained_on.get("sha256", files["sha256"]) != files["sha256"]:
        changed.append(f"other training images: {trained_on['images']:,}, now {files['images']:,}")
    was = content.get("training", {})
    changed += [_change(name, was, shape) for name in shape if was.get(name, shape[name]) != shape[name]]
    if changed and not allow:
        raise UserError(
            f"{path} was trained with {'; '.join(changed)}. To go on with what has changed: --allow_changes true"
        )
    if changed:
        rank_zero_warn(f"resumed with what has changed: {'; '.join(changed)}")


def _change(name: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    return f"{name} {str(before.get(name))[:60]}, now {str(now[name])[:60]}"
