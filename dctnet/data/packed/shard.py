"""One shard: a ``.bin`` file of quantized coefficients and a ``.json`` index of its images."""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dctnet.data.images.photo import Decoder, ImageError, Photo
from dctnet.data.packed.manifest import MAX_BYTES, Manifest, Shard, StoreError, index_file
from dctnet.data.packed.schema import find_fault, index_schema
from dctnet.data.pixels import chroma_share, compute_channels, cut, pad
from dctnet.errors import first_line
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.io.atomic import atomic_open, atomic_write
from dctnet.io.files import dump_json, open_regular, parse_json


@dataclass(frozen=True)
class PlannedImage:
    """One image to pack: its file, its class index, and its rows and columns of blocks at each scale."""

    path: str
    target: int
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ShardTask:
    """Everything that determines the bytes of one shard, except the image files themselves.

    Args:
        name: Name of the shard's files, without suffix.
        images: The images, in order.
        root: The folder to which the paths in the index are relative.
        channels: Channel indices in the order of storage.
        steps: Quantization step of each channel.
        dtype: ``int8`` or ``int16``.
        decoder: Decoder of JPEG files.
        on_error: ``stop`` or ``skip``.
    """

    name: str
    images: tuple[PlannedImage, ...]
    root: str
    channels: tuple[int, ...]
    steps: tuple[float, ...]
    dtype: str
    decoder: Decoder
    on_error: str


def grid(width: int, height: int, scale: int) -> tuple[int, int]:
    """Rows and columns of blocks of a whole image resized to a short side of ``scale`` pixels."""
    short, short_blocks = min(width, height), scale // BLOCK
    rows, columns = (max(short_blocks, round(side / short * short_blocks)) for side in (height, width))
    return rows, columns


def shard_size(task: ShardTask) -> int:
    """Bytes of a shard if no image is skipped."""
    blocks = sum(rows * columns for image in task.images for rows, columns in image.blocks)
    return blocks * len(task.channels) * np.dtype(task.dtype).itemsize


def image_coefficients(photo: Photo, blocks: tuple[int, int], channels: Sequence[int]) -> torch.Tensor:
    """Coefficients of a whole image, resized to a grid of blocks.

    Args:
        photo: The image.
        blocks: Rows and columns of blocks.
        channels: Channel indices in the order of the result.

    Returns:
        Channels (K, rows, columns), float32.
    """
    ascending = sorted(channels)
    box = (0.0, 0.0, float(photo.width), float(photo.height))
    channel_set = ChannelSet("packed", tuple(ascending))
    padded = pad([cut(photo, box, blocks[1] * BLOCK, blocks[0] * BLOCK, chroma_share(channel_set))])
    values = compute_channels(padded, (blocks[0], blocks[1]), channel_set)[0]
    return values[[ascending.index(c) for c in channels]]


def shard_images(task: ShardTask) -> Iterator[tuple[dict[str, Any], bytes] | tuple[str, str]]:
    """Reads, transforms and quantizes the images of a shard.

    The result depends only on the task and the image files, if torch uses one thread (:func:`one_thread`).

    Yields:
        Index entry and bytes of each image; path and reason of an image that is skipped.

    Raises:
        ImageError: A file cannot be used, and ``on_error`` is ``stop``.
    """
    levels = np.iinfo(task.dtype).max
    steps = torch.tensor(task.steps)[:, None, None]
    for image in task.images:
        relative = os.path.relpath(image.path, task.root)
        try:
            photo = Photo(image.path, task.decoder)
            if any(grid(photo.width, photo.height, min(shape) * BLOCK) != shape for shape in image.blocks):
                raise ImageError(image.path, f"{photo.width}×{photo.height} pixels, not the size when it was planned")
            values = [image_coefficients(photo, shape, task.channels) for shape in image.blocks]
        except ImageError as error:
            if task.on_error == "stop":
                raise error.with_advice() from error
            yield relative, error.reason
            continue
        quantized = [torch.round(v / steps).clamp(-levels, levels).numpy().astype(task.dtype) for v in values]
        entry = {
            "path": relative,
            "sha256": hashlib.sha256(photo.data).hexdigest(),
            "target": image.target,
            "blocks": image.blocks,
        }
        yield entry, b"".join(q.astype(q.dtype.newbyteorder("<")).tobytes() for q in quantized)


