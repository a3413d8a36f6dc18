"""One shard of a packed store, from photographs to bytes: a function of its task and the files that it names."""

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
from dctnet.data.pixels import chroma_share, compute_channels, cut, pad
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.io.atomic import atomic_write
from dctnet.io.canonical_json import dump_json


@dataclass(frozen=True)
class Source:
    """One image to pack: its file, its class, and its rows and columns of blocks at each scale."""

    path: str
    target: int
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ShardTask:
    """All that one shard depends on, besides the files themselves.

    Args:
        name: Of the shard's files.
        sources: The images, in order.
        root: What the paths in the index are relative to.
        channels: Channel indices in the order of storage.
        steps: One a channel.
        dtype: ``int8`` or ``int16``.
        decoder: For JPEG files.
        on_error: ``stop`` or ``skip``.
    """

    name: str
    sources: tuple[Source, ...]
    root: str
    channels: tuple[int, ...]
    steps: tuple[float, ...]
    dtype: str
    decoder: Decoder
    on_error: str


def grid(width: int, height: int, scale: int) -> tuple[int, int]:
    """Rows and columns of blocks of a whole image whose short side becomes ``scale`` pixels."""
    short, most = min(width, height), scale // BLOCK
    rows, columns = (max(most, round(side / short * most)) for side in (height, width))
    return rows, columns


def shard_size(task: ShardTask) -> int:
    """Bytes of a shard of which no image is left out."""
    blocks = sum(rows * columns for source in task.sources for rows, columns in source.blocks)
    return blocks * len(task.channels) * np.dtype(task.dtype).itemsize


def image_coefficients(photo: Photo, blocks: tuple[int, int], channels: Sequence[int]) -> torch.Tensor:
    """All of an image, resized to a grid of blocks, in the order of the store: (K, rows, columns), float32."""
    ascending = sorted(channels)
    box = (0.0, 0.0, float(photo.width), float(photo.height))
    channel_set = ChannelSet("packed", tuple(ascending))
    padded = pad([cut(photo, box, blocks[1] * BLOCK, blocks[0] * BLOCK, chroma_share(channel_set))])
    values = compute_channels(padded, (blocks[0], blocks[1]), channel_set)[0]
    return values[[ascending.index(c) for c in channels]]


def shard_images(task: ShardTask) -> Iterator[tuple[dict[str, Any], bytes] | tuple[str, str]]:
    """The images of a shard, each as its entry in the index and its bytes; or path and reason of one left out.

    Depends on nothing but the task and the files it names: the same shard on any machine of the same software, as long
    as torch has one thread (:func:`one_thread`).

    Raises:
        ImageError: A file cannot be used, and the task says to stop.
    """
    levels = np.iinfo(task.dtype).max
    steps = torch.tensor(task.steps)[:, None, None]
    for source in task.sources:
        relative = os.path.relpath(source.path, task.root)
        try:
            photo = Photo(source.path, task.decoder)
            if any(grid(photo.width, photo.height, min(shape) * BLOCK) != shape for shape in source.blocks):
                raise ImageError(
                    source.path, f"{photo.width}×{photo.height} pixels now, other than when it was planned"
                )
            values = [image_coefficients(photo, shape, task.channels) for shape in source.blocks]
        except ImageError as error:
            if task.on_error == "stop":
                raise error.with_advice() from error
            yield relative, error.reason
            continue
        whole = [torch.round(v / steps).clamp(-levels, levels).numpy().astype(task.dtype) for v in values]
        entry = {
            "path": relative,
            "sha256": hashlib.sha256(photo.data).hexdigest(),
            "target": source.target,
            "blocks": source.blocks,
        }
        yield entry, b"".join(w.astype(w.dtype.newbyteorder("<")).tobytes() for w in whole)


def write_shard(task: ShardTask, folder: Path) -> None:
    """Writes one shard: the coefficients, then the index, which is there only when all is.

    Raises:
        OSError: The disk is full or cannot be written; nothing is left behind.
        ImageError: As :func:`shard_images`.
    """
    temporary = folder / f".{task.name}.{os.getpid()}"
    images, skipped, digest, size = [], [], hashlib.sha256(), 0
    try:
        with open(temporary, "wb") as file:
            for entry, content in shard_images(task):
                if isinstance(content, str):
                    skipped.append((entry, content))
                    continue
                file.write(content)
                digest.update(content)
                size += len(content)
                images.append(entry)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / f"{task.name}.bin")
    finally:
        temporary.unlink(missing_ok=True)
    index = {"images": images, "skipped": skipped, "size": size, "sha256": digest.hexdigest()}
    atomic_write(folder / f"{task.name}.json", dump_json(index))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to one thread, so that the same image gives the same bytes wherever it is packed."""
    # Sums are added up in another order by more threads, and a rounding could fall the other way.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
