"""From a gated checkpoint to a mask file and a heat map."""

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl

from dctnet import __version__
from dctnet.errors import UserError, printable
from dctnet.export.heatmap import draw_heat_map
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.training import checkpoint
from dctnet.training.callbacks import SkippedFiles
from dctnet.training.module import FrequencyClassifier
from dctnet.training.preemption import disable_lightning_signal_handlers, translate_interrupt


def export_mask(ckpt: str, out: str = "mask.json", keep: int | None = None, root: str | None = None) -> ChannelSet:
    """Writes the channels that a gated checkpoint keeps: a mask file, and beside it a heat map as PNG.

    Args:
        ckpt: A checkpoint of a fit with a gate.
        out: The mask file to write.
        keep: Take this many channels, the likeliest kept; otherwise as many as the fit was to keep, or, where it had no
            such budget, those that are likelier kept than not.
        root: Data set whose validation images are asked; otherwise the one trained on.

    Raises:
        UserError: The checkpoint has no gate, ``keep`` is more than its channels, or ``out`` is no place for a file.
    """
    _check_out(Path(out))
    model, data = checkpoint.load(ckpt, root=root)
    if model.gate is None:
        raise UserError(f"{ckpt}: trained without a gate, so it keeps all its channels; fit with --model.gate first")
    offered, keep = len(model.hparams["channels"]), model.hparams["keep"] if keep is None else keep
    if keep is not None and not 1 <= keep <= offered:
        raise UserError(f"--keep must be 1…{offered}, the channels of this checkpoint; got {keep}")
    trainer = pl.Trainer(
        devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False, callbacks=[SkippedFiles()]
    )
    disable_lightning_signal_handlers(trainer)
    with translate_interrupt():
        trainer.validate(model, data, verbose=False)
    kept = write_mask_and_map(model, out, keep, ckpt, str(data.hparams["root"]))
    images, skipped = (int(trainer.callback_metrics[f"val_{what}"]) for what in ("images", "skipped"))
    print(printable(f"{kept}, over {images} images, {skipped} skipped -> {out}, {Path(out).with_suffix('.png')}"))
    return kept


def _check_out(out: Path) -> None:
    if not out.parent.is_dir():
        raise UserError(f"{out}: the folder {out.parent} does not exist")
    for path in (out, out.parent / f"{out.stem}.png"):
        # A device or a pipe would be replaced by a file of its name.
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: exists and is no regular file; --out wants the name of a file, such as mask.json")
    if out.suffix == ".png":
        raise UserError(f"{out}: the name of the heat map; --out wants another for the mask, such as mask.json")


def write_mask_and_map(
    model: FrequencyClassifier, out: str | Path, keep: int | None, ckpt: str, data: str
) -> ChannelSet:
    """Writes mask file and heat map from the gate statistics of the model's last validation pass.

    Args:
        model: A gated model that has been validated.
        out: The mask file; the heat map gets the same name with ``.png``.
        keep: As for :func:`export_mask`.
        ckpt: The checkpoint of this model, hashed into the mask's source.
        data: What it was trained on, for the mask's source.
    """
    offered = model.hparams["channels"]
    statistics = model.gate_statistics.compute()
    probability = [0.0] * NUM_CHANNELS
    for index, value in zip(offered, statistics["keep_probability"].tolist(), strict=True):
        probability[index] = value
    kept = choose_kept(probability, offered, keep)
    source: dict[str, str | int | float | None] = {
        "dctnet": __version__,
        "checkpoint_sha256": checkpoint.sha256(ckpt),
        "gate": model.hparams["gate"],
        "data": data,
        "image_size": model.hparams["image_size"],
        "images": int(statistics["images"]),
        "num_kept": round(float(statistics["num_kept"]), 3),
    }
    write_mask(out, kept, probability, source)
    draw_heat_map(Path(out).with_suffix(".png"), probability, kept, offered)
    return kept


def choose_kept(probability: Sequence[float], offered: Sequence[int], keep: int | None) -> ChannelSet:
    """The channels that a mask holds.

    Args:
        probability: Keep probability of each of the 192 channels.
        offered: The channels that the gate could choose from.
        keep: Take this many, the likeliest kept; None takes those likelier kept than not, mean over the images.

    Raises:
        UserError: ``keep`` is not 1 … the number offered, or no channel is likelier kept than not.
    """
    ranked = sorted(offered, key=lambda i: -probability[i])
    if keep is None:
        chosen = [i for i in ranked if probability[i] > 0.5]
        if not chosen:
            raise UserError("no channel is likelier kept than not; --keep K takes the K likeliest")
    elif 1 <= keep <= len(offered):
        chosen = ranked[:keep]
    else:
        raise UserError(f"--keep must be 1…{len(offered)}, the channels of this checkpoint; got {keep}")
    return ChannelSet("mask", tuple(sorted(chosen)))
