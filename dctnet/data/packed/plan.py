"""The plan of a packing: channels, scales, images and shards, complete before the first shard is written."""

import contextlib
import functools
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from dctnet import __version__
from dctnet.data.images.photo import Decoder, ImageError, describe_decoder
from dctnet.data.packed.locks import CLAIMS
from dctnet.data.packed.manifest import MANIFEST, PLAN, evaluation_scale, read_json, read_manifest
from dctnet.data.packed.quantization import choose_quantization_steps, sample_coefficients
from dctnet.data.packed.schema import MAX_BLOCKS
from dctnet.data.packed.shard import PlannedImage, ShardTask, grid
from dctnet.data.packed.sizes import MAX_ASPECT, SizeReader
from dctnet.data.sources import PhotoSource
from dctnet.data.splits import SPLITS
from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK
from dctnet.io.atomic import atomic_open
from dctnet.io.files import dump_json, parse_json

_AT_ONCE = 1 << 14  # images that are written together
_TRANSFORM = (
    "whole image, sides to the nearest multiple of 8 with the short one at the scale, antialiased bilinear; YCbCr "
    "minus 128; orthonormal 8x8 block DCT; divided by the step, rounded, clipped"
)


def choose_scales(
    image_size: int, crop_fraction: float, min_scale: float, scales: Sequence[int] | None
) -> dict[str, tuple[int, ...]]:
    """Chooses the scales of each split: the short sides in pixels at which its images are stored.

    A random crop of fixed size covers a share of the image's area that falls with the square of the scale. The four
    default scales of training images spread that share evenly between ``min_scale`` and 1, as RandomResizedCrop does.

    Raises:
        UserError: A scale is not a multiple of 8, or all are smaller than the crop.
    """
    if scales is None:
        shares = [min_scale + (1 - min_scale) * (k + 0.5) / 4 for k in range(4)]
        scales = [max(image_size, round(image_size / share**0.5 / BLOCK) * BLOCK) for share in shares]
    bad = [s for s in scales if s < BLOCK or s % BLOCK]
    if bad or max(scales, default=0) < image_size:
        raise UserError(
            f"--scales must be multiples of {BLOCK}, one of them at least the crop's {image_size}; got {bad or scales}"
        )
    evaluation = evaluation_scale(image_size, crop_fraction)
    if (largest := max(evaluation, *scales)) * MAX_ASPECT > MAX_BLOCKS * BLOCK:
        raise UserError(f"images are packed at up to {MAX_BLOCKS * BLOCK // MAX_ASPECT:,} px, got {largest:,} px")
    return {"train": tuple(sorted(set(scales))), "val": (evaluation,), "test": (evaluation,)}


