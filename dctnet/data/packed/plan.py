"""What a packing is to make, down to the shards, known before the first of them is written."""

import hashlib
import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from dctnet import __version__
from dctnet.data import folders
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.images.photo import ImageError, describe_decoder, image_size
from dctnet.data.packed.manifest import evaluation_scale
from dctnet.data.packed.shard import ShardTask, Source, grid
from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import keep_probability
from dctnet.frequency.selections import rank_channels
from dctnet.io.canonical_json import dump_json

# A strip of pixels, its short side enlarged to a scale, could fill a disk by itself.
MAX_ASPECT = 16
_TRANSFORM = (
    "whole image, sides to the nearest multiple of 8 with the short one at the scale, antialiased bilinear; YCbCr "
    "minus 128; orthonormal 8x8 block DCT; divided by the step, rounded, clipped"
)


@dataclass(frozen=True)
class PackData:
    """What to pack, and for which crops.

    Args:
        channels: A name (``square-24``, ``all``, …), a mask file, or a list of indices. Of a mask file with keep
            probabilities the likeliest comes first in the store, otherwise the lowest frequency.
        image_size: Side of the crops that training will take, in pixels.
        crop_fraction: Evaluation square as a share of the short side; evaluation images are packed at image_size /
            crop_fraction.
        min_scale: Smallest share of the area that a training crop is to take; it sets the largest scale.
        val_fraction: Share held out for validation from a root without splits.
        classes: As for ``fit``.
        per_class: Cap on training images a class.
        decoder: For JPEG files.
        on_error: What a file that cannot be used does: ``stop`` the packing, or be left out and listed (``skip``).
    """

    channels: str | list[int] = "all"
    image_size: int = 224
    crop_fraction: float = 0.875
    min_scale: float = 0.35
    val_fraction: float = 0.0
    classes: str | list[str] | None = None
    per_class: int | None = None
    decoder: Literal["auto", "turbojpeg", "pillow"] = "auto"
    on_error: Literal["stop", "skip"] = "stop"


def choose_scales(data: PackData, asked: Sequence[int] | None) -> dict[str, tuple[int, ...]]:
    """The scales of each split.

    A random crop of a fixed size from an image at a short side s takes a share of the area that falls with s²; four
    scales spread that share evenly between 1 and ``min_scale``, as RandomResizedCrop does.

    Raises:
        UserError: A scale is no multiple of 8 or smaller than the crop.
    """
    size = data.image_size
    if asked is None:
        shares = [data.min_scale + (1 - data.min_scale) * (k + 0.5) / 4 for k in range(4)]
        asked = sorted({max(size, round(size / share**0.5 / BLOCK) * BLOCK) for share in shares})
    bad = [s for s in asked if s < size or s % BLOCK]
    if bad or not asked:
        raise UserError(f"--scales must be multiples of {BLOCK}, at least the crop's {size}; got {bad or 'none'}")
    evaluation = evaluation_scale(size, data.crop_fraction)
    return {"train": tuple(sorted(set(asked))), "val": (evaluation,), "test": (evaluation,)}


def make_plan(
    source: FrequencyDataModule, data: PackData, scales: dict[str, tuple[int, ...]], dtype: str, shard_bytes: int
) -> dict[str, Any]:
    """What is to be packed, down to the shards, from the files' headers; the steps are still to be chosen."""
    root = source.root
    present = source.source.splits_present
    channels = rank_channels(source.channel_set, keep_probability(data.channels))
    block_bytes = len(channels) * np.dtype(dtype).itemsize
    splits: dict[str, Any] = {}
    for split in present:
        images, skipped = _measure(source.files(split), root, scales[split], data.on_error, split)
        sizes = [sum(rows * columns for rows, columns in blocks) * block_bytes for _, _, blocks, _ in images]
        shards = _fill(sizes, shard_bytes)
        splits[split] = {"scales": scales[split], "images": images, "shards": shards, "skipped": skipped}
    return {
        "channels": channels,
        "dtype": dtype,
        "image_size": data.image_size,
        "crop_fraction": data.crop_fraction,
        "transform": _TRANSFORM,
        "decoder": describe_decoder(source.decoder),
        "made_with": {"dctnet": __version__, **{p: version(p) for p in ("torch", "numpy", "pillow")}},
        "source": root.name,
        "classes": source.class_names,
        "splits": splits,
    }


def _measure(
    files: folders.Files, root: Path, scales: tuple[int, ...], on_error: str, split: str
) -> tuple[list[Any], list[tuple[str, str]]]:
    """Path, target, blocks at each scale and bytes of each file; and path and reason of those left out."""
    images, skipped = [], []
    listed = list(zip(files.paths, files.targets, strict=True))
    for path, target in tqdm(listed, desc=f"sizes of {split}", unit="img"):
        try:
            width, height = image_size(path)
            if max(width, height) > MAX_ASPECT * min(width, height):
                raise ImageError(path, f"{width}×{height} pixels: whole images are packed up to {MAX_ASPECT} to one")
        except ImageError as error:
            if on_error == "stop":
                raise error.with_advice() from error
            skipped.append((os.path.relpath(path, root), error.reason))
            continue
        blocks = [grid(width, height, scale) for scale in scales]
        images.append([os.path.relpath(path, root), target, blocks, os.path.getsize(path)])
    return images, skipped


def _fill(sizes: list[int], shard_bytes: int) -> list[int]:
    """The place of the first image of each shard, when shards are filled one after the other."""
    first, filled = [0], 0
    for place, size in enumerate(sizes):
        if filled and filled + size > shard_bytes:
            first.append(place)
            filled = 0
        filled += size
    return first


def fingerprint(plan: dict[str, Any]) -> str:
    """A hash of what was asked for and of the files it was asked of; the steps follow from them."""
    return hashlib.sha256(dump_json({k: v for k, v in plan.items() if k not in ("plan", "steps", "error")})).hexdigest()


def make_tasks(plan: dict[str, Any], source: FrequencyDataModule) -> list[ShardTask]:
    """The shards of a settled plan."""
    tasks = []
    for name, split in plan["splits"].items():
        images = split["images"]
        for number, (start, stop) in enumerate(itertools.pairwise([*split["shards"], len(images)])):
            sources = tuple(
                Source(str(source.root / path), target, tuple((r, c) for r, c in blocks))
                for path, target, blocks, _ in images[start:stop]
            )
            tasks.append(
                ShardTask(
                    f"{name}-{number:05d}", sources, str(source.root), tuple(plan["channels"]), tuple(plan["steps"]),
                    plan["dtype"], source.decoder, source.hparams["on_error"],
                )
            )  # fmt: skip
    return [task for task in tasks if task.sources]
