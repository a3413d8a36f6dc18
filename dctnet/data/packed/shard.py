"""One shard: a ``.bin`` file of quantized coefficients and a ``.json`` index of its images."""

import contextlib
import functools
import hashlib
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from dctnet.data.images.photo import Decoder, ImageError, Photo
from dctnet.data.images.planes import Box
from dctnet.data.packed.manifest import Manifest, Shard, Split, StoreError, index_file, read_json
from dctnet.data.packed.schema import find_fault, index_schema
from dctnet.data.pixels import chroma_share, cut, join_channels
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.resample import Resampling
from dctnet.io.atomic import atomic_open
from dctnet.io.files import dump_json


class PlannedImage(NamedTuple):
    """One image to pack."""

    path: str  # relative to the folder of the photographs
    target: int
    blocks: Sequence[Sequence[int]]  # rows and columns at each scale
    file_size: int

    @property
    def num_blocks(self) -> int:
        """Blocks of one channel, at all scales."""
        return sum(rows * columns for rows, columns in self.blocks)


@dataclass(frozen=True)
class ShardTask:
    """Everything that determines the bytes of one shard, except the image files themselves."""

    name: str  # of the shard's files, without suffix
    images: list[PlannedImage]
    root: Path  # of the photographs
    channels: list[int]  # in the order of storage
    steps: list[float]  # quantization step of each channel
    dtype: str
    decoder: Decoder
    on_error: str

    @property
    def size(self) -> int:
        """Bytes of the shard if no image is skipped."""
        return sum(image.num_blocks for image in self.images) * len(self.channels) * np.dtype(self.dtype).itemsize


def grid(width: int, height: int, scale: int) -> tuple[int, int]:
    """Rows and columns of blocks of a whole image resized to a short side of ``scale`` pixels."""
    short, short_blocks = min(width, height), scale // BLOCK
    rows, columns = (max(short_blocks, round(side / short * short_blocks)) for side in (height, width))
    return rows, columns


def image_coefficients(photo: Photo, blocks: Sequence[int], channels: Sequence[int]) -> torch.Tensor:
    """Coefficients of a whole image, resized to some rows and columns of blocks.

    Returns:
        Channels (K, rows, columns), float32, in the order of ``channels``.
    """
    rows, columns = blocks
    channel_set = ChannelSet("packed", tuple(sorted(channels)))
    box = (0.0, 0.0, float(photo.width), float(photo.height))
    part = cut(photo, box, columns * BLOCK, rows * BLOCK, chroma_share(channel_set))
    planes = {"luma": part.luma[None], "chroma": part.chroma}
    boxes = {"luma": part.luma_box, "chroma": part.chroma_box}

    def transform(name: str, frequencies: list[int]) -> torch.Tensor:
        resampling = _resampling(planes[name].shape, boxes[name], (rows, columns), tuple(frequencies))
        return resampling(torch.from_numpy(planes[name]))

    values = join_channels(channel_set, transform)[0]
    return values[[channel_set.indices.index(c) for c in channels]]


@functools.lru_cache(maxsize=256)  # at most half a megabyte each
def _resampling(shape: tuple[int, ...], box: Box, blocks: tuple[int, int], frequencies: tuple[int, ...]) -> Resampling:
    """The map from the planes of a whole image to a scale; many images have the same size."""
    boxes, sizes = torch.tensor([box] * shape[0], dtype=torch.float64), torch.tensor([shape[1:]])
    return Resampling(shape, boxes, sizes, blocks, frequencies, torch.device("cpu"))


def shard_images(task: ShardTask) -> Iterator[tuple[dict[str, Any], bytes] | tuple[str, str]]:
    """Reads, transforms and quantizes the images of a shard.

    The result depends only on the task and the image files, if torch uses one thread (:func:`one_thread`).

    Yields:
        Index entry and bytes of each image; path and reason of an image that is skipped.

    Raises:
        ImageError: A file cannot be used, and ``on_error`` is ``stop``.
    """
    levels, dtype = np.iinfo(task.dtype).max, np.dtype(task.dtype).newbyteorder("<")
    steps = torch.tensor(task.steps)[:, None, None]
    for path, target, blocks, _ in task.images:
        source = task.root / path
        try:
            photo = Photo(source, task.decoder)
            if any(grid(photo.width, photo.height, min(shape) * BLOCK) != tuple(shape) for shape in blocks):
                raise ImageError(source, f"{photo.width}×{photo.height} pixels, not the size when it was planned")
            values = [image_coefficients(photo, shape, task.channels) for shape in blocks]
        except ImageError as error:
            if task.on_error == "stop":
                raise error.with_advice() from error
            yield path, error.reason
            continue
        quantized = [torch.round(v / steps).clamp(-levels, levels).numpy().astype(dtype) for v in values]
        digest = hashlib.sha256(photo.data).hexdigest()
        entry = {"path": path, "sha256": digest, "target": target, "blocks": blocks}
        yield entry, b"".join(array.tobytes() for array in quantized)


def write_shard(task: ShardTask, folder: Path) -> None:
    """Writes the coefficients of one shard, then its index. A shard with an index is therefore complete.

    Raises:
        OSError: The disk is full or cannot be written. No partial file remains.
        ImageError: As :func:`shard_images`.
    """
    images, skipped, digest, size = [], [], hashlib.sha256(), 0
    suffix = str(secrets.randbits(63))  # processes on several machines can have one id
    with atomic_open(folder / f"{task.name}.bin", suffix=suffix) as file:
        for entry, content in shard_images(task):
            if isinstance(content, str):
                skipped.append((entry, content))
                continue
            file.write(content)
            digest.update(content)
            size += len(content)
            images.append(entry)
    index = {"images": images, "skipped": skipped, "size": size, "sha256": digest.hexdigest()}
    with atomic_open(folder / f"{task.name}.json", suffix=suffix) as file:
        file.write(dump_json(index))


def is_complete(task: ShardTask, folder: Path, index_sha256: str | None = None) -> bool:
    """Returns whether both files of a shard exist and match the task; the coefficients are not read.

    The index must have each planned image, either with the planned target and blocks or as skipped.
    """
    coefficients = folder / f"{task.name}.bin"
    try:
        index = read_json(folder / f"{task.name}.json", index_sha256)
    except StoreError:
        return False
    schema = index_schema(len(task.images[0].blocks), 1 + max(image.target for image in task.images))
    if find_fault(index, schema) or not coefficients.is_file():
        return False
    planned = {image.path: (image.target, _pairs(image.blocks)) for image in task.images}
    found = {image["path"]: (image["target"], _pairs(image["blocks"])) for image in index["images"]}
    complete = planned == {**planned, **found} and planned.keys() == found.keys() | dict(index["skipped"]).keys()
    return complete and index["size"] == coefficients.stat().st_size


def _pairs(blocks: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    return [tuple(shape) for shape in blocks]  # a plan has tuples, JSON has lists


def read_index(manifest: Manifest, split: Split, shard: Shard) -> list[dict[str, Any]]:
    """Reads and checks the index of a shard of a split.

    Returns:
        For each image ``path`` and ``sha256`` of the source file, ``target``, and ``blocks``, rows and columns at each
        scale.

    Raises:
        StoreError: The index was changed or does not match the size of the shard.
    """
    path = index_file(manifest.root, shard)
    index = read_json(path, shard.index_sha256)
    if fault := find_fault(index, index_schema(len(split.scales), len(manifest.classes))):
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