def write_shard(task: ShardTask, folder: Path) -> None:
    """Writes the coefficients of one shard, then its index. A shard with an index is therefore complete.

    Raises:
        OSError: The disk is full or cannot be written. No partial file remains.
        ImageError: As :func:`shard_images`.
    """
    images, skipped, digest, size = [], [], hashlib.sha256(), 0
    with atomic_open(folder / f"{task.name}.bin") as file:
        for entry, content in shard_images(task):
            if isinstance(content, str):
                skipped.append((entry, content))
                continue
            file.write(content)
            digest.update(content)
            size += len(content)
            images.append(entry)
    index = {"images": images, "skipped": skipped, "size": size, "sha256": digest.hexdigest()}
    atomic_write(folder / f"{task.name}.json", dump_json(index))


def is_complete(task: ShardTask, folder: Path, shard: Shard | None = None) -> bool:
    """Returns whether both files of a shard exist and match the task; the coefficients are not read.

    Args:
        task: The planned shard.
        folder: The store's folder.
        shard: The shard in the manifest, if there is one; the index must then have the checksum given there.
    """
    index, coefficients = folder / f"{task.name}.json", folder / f"{task.name}.bin"
    if not index.is_file() or not coefficients.is_file():
        return False
    raw = index.read_bytes()
    if shard is not None and hashlib.sha256(raw).hexdigest() != shard.index_sha256:
        return False
    try:
        content = parse_json(raw)
    except (ValueError, RecursionError):
        return False
    return _matches(content, task) and content["size"] == coefficients.stat().st_size


def _matches(index: Any, task: ShardTask) -> bool:
    """Returns whether an index has each planned image, either with the planned target and blocks or as skipped."""
    num_classes = 1 + max(image.target for image in task.images)
    if find_fault(index, index_schema(len(task.images[0].blocks), num_classes)):
        return False
    planned = {os.path.relpath(i.path, task.root): [i.target, [*map(list, i.blocks)]] for i in task.images}
    found = {image["path"]: [image["target"], image["blocks"]] for image in index["images"]}
    listed = found.keys() | dict(index["skipped"]).keys()
    return listed == planned.keys() and planned == {**planned, **found}


def read_index(manifest: Manifest, shard: Shard) -> list[dict[str, Any]]:
    """Reads and checks the index of a shard.

    Returns:
        For each image ``path`` and ``sha256`` of the source file, ``target``, and ``blocks``, rows and columns at each
        scale.

    Raises:
        StoreError: The index was changed or does not match the size of the shard.
    """
    path = index_file(manifest.root, shard)
    try:
        with open_regular(path, MAX_BYTES) as file:
            raw = file.read()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {first_line(error)}") from error
    if hashlib.sha256(raw).hexdigest() != shard.index_sha256:
        raise StoreError(f"{path}: the checksum is not the one in the manifest: changed, damaged or of another store")
    try:
        index = parse_json(raw)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not JSON: {first_line(error)}") from error
    num_scales = next(len(split.scales) for split in manifest.splits.values() if shard in split.shards)
    if fault := find_fault(index, index_schema(num_scales, len(manifest.classes))):
        raise StoreError(f"{path}: {fault}")
    images = index["images"]
    blocks = sum(rows * columns for image in images for rows, columns in image["blocks"])
    if blocks * len(manifest.channels) * manifest.dtype.itemsize != shard.size or len(images) != shard.images:
        raise StoreError(f"{path}: its {len(images)} images do not fill the {shard.size:,} bytes of the shard")
    return images


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Limits torch to one thread, so that an image gives the same bytes on every machine."""
    # Other thread counts add floats in another order, which can change how a value is rounded.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
