"""The index of a split: place, class and name of each image, in two files of which only what is asked for is read."""

import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from dctnet.data.packed.manifest import Manifest, Shard, Split, StoreError, StoreFile, pick_split
from dctnet.data.packed.shard import read_index
from dctnet.errors import first_line
from dctnet.io.atomic import atomic_open
from dctnet.io.files import file_sha256, open_regular

_NAMES_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class SplitIndex:
    """The images of a split, in the order of the shards."""

    records: np.ndarray  # (N,) of :func:`record_type`, read-only
    first: np.ndarray  # (shards + 1,) position of the first image of each shard, and N
    targets: np.ndarray  # (N,) indices into the store's classes
    names: Sequence[str]  # source paths, relative to the packed folder

    def __len__(self) -> int:
        return len(self.records)


def record_type(num_scales: int) -> np.dtype:
    """The type of the records of ``SPLIT.index``, one for each image.

    ``start`` is the image's first block in its shard, in the blocks of one channel; ``name`` the end of its name in
    ``SPLIT.names``, where the next begins; ``target`` its class; ``blocks`` its rows and columns at each scale.
    """
    return np.dtype([("start", "<u8"), ("name", "<u8"), ("target", "<u4"), ("blocks", "<u2", (num_scales, 2))])


def count_blocks(records: np.ndarray) -> np.ndarray:
    """Blocks of one channel of each image at each scale, (N, scales)."""
    blocks = records["blocks"].astype(np.int64)
    return blocks[..., 0] * blocks[..., 1]


def make_records(images: list[dict[str, Any]], num_scales: int) -> np.ndarray:
    """The records of a shard's images, without their names."""
    records = np.zeros(len(images), record_type(num_scales))
    records["target"] = [image["target"] for image in images]
    records["blocks"] = np.reshape([image["blocks"] for image in images], (-1, num_scales, 2))
    blocks = count_blocks(records).sum(1)
    records["start"] = blocks.cumsum() - blocks
    return records


def write_index(
    folder: Path, split: str, shards: Iterable[list[dict[str, Any]]], num_scales: int
) -> dict[str, dict[str, Any]]:
    """Writes the index of a split from the entries of its shards; returns the entries of both files for the manifest.

    Raises:
        OSError: The disk is full or cannot be written. No partial file remains.
    """
    end, paths = 0, {kind: folder / f"{split}.{kind}" for kind in ("index", "names")}
    with atomic_open(paths["index"]) as index, atomic_open(paths["names"]) as names:
        for images in shards:
            own = [image["path"].encode("utf-8", "surrogateescape") for image in images]
            records = make_records(images, num_scales)
            records["name"] = end + np.cumsum([len(name) for name in own])
            index.write(records.tobytes())
            names.write(b"".join(own))
            end += sum(map(len, own))
    return {kind: {"size": path.stat().st_size, "sha256": file_sha256(path)} for kind, path in paths.items()}


def open_index(manifest: Manifest, name: str) -> SplitIndex:
    """Opens and checks the index of a split; that of a store of version 1 is made from the indices of its shards.

    Raises:
        StoreError: The store has no such split, or an index was changed or does not match the shards.
    """
    split = pick_split(manifest, name)
    first = np.cumsum([0, *(shard.images for shard in split.shards)])
    if split.index is None or split.names is None:
        return _join_indices(manifest, split, first)
    dtype = record_type(len(split.scales))
    if split.index.size != split.num_images * dtype.itemsize:
        raise StoreError(f"{split.index.path}: {split.index.size:,} bytes are not {split.num_images:,} images")
    check_sha256(split.index)
    targets = _check_records(manifest, split, first)
    records = _map(split.index).view(dtype)
    return SplitIndex(records, first, targets, _Names(split.names, records["name"]))