def make_plan(
    source: PhotoSource,
    channels: list[int],
    image_size: int,
    crop_fraction: float,
    scales: dict[str, tuple[int, ...]],
    dtype: str,
    shard_bytes: int,
    decoder: Decoder,
    on_error: Literal["stop", "skip"],
    read_sizes: SizeReader,
    earlier: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Plans a packing from the headers of the image files; the quantization steps are still missing.

    The arguments are those of ``pack``, with the channels in the order of storage, the scales of :func:`choose_scales`,
    and a function that yields the sizes of files. Files in an ``earlier`` plan that have kept their size in bytes are
    not read again.

    Raises:
        ImageError: A file cannot be used, and ``on_error`` is ``stop``.
    """
    shard_blocks = shard_bytes // (len(channels) * np.dtype(dtype).itemsize)
    splits: dict[str, Any] = {}
    for split in source.splits_present:
        known = _known_images(earlier, split, scales[split])
        images, skipped = _measure(source, split, scales[split], on_error, known, read_sizes)
        if images:
            source.check_no_class_is_empty(split, [image.target for image in images])
        shards = _fill_shards([image.num_blocks for image in images], shard_blocks)
        splits[split] = {"scales": scales[split], "images": images, "shards": shards, "skipped": skipped}
    return {
        "channels": channels,
        "dtype": dtype,
        "image_size": image_size,
        "crop_fraction": crop_fraction,
        "transform": _TRANSFORM,
        "decoder": describe_decoder(decoder),
        "made_with": {"dctnet": __version__, **{p: version(p) for p in ("torch", "numpy", "pillow")}},
        "source": source.root.name,
        "classes": source.class_names,
        "splits": splits,
    }


def _measure(
    source: PhotoSource,
    split: str,
    scales: tuple[int, ...],
    on_error: str,
    known: dict[str, PlannedImage],
    read_sizes: SizeReader,
) -> tuple[list[PlannedImage], list[tuple[str, str]]]:
    """The images of a split, and path and reason of the skipped files."""
    images, skipped, files = [], [], source.files(split)
    listed = [(os.path.relpath(path, source.root), path) for path in files.paths]
    same = [_is_same(known.get(relative), path) for relative, path in listed]
    rows = tqdm(zip(listed, files.targets, same, strict=True), f"sizes of {split}", len(listed), unit="img")
    sizes = read_sizes([path for (_, path), is_known in zip(listed, same, strict=True) if not is_known])
    with contextlib.closing(rows), contextlib.closing(sizes):
        for (relative, _), target, is_known in rows:
            if is_known:
                images.append(known[relative]._replace(target=target))
                continue
            size = next(sizes)
            if not isinstance(size, ImageError):
                images.append(PlannedImage(relative, target, _grids(*size[:2], scales), size[2]))
            elif on_error == "stop":
                raise size.with_advice() from size
            else:
                skipped.append((relative, size.reason))
    return images, skipped


def _is_same(known: PlannedImage | None, path: str) -> bool:
    return known is not None and os.path.exists(path) and os.path.getsize(path) == known.file_size


@functools.lru_cache(maxsize=1 << 14)  # one object for all images of a size
def _grids(width: int, height: int, scales: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    return tuple(grid(width, height, scale) for scale in scales)


@functools.lru_cache(maxsize=1 << 14)
def _share(grids: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    """One object for all equal arguments, which each come from JSON as lists of their own."""
    return grids


def _known_images(earlier: dict[str, Any] | None, split: str, scales: tuple[int, ...]) -> dict[str, PlannedImage]:
    """The images of a split in an earlier plan, which is not trusted: its fingerprint will be compared."""
    try:
        planned = earlier["splits"][split] if earlier else {}
        same = list(scales) == planned.get("scales")
        images = (PlannedImage(*image) for image in planned["images"]) if same else ()
        return {image.path: image._replace(blocks=_share(tuple(map(tuple, image.blocks)))) for image in images}
    except (AttributeError, IndexError, KeyError, TypeError):
        return {}


def _fill_shards(sizes: list[int], shard_bytes: int) -> list[int]:
    """Fills shards one after the other; returns the position of the first image of each."""
    first, filled = [0], 0
    for position, size in enumerate(sizes):
        if filled and filled + size > shard_bytes:
            first.append(position)
            filled = 0
        filled += size
    return first


def fingerprint(plan: dict[str, Any]) -> str:
    """A hash of options and files of a plan. The quantization steps follow from them and are left out."""
    digest = hashlib.sha256()
    for part in _dump({key: value for key, value in plan.items() if key not in ("plan", "steps", "error")}):
        digest.update(part)
    return digest.hexdigest()


def _dump(plan: dict[str, Any]) -> Iterator[bytes]:
    """The bytes of ``dump_json(plan)`` in parts: the plan has an entry for each image of the data set."""
    splits, gap = plan["splits"], b'"images": []'  # in a string of the plan its quotes would be escaped
    rest = dump_json({**plan, "splits": {name: {**split, "images": []} for name, split in splits.items()}}).split(gap)
    for part, name in zip(rest, sorted(splits), strict=False):
        yield part + gap[:-1]
        images = splits[name]["images"]
        for start in range(0, len(images), _AT_ONCE):
            text = json.dumps(images[start : start + _AT_ONCE], ensure_ascii=False)[1:-1]
            yield ((", " if start else "") + text).encode("utf-8", "surrogateescape")
        yield gap[-1:]
    yield rest[-1]


def resume_or_create_plan(plan: dict[str, Any], folder: Path, root: Path, decoder: Decoder) -> dict[str, Any]:
    """Completes a plan with the steps of an earlier packing in the folder, or chooses steps and writes the plan there.

    Raises:
        UserError: The folder has a store of other options or photographs, or other files; or no photograph can be read.
    """
    options = {key: value for key, value in plan.items() if key != "splits"}
    plan = {**parse_json(dump_json({**options, "plan": fingerprint(plan)})), "splits": plan["splits"]}
    if earlier := read_earlier_plan(folder):
        if earlier.get("plan") != plan["plan"]:
            # The splits in a manifest have another form than in a plan. The fingerprint covers them.
            changed = [key for key in plan if key not in ("plan", "splits") and earlier.get(key) != plan[key]]
            what = ", ".join(changed) or "the photographs, scales or shards"
            raise UserError(f"{folder}: packed with other options or files, {what}; choose another folder")
        if not {"steps", "error"} <= earlier.keys():
            raise UserError(f"{folder / PLAN}: incomplete; delete it and run the same dctnet pack again")
        return {**plan, "steps": earlier["steps"], "error": earlier["error"]}
    if any(entry.name != CLAIMS for entry in folder.iterdir()):
        raise UserError(f"{folder}: has other files and is not a packed store; choose another folder")
    split = next((plan["splits"][name] for name in SPLITS if plan["splits"].get(name, {}).get("images")), None)
    if split is None:
        raise UserError(f"{root}: none of the files can be read")
    samples = sample_coefficients(split, plan["channels"], root, decoder)
    steps, error = choose_quantization_steps(samples, np.iinfo(plan["dtype"]).max)
    plan = {**plan, "steps": steps.tolist(), "error": error}
    with atomic_open(folder / PLAN) as file:
        file.writelines(_dump(plan))
    return plan


def read_earlier_plan(folder: Path) -> dict[str, Any] | None:
    """The content of a folder's manifest or else plan, if there is one."""
    if (folder / MANIFEST).is_file():
        return read_manifest(folder, files=False).content
    if not (folder / PLAN).is_file():
        return None
    plan = read_json(folder / PLAN, max_bytes=None)  # one file for all images
    if not isinstance(plan, dict):
        raise UserError(f"{folder / PLAN}: not written by dctnet pack; choose another folder")
    return plan


def make_tasks(plan: dict[str, Any], root: Path, decoder: Decoder, on_error: str) -> list[ShardTask]:
    """The shards of a plan that :func:`resume_or_create_plan` has completed."""
    tasks = []
    for name, split in plan["splits"].items():
        images = [PlannedImage(*image) for image in split["images"]]
        if not images:
            continue
        for number, (start, stop) in enumerate(itertools.pairwise([*split["shards"], len(images)])):
            shard = f"{name}-{number:05d}", images[start:stop]
            tasks.append(ShardTask(*shard, root, plan["channels"], plan["steps"], plan["dtype"], decoder, on_error))
    return tasks
