"""A packed store to batches: aligned crops of integers, cut for a whole batch at once, without worker processes."""

import hashlib
import mmap
import os
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dctnet.data.packed.index import read_index
from dctnet.data.packed.manifest import Manifest, pick_split, shard_file
from dctnet.data.packed.schema import StoreError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK, flip_blocks

Residency = Literal["disk", "ram", "device"]


class PackedDataset(Dataset[Any]):
    """Crops of a packed store, a batch at a time.

    A training crop is drawn as scale, place and flip, each sample's from (seed, epoch, index); an evaluation crop is
    the central one. Integers travel to the device and become channels there (:meth:`to_device`), where they are flipped.

    Args:
        manifest: Of the store.
        split: ``train``, ``val`` or ``test``.
        channel_set: The channels wanted. Those stored behind the last of them are never read.
        size: Side of the crop in pixels.
        train: Random crops, else the central one.
        evaluation_scale: Short side in pixels at which evaluation images are taken.
        residency: ``disk`` maps the shards into memory; ``ram`` reads them first and checks their checksums on the way;
            ``device`` also puts them on the device that trains.
        seed: Of the crops.

    Raises:
        StoreError: The store has no such split, channel or scale, or its files are not those that were packed.
    """

    def __init__(
        self,
        manifest: Manifest,
        split: str,
        channel_set: ChannelSet,
        size: int,
        train: bool,
        evaluation_scale: int,
        residency: Residency,
        seed: int,
    ) -> None:
        self.manifest, self.split, self.size, self.train, self.seed = manifest, split, size // BLOCK, train, seed
        self.channel_set, self.residency = channel_set, residency
        self._places = find_channels(manifest, channel_set)
        self._prefix = max(self._places) + 1
        self._steps = torch.tensor([manifest.steps[p] for p in self._places])[:, None, None]
        self._scales = self._choose_scales(evaluation_scale)
        self._shards: list[np.ndarray] = []
        self._maps: list[mmap.mmap | None] = []
        self._read_indices()
        self._draws: tuple[int, np.ndarray] = (-1, np.empty(0))
        self._flat: Tensor | None = None
        self._bases = np.empty(0, int)

    def __len__(self) -> int:
        return len(self.targets)

    def _choose_scales(self, evaluation_scale: int) -> list[int]:
        stored = pick_split(self.manifest, self.split).scales
        if self.train:
            wide = [s for s in stored if s // BLOCK >= self.size]
            if not wide:
                raise StoreError(
                    f"{self.manifest.root}: packed at {list(stored)} px, too small for crops of {self.size * BLOCK}"
                )
            return [stored.index(s) for s in wide]
        if evaluation_scale not in stored:
            fractions = ", ".join(f"{self.size * BLOCK / s:.4g}" for s in stored)
            raise StoreError(
                f"{self.manifest.root}: {self.split} is packed at {list(stored)} px, the central square that is asked "
                f"for needs {evaluation_scale}: --data.crop_fraction {fractions}, or pack with the one you want"
            )
        return [stored.index(evaluation_scale)]

    def _read_indices(self) -> None:
        """Where each image lies: shard, and first element, rows and columns at each scale in use."""
        paths: list[str] = []
        targets: list[int] = []
        shard_of: list[int] = []
        starts: list[list[int]] = []
        blocks: list[list[list[int]]] = []
        stored = len(self.manifest.channels)
        for number, shard in enumerate(pick_split(self.manifest, self.split).shards):
            place = 0
            for image in read_index(self.manifest, shard):
                sizes = [rows * columns * stored for rows, columns in image["blocks"]]
                ends = np.cumsum([place, *sizes]).tolist()
                paths.append(image["path"])
                targets.append(image["target"])
                shard_of.append(number)
                starts.append([ends[s] for s in self._scales])
                blocks.append([image["blocks"][s] for s in self._scales])
                place = ends[-1]
        self.paths, self.targets = tuple(paths), tuple(targets)
        self._shard_of = np.array(shard_of)
        self._starts, self._blocks = np.array(starts), np.array(blocks)

    def _open(self) -> list[np.ndarray]:
        """The shards' elements, mapped or read, when the first batch is asked for."""
        if not len(self._bases):
            little = self.manifest.dtype.newbyteorder("<")
            shards = pick_split(self.manifest, self.split).shards
            total = sum(s.size for s in shards)
            if self.residency != "disk" and total > physical_memory():
                need = f"{self.manifest.root}: {total / 1e9:.2f} GB of {self.split}"
                raise StoreError(f"{need} do not fit into {physical_memory() / 1e9:.2f} GB: --data.residency disk")
            _allow_files(len(shards) if self.residency == "disk" else 0)
            opened: list[np.ndarray] = []
            maps: list[mmap.mmap | None] = []
            for number, shard in enumerate(shards):
                path = shard_file(self.manifest.root, shard)
                if not shard.size:  # all its images were left out
                    opened.append(np.empty(0, little))
                    maps.append(None)
                elif self.residency == "disk":
                    with open(path, "rb") as file:
                        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                    maps.append(mapped)
                    opened.append(np.frombuffer(mapped, little))
                else:
                    content = np.fromfile(path, little)
                    if hashlib.sha256(content.data).hexdigest() != shard.sha256:
                        raise StoreError(f"{path}: changed since it was packed: its SHA-256 is not the manifest's")
                    opened.append(self._compact(number, content))
            self._shards, self._maps = opened, maps
            # Where each shard begins when all lie behind one another.
            self._bases = np.cumsum([0, *(shard.size for shard in opened)])[:-1]
        return self._shards

    def _compact(self, number: int, content: np.ndarray) -> np.ndarray:
        """Only what can be asked for of a shard: the first channels, at the scales in use."""
        mine = np.flatnonzero(self._shard_of == number)
        areas = self._blocks[mine].prod(-1) * self._prefix
        if areas.sum() == content.size:
            return content
        compact, place = np.empty(areas.sum(), content.dtype), 0
        for image, sizes in zip(mine, areas, strict=True):
            for scale, size in enumerate(sizes):
                start = self._starts[image, scale]
                compact[place : place + size] = content[start : start + size]
                self._starts[image, scale] = place
                place += size
        return compact

    def _draw(self, epoch: int, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        """Scale, top, left and flip of some samples; all of an epoch's are drawn at once."""
        if not self.train:
            blocks = self._blocks[indices, 0]
            return np.zeros(len(indices), int), *((blocks - self.size) // 2).T, np.zeros(len(indices), bool)
        if self._draws[0] != epoch:
            self._draws = epoch, np.random.default_rng((self.seed, epoch)).random((len(self), 4), np.float32)
        draws = self._draws[1][indices]
        scale = (draws[:, 0] * len(self._scales)).astype(int)
        room = self._blocks[indices, scale] - self.size + 1
        top, left = np.minimum((draws[:, 1:3] * room).astype(int), room - 1).T
        return scale, top, left, draws[:, 3] < 0.5

    def __getitems__(self, keys: list[tuple[int, int]]) -> dict[str, Any]:
        """The batch of some (epoch, index) pairs of one epoch.

        Returns:
            ``payload``: ``packed`` (N, prefix, S/8, S/8), integers in the order of the store, and ``flip`` (N,); or, of a
            store on the device, where each crop lies. ``target`` (N,), ``index`` (N,); ``bad`` and ``refused``, always
            empty.
        """
        indices = np.array([index for _, index in keys])
        self._open()  # before anything asks where things lie: what is read into memory is closed up
        scale, top, left, flip = self._draw(keys[0][0], indices)
        start, columns = self._starts[indices, scale], self._blocks[indices, scale]
        if self.residency == "device":
            corner = start + self._bases[self._shard_of[indices]] + top * columns[:, 1] + left
            payload = {"corner": torch.from_numpy(corner), "blocks": torch.from_numpy(columns)}
        else:
            payload = {"packed": torch.from_numpy(self._cut(indices, start, columns, top, left))}
        return {
            "payload": {**payload, "flip": torch.from_numpy(flip)},
            "target": torch.tensor([self.targets[i] for i in indices]),
            "index": torch.from_numpy(indices),
            "bad": [],
            "refused": [],
        }

    def _cut(
        self, indices: np.ndarray, start: np.ndarray, blocks: np.ndarray, top: np.ndarray, left: np.ndarray
    ) -> np.ndarray:
        shards, size, prefix = self._open(), self.size, self._prefix
        batch = np.empty((len(indices), prefix, size, size), self.manifest.dtype)
        lengths = blocks.prod(1) * prefix
        columns = (self._shard_of[indices], start, lengths, blocks, top, left)
        places = list(zip(*(column.tolist() for column in columns), strict=True))
        if self.residency == "disk" and hasattr(mmap, "MADV_WILLNEED"):
            self._announce(places)
        for crop, (shard, first, length, (high, wide), y, x) in zip(batch, places, strict=True):
            whole = shards[shard][first : first + length].reshape(prefix, high, wide)
            crop[...] = whole[:, y : y + size, x : x + size]
        return batch

    def _announce(self, places: list[tuple[Any, ...]]) -> None:
        """Tells the system which parts of the disk a batch is about to read, so that it reads them side by side."""
        item, page = self.manifest.dtype.itemsize, mmap.PAGESIZE
        for shard, first, length, *_ in places:
            begin, mapped = first * item // page * page, self._maps[shard]
            assert mapped is not None
            mapped.madvise(mmap.MADV_WILLNEED, begin, (first + length) * item - begin)

    def collate(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The same: batches come whole."""
        return batch

    def to_device(self, payload: dict[str, Tensor]) -> Tensor:
        """Channels (N, K, S/8, S/8), float32, on the device that the batch has reached."""
        packed = payload["packed"] if "packed" in payload else self._gather(payload["corner"], payload["blocks"])
        if self._places != list(range(self._prefix)):
            packed = packed[:, self._places]
        channels = packed.float() * self._steps.to(packed.device)
        return flip_blocks(channels, self.channel_set.indices, payload["flip"])

    def _gather(self, corner: Tensor, blocks: Tensor) -> Tensor:
        """Crops out of the store on the device."""
        if self._flat is None or self._flat.device != corner.device:  # statistics are taken before the device is in use
            self._flat = self._to_device(corner.device)
        step = torch.arange(max(self.size, self._prefix), device=corner.device)
        rows, columns = (blocks[:, axis, None, None, None] for axis in (0, 1))
        across, down, deep = step[: self.size], step[: self.size, None], step[: self._prefix, None, None]
        return self._flat[corner[:, None, None, None] + (deep * rows + down) * columns + across]

    def _to_device(self, device: torch.device) -> Tensor:
        if self._flat is None:
            shards = self._open()
            flat = torch.from_numpy(np.concatenate(shards) if len(shards) > 1 else shards[0])
            self._shards = []  # no second copy in memory
        else:
            flat = self._flat
        if device.type == "cuda":
            free = torch.cuda.mem_get_info(device)[0]
            if flat.nbytes > 0.9 * free:  # the network wants some, too
                need = f"{self.manifest.root}: {flat.nbytes / 1e9:.2f} GB of {self.split}"
                raise StoreError(
                    f"{need} do not fit on {device}, {free / 1e9:.2f} GB free: --data.residency ram or disk"
                )
        return flat.to(device)


def _allow_files(count: int) -> None:
    """Raises the limit on open files, each of which a mapped shard is, as far as that is allowed."""
    if count < 500:
        return
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ImportError, ValueError, OSError):
        pass


def find_channels(manifest: Manifest, channel_set: ChannelSet) -> list[int]:
    """The places of channels in a store.

    Raises:
        StoreError: Some were not packed. Names them.
    """
    missing = [index for index in channel_set.indices if index not in manifest.channels]
    if missing:
        raise StoreError(
            f"{manifest.root}: {len(missing)} of the {len(channel_set)} channels of {channel_set.name} are not among "
            f"the {len(manifest.channels)} packed, such as {missing[0]}; without --data.channels all packed are taken"
        )
    return [manifest.channels.index(index) for index in channel_set.indices]


def physical_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
