"""The coefficients of a split: mapped from disk, in memory, or on the device; and crops cut from them."""

import hashlib
import mmap
import os
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dctnet.data.packed.layout import Layout
from dctnet.data.packed.manifest import Manifest, Shard, StoreError, pick_split, shard_file
from dctnet.data.packed.verify import changed_error
from dctnet.errors import first_line

Residency = Literal["disk", "ram", "device"]


class SplitStorage:
    """The coefficients of a split. Files are opened or read at first use.

    Args:
        layout: Where the images are stored. Adapted to the part that is kept in memory.
        prefix: Number of stored channels in use, counted from the first.
    """

    def __init__(self, manifest: Manifest, split: str, layout: Layout, prefix: int, residency: Residency) -> None:
        self.manifest, self.split, self.layout = manifest, split, layout
        self.prefix, self.residency = prefix, residency
        self._dtype = manifest.dtype.newbyteorder("<")
        self._arrays: list[np.ndarray] = []
        self._maps: list[mmap.mmap | None] = []
        self._flat = torch.empty(0)
        self._offsets: np.ndarray | None = None

    def _open(self) -> None:
        if self._offsets is not None:
            return
        shards = pick_split(self.manifest, self.split).shards
        if self.residency == "disk":
            _raise_file_limit(len(shards))
            try:
                self._maps = [self._map(shard) for shard in shards]
            except OSError as error:
                limits = "ulimit -n, and on Linux vm.max_map_count, limit their number"
                raise StoreError(
                    f"{self.manifest.root}: the {len(shards):,} shards of {self.split} cannot be mapped: "
                    f"{first_line(error)}; {limits}; or pack with larger --shard_bytes"
                ) from error
            self._arrays = [np.frombuffer(m or b"", self._dtype) for m in self._maps]
        else:
            total, available = sum(s.size for s in shards), physical_memory()
            if total > available:
                raise StoreError(
                    f"{self.manifest.root}: {total / 1e9:.2f} GB of {self.split} do not fit into "
                    f"{available / 1e9:.2f} GB of memory: --data.residency disk"
                )
            self._arrays = [self._compact(i, self._read(shard)) for i, shard in enumerate(shards)]
            if not self.layout.is_whole(self.prefix):
                self.layout.compact(self.prefix)
        # Offset of each shard in the concatenation of all.
        self._offsets = np.cumsum([0, *(array.size for array in self._arrays)])[:-1]
        if self.residency == "device":
            arrays, self._arrays = self._arrays, []
            self._flat = torch.from_numpy(np.concatenate(arrays) if len(arrays) > 1 else arrays[0])

    def _map(self, shard: Shard) -> mmap.mmap | None:
        if not shard.size:  # all of its images were skipped; an empty file cannot be mapped
            return None
        with open(shard_file(self.manifest.root, shard), "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _read(self, shard: Shard) -> np.ndarray:
        content = np.fromfile(shard_file(self.manifest.root, shard), self._dtype)
        if hashlib.sha256(content.data).hexdigest() != shard.sha256:
            raise changed_error(self.manifest.root, shard)
        return content

    def _compact(self, position: int, content: np.ndarray) -> np.ndarray:
        """The part of a shard that is in use: the first channels at the layout's scales."""
        if self.layout.is_whole(self.prefix):
            return content
        images, scales = np.arange(*self.layout.first[position : position + 2]), range(self.layout.num_scales)
        starts = np.stack([self.layout.locate(images, scale)[1] for scale in scales], 1).ravel()
        sizes = np.stack([self.layout.blocks(images, scale).prod(1) for scale in scales], 1).ravel() * self.prefix
        compact, end = np.empty(sizes.sum(), content.dtype), 0
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            compact[end : end + size] = content[start : start + size]
            end += size
        return compact

    def cut(self, images: np.ndarray, scale: np.ndarray, top: np.ndarray, left: np.ndarray, side: int) -> np.ndarray:
        """Cuts crops from the mapped files or from memory.

        Args:
            images: Positions of the images (N,).
            scale: Positions of their scales in the layout (N,).
            top: First row of blocks of each crop (N,).
            left: First column of blocks of each crop (N,).
            side: Of the crops, in blocks.

        Returns:
            Integers (N, prefix, side, side).

        Raises:
            StoreError: The shards do not fit into memory, or were changed.
        """
        self._open()
        batch = np.empty((len(images), self.prefix, side, side), self.manifest.dtype)
        blocks = self.layout.blocks(images, scale)
        lengths = blocks.prod(1) * self.prefix
        columns = (*self.layout.locate(images, scale), lengths, blocks, top, left)
        places = list(zip(*(column.tolist() for column in columns), strict=True))
        if self.residency == "disk" and hasattr(mmap, "MADV_WILLNEED"):
            self._prefetch(places)
        for crop, (shard, start, length, (rows, width), y, x) in zip(batch, places, strict=True):
            image = self._arrays[shard][start : start + length].reshape(self.prefix, rows, width)
            crop[...] = image[:, y : y + side, x : x + side]
        return batch

    def _prefetch(self, places: list[tuple[Any, ...]]) -> None:
        """Announces all reads of a batch to the operating system, so that it reads in parallel."""
        item, page = self.manifest.dtype.itemsize, mmap.PAGESIZE
        for shard, start, length, *_ in places:
            begin, mapped = start * item // page * page, self._maps[shard]
            assert mapped is not None
            mapped.madvise(mmap.MADV_WILLNEED, begin, (start + length) * item - begin)

    def locate(
        self, images: np.ndarray, scale: np.ndarray, top: np.ndarray, left: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first element of each crop in the concatenation of all shards (N,), and its image's blocks (N, 2).

        Arguments and errors are those of :meth:`cut`, without ``side``.
        """
        self._open()
        assert self._offsets is not None
        blocks = self.layout.blocks(images, scale)
        shard, start = self.layout.locate(images, scale)
        return self._offsets[shard] + start + top * blocks[:, 1] + left, blocks

    def gather(self, corner: Tensor, blocks: Tensor, side: int) -> Tensor:
        """Cuts the crops found by :meth:`locate`, on the device of ``corner``; moves all coefficients there first.

        Returns:
            Integers (N, prefix, side, side).

        Raises:
            StoreError: The coefficients do not fit on the device.
        """
        self._open()
        if self._flat.device != corner.device:  # statistics are computed on the CPU first
            self._flat = self._move(self._flat, corner.device)
        step = torch.arange(max(side, self.prefix), device=corner.device)
        rows, columns = (blocks[:, axis, None, None, None] for axis in (0, 1))
        x, y, channel = step[:side], step[:side, None], step[: self.prefix, None, None]
        return self._flat[corner[:, None, None, None] + (channel * rows + y) * columns + x]

    def _move(self, values: Tensor, device: torch.device) -> Tensor:
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            if values.nbytes > 0.9 * free:  # leaves some memory for the network
                raise StoreError(
                    f"{self.manifest.root}: {values.nbytes / 1e9:.2f} GB of {self.split} do not fit on {device}, "
                    f"{free / 1e9:.2f} GB are free: --data.residency ram or disk"
                )
        return values.to(device)


def _raise_file_limit(count: int) -> None:
    """Raises the limit of open files to the maximum allowed: each mapped shard is one."""
    if count < 500:
        return
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, ValueError, OSError):
        pass


def physical_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