def check_sha256(file: StoreFile) -> None:
    """Raises StoreError if a file does not have the checksum given in the manifest."""
    try:
        is_intact = file_sha256(file.path) == file.sha256
    except OSError as error:
        raise StoreError(f"{file.path}: cannot be read: {first_line(error)}") from error
    if not is_intact:
        raise StoreError(f"{file.path}: the checksum is not the one in the manifest: changed or damaged; pack again")


def _join_indices(manifest: Manifest, split: Split, first: np.ndarray) -> SplitIndex:
    records, names = np.zeros(first[-1], record_type(len(split.scales))), []
    for shard, (start, stop) in zip(split.shards, itertools.pairwise(first), strict=True):
        images = read_index(manifest, split, shard)
        records[start:stop] = make_records(images, len(split.scales))
        names += [image["path"] for image in images]
    return SplitIndex(records, first, records["target"].astype(np.intc), tuple(names))


def _check_records(manifest: Manifest, split: Split, first: np.ndarray) -> np.ndarray:
    """Returns the targets (N,), or raises StoreError for the first shard whose records are invalid."""
    assert split.index
    assert split.names
    dtype, end, targets = record_type(len(split.scales)), 0, np.empty(first[-1], np.intc)
    # Read in parts instead of mapped, so that the pages do not count as memory of this process.
    with open_regular(split.index.path) as file:
        for shard, (start, stop) in zip(split.shards, itertools.pairwise(first), strict=True):
            records = np.frombuffer(file.read(shard.images * dtype.itemsize), dtype)
            if fault := _find_fault(manifest, shard, records, end, split.names.size):
                raise StoreError(f"{split.index.path}: {shard.name}: {fault}")
            end = int(records["name"][-1]) if len(records) else end
            targets[start:stop] = records["target"]
    if end != split.names.size:
        raise StoreError(f"{split.index.path}: its names take {end:,} bytes, must be {split.names.size:,}")
    return targets


def _find_fault(manifest: Manifest, shard: Shard, records: np.ndarray, end: int, names_size: int) -> str | None:
    blocks = count_blocks(records).sum(1)
    ends = blocks.cumsum()
    size = int(blocks.sum()) * len(manifest.channels) * manifest.dtype.itemsize
    if size != shard.size or (ends - blocks != records["start"]).any() or not records["blocks"].all():
        return f"its {len(records)} images do not fill the {shard.size:,} bytes of the shard"
    if (records["target"] >= len(manifest.classes)).any():
        return f"target is {records['target'].max()}, must be a class index below {len(manifest.classes)}"
    names = records["name"]
    if len(names) and (names[0] <= end or (names[1:] <= names[:-1]).any() or names[-1] > names_size):
        return "the ends of its names are not ascending"
    return None


def _map(file: StoreFile) -> np.ndarray:
    """The bytes of a file, mapped into memory."""
    if not os.path.getsize(file.path):
        return np.empty(0, np.uint8)  # an empty file cannot be mapped
    return np.asarray(np.memmap(file.path, np.uint8, "r"))


class _Names(Sequence[str]):
    """Names in a file that is mapped and verified when the first of them is asked for."""

    def __init__(self, file: StoreFile, ends: np.ndarray) -> None:
        self._file, self._ends = file, ends

    @functools.cached_property
    def _text(self) -> np.ndarray:
        check_sha256(self._file)
        return _map(self._file)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            return self._decode(start, stop)[::step] if step > 0 else [self[i] for i in range(start, stop, step)]
        place = range(len(self))[place]  # negative places, and IndexError
        return self._decode(place, place + 1)[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _NAMES_AT_ONCE):
            yield from self._decode(start, min(start + _NAMES_AT_ONCE, len(self)))

    def _decode(self, start: int, stop: int) -> list[str]:
        """The names of some neighbours."""
        if start >= stop:
            return []
        ends = [int(self._ends[start - 1]) if start else 0, *self._ends[start:stop].tolist()]
        text = self._text[ends[0] : ends[-1]].tobytes()
        bounds = itertools.pairwise(end - ends[0] for end in ends)
        return [text[a:b].decode("utf-8", "surrogateescape") for a, b in bounds]
