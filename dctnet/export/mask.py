"""Exports the channels that a gated network keeps: mask file and heat map."""

from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl

from dctnet import __version__
from dctnet.errors import UserError, printable
from dctnet.export.heatmap import draw_heat_map
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet
from dctnet.frequency.maskfile import write_mask
from dctnet.io.files import file_sha256
from dctnet.training.callbacks.bad_files import BadFileReport
from dctnet.training.checkpoint import load_classifier
from dctnet.training.lightning_internals import disable_signal_handlers
from dctnet.training.module import FrequencyClassifier
from dctnet.training.preemption import translate_interrupt


def export_mask(ckpt: str, out: str = "mask.json", keep: int | None = None, root: str | None = None) -> ChannelSet:
    """Writes the channels that a gated checkpoint keeps: a mask file, and beside it a heat map as PNG.

    The keep probabilities are means over the validation images.

    Args:
        ckpt: A checkpoint of a fit with a gate.
        out: The mask file to write.
        keep: Number of channels: the most probable ones. Default: the budget of the fit, or without a budget all
            channels with a keep probability above one half.
        root: Data set with the validation images. Default: the data set of the training.

    Raises:
        UserError: The checkpoint has no gate, ``keep`` is out of range, or ``out`` cannot be written.
    """
    _check_out(Path(out))
    model, data = load_classifier(ckpt, root=root)
    if model.network.gate is None:
        raise UserError(f"{ckpt}: trained without a gate; train with --model.gate static or dynamic to select channels")
    offered, keep = len(model.hparams["channels"]), model.hparams["keep"] if keep is None else keep
    if keep is not None and not 1 <= keep <= offered:
        raise UserError(f"--keep must be 1…{offered}, the channels of this checkpoint; got {keep}")
    trainer = pl.Trainer(
        devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False, callbacks=[BadFileReport()]
    )
    disable_signal_handlers(trainer)
    with translate_interrupt():
        trainer.validate(model, data, verbose=False)
    kept = write_mask_and_map(model, out, keep, ckpt, str(data.hparams["root"]))
    images, skipped = (int(trainer.callback_metrics[f"val_{name}"]) for name in ("images", "skipped"))
    print(printable(f"{kept}, over {images} images, {skipped} skipped -> {out}, {Path(out).with_suffix('.png')}"))
    return kept


def _check_out(out: Path) -> None:
    if not out.parent.is_dir():
        raise UserError(f"{out}: the folder {out.parent} does not exist")
    for path in (out, out.parent / f"{out.stem}.png"):
        # An atomic write would replace a device or a pipe by a file.
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: exists and is no regular file; --out needs a file name, such as mask.json")
    if out.suffix == ".png":
        raise UserError(f"{out}: this is the name of the heat map; --out needs the mask's name, such as mask.json")


def write_mask_and_map(
    model: FrequencyClassifier, out: str | Path, keep: int | None, ckpt: str | None, data: str
) -> ChannelSet:
    """Writes mask file and heat map from the gate statistics of the model's last validation.

    Args:
        model: A gated model that has been validated.
        out: The mask file; the heat map has the same name with ``.png``.
        keep: As for :func:`export_mask`.
        ckpt: The checkpoint of this model, if it was saved; its hash becomes part of the mask's source.
        data: The data set, for the mask's source.
    """
    offered = model.hparams["channels"]
    statistics = model.gate_statistics.compute()
    probability = [0.0] * NUM_CHANNELS
    for index, value in zip(offered, statistics["keep_probability"].tolist(), strict=True):
        probability[index] = value
    kept = choose_kept(probability, offered, keep)
    source: dict[str, str | int | float | None] = {
        "dctnet": __version__,
        "checkpoint_sha256": None if ckpt is None else file_sha256(ckpt),
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
    """Selects the channels of a mask.

    Args:
        probability: Keep probability of each of the 192 channels.
        offered: The channels that the gate can choose from.
        keep: Number of channels: the most probable ones; None selects those with a probability above one half.

    Raises:
        UserError: ``keep`` is out of range, or no probability is above one half.
    """
    ranked = sorted(offered, key=lambda i: -probability[i])
    if keep is None:
        chosen = [i for i in ranked if probability[i] > 0.5]
        if not chosen:
            raise UserError("no channel has a keep probability above 0.5; --keep K takes the K most probable ones")
    elif 1 <= keep <= len(offered):
        chosen = ranked[:keep]
    else:
        raise UserError(f"--keep must be 1…{len(offered)}, the channels of this checkpoint; got {keep}")
    return ChannelSet("mask", tuple(sorted(chosen)))
