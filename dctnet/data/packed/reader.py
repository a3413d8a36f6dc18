"""A packed store as a data set: aligned crops of integers, cut for a whole batch at once, without worker processes."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dctnet.data.packed.index import SplitIndex, open_index
from dctnet.data.packed.layout import Layout
from dctnet.data.packed.manifest import Manifest, StoreError, evaluation_scale, pick_split
from dctnet.data.packed.storage import Residency, SplitStorage
from dctnet.data.progressive import CropSizes
from dctnet.data.sampler import epoch_and_index
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK, flip_blocks
from dctnet.frequency.maskfile import resolve_channels


class PackedDataset(Dataset[Any]):
    """Crops of a packed store, a batch at a time.

    Training draws scale, position and flip of each sample from (seed, epoch, index); evaluation takes the center crop.
    The integers are moved to the device, where :meth:`to_device` scales and flips them.

    A smaller crop of an early epoch is cut from the stored scale at which it covers most nearly the share of the image
    that the full crop covers at the scale drawn. ``dctnet pack --scales`` can store smaller scales for it.

    Args:
        manifest: Manifest of the store.
        split: ``train``, with random crops; ``val`` or ``test``, with center crops.
        channel_set: Channels to read. The channels stored after the last of them are never read.
        size: Side of the crop in pixels.
        crop_fraction: Side of the center crop as a share of the image's short side.
        residency: ``disk`` maps the shards into memory; ``ram`` reads them and verifies their checksums first;
            ``device`` also moves them to the training device.
        seed: Seed of the random crops.
        sizes: Side of the training crops in each epoch, up to ``size``; always ``size`` if None.
        index: Of the split, if it is open already.

    Attributes:
        targets: Class index of each image.
        scales: Short sides in pixels of the scales in use, ascending.

    Raises:
        StoreError: The store lacks the split, a channel or a suitable scale, or its files were changed.
    """

    def __init__(
        self,
        manifest: Manifest,
        split: str,
        channel_set: ChannelSet,
        size: int,
        crop_fraction: float,
        residency: Residency,
        seed: int,
        sizes: CropSizes | None = None,
        index: SplitIndex | None = None,
    ) -> None:
        self.manifest, self.split, self.size, self.seed = manifest, split, size // BLOCK, seed
        self.sizes = sizes if sizes and split == "train" else CropSizes([size])
        self.channel_set, self.residency = channel_set, residency
        self._positions = self._find_channels()
        self._prefix = max(self._positions) + 1
        self._steps = torch.tensor([manifest.steps[p] for p in self._positions])[:, None, None]
        scales_at = self._choose_scales(evaluation_scale(size, crop_fraction))
        used = sorted({scale for scales in scales_at.values() for scale in scales})
        index = index or open_index(manifest, split)
        self.targets: Sequence[int] = index.targets.data
        self._layout = Layout(index, used, len(manifest.channels))
        self.scales = [pick_split(manifest, split).scales[scale] for scale in used]
        # For each side, positions in the layout of the scales to draw from.
        self._scales = {side: np.searchsorted(used, scales) for side, scales in scales_at.items()}
        self._storage = SplitStorage(manifest, split, self._layout, self._prefix, residency)
        self._random: tuple[int, np.ndarray] = (-1, np.empty(0))

    def __len__(self) -> int:
        return len(self.targets)

    def _find_channels(self) -> list[int]:
        """Positions of the channels in the order of storage."""
        stored, wanted = self.manifest.channels, self.channel_set
        if missing := [index for index in wanted.indices if index not in stored]:
            raise StoreError(
                f"{self.manifest.root}: {len(missing)} of the {len(wanted)} channels of {wanted.name} are not among "
                f"the {len(stored)} packed, such as {missing[0]}; without --data.channels all packed are read"
            )
        return [stored.index(index) for index in wanted.indices]

    def _choose_scales(self, center_scale: int) -> dict[int, list[int]]:
        """For each side in blocks, positions of the scales to draw from among those of the split.

        Center crops are read at ``center_scale``. The lists of all sides are of equal length.
        """
        stored = pick_split(self.manifest, self.split).scales
        if self.split == "train":
            large_enough = [i for i, scale in enumerate(stored) if scale // BLOCK >= self.size]
            if not large_enough:
                raise StoreError(
                    f"{self.manifest.root}: packed at {list(stored)} px, too small for crops of {self.size * BLOCK}"
                )
            return {
                side // BLOCK: [_similar(stored, stored[i], side, self.sizes) for i in large_enough]
                for side in self.sizes.sizes
            }
        if center_scale not in stored:
            fractions = ", ".join(f"{self.size * BLOCK / s:.4g}" for s in stored)
            raise StoreError(
                f"{self.manifest.root}: {self.split} is packed at {list(stored)} px, but this center crop needs "
                f"{center_scale} px: --data.crop_fraction {fractions}, or pack again with another crop_fraction"
            )
        return {self.size: [stored.index(center_scale)]}

    def _draw(self, epoch: int, indices: np.ndarray, side: int) -> tuple[np.ndarray, ...]:
        """Scale, top, left and flip of some samples. The random numbers of an epoch are drawn at once."""
        if self.split != "train":
            blocks = self._layout.blocks(indices, 0)
            return np.zeros(len(indices), int), *((blocks - self.size) // 2).T, np.zeros(len(indices), bool)
        if self._random[0] != epoch:
            self._random = epoch, np.random.default_rng((self.seed, epoch)).random((len(self), 4), np.float32)
        uniform = self._random[1][indices % len(self)]
        for place in np.flatnonzero(indices >= len(self)):  # repetitions, of a BalancedSampler
            uniform[place] = np.random.default_rng((self.seed, epoch, indices[place])).random(4, np.float32)
        scales = self._scales[side]
        scale = scales[(uniform[:, 0] * len(scales)).astype(int)]
        positions = self._layout.blocks(indices % len(self), scale) - side + 1
        top, left = np.minimum((uniform[:, 1:3] * positions).astype(int), positions - 1).T
        return scale, top, left, uniform[:, 3] < 0.5

    def __getitem__(self, key: tuple[int, int] | int) -> dict[str, Any]:
        """The batch of one sample."""
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[tuple[int, int] | int]) -> dict[str, Any]:
        """The batch of some (epoch, index) pairs of one epoch, or of some indices.

        Returns:
            ``payload``: ``packed`` (N, prefix, S/8, S/8), integers in the order of storage, and ``flip`` (N,); with
            residency ``device`` position and side of the crops instead of ``packed``. The other keys are those of
            :meth:`~dctnet.data.dataset.PhotoDataset.collate`, with no bad files.
        """
        pairs = [epoch_and_index(key) for key in keys]
        indices = np.array([index for _, index in pairs])
        is_plain = not isinstance(keys[0], (tuple, list))
        if indices.min() < 0 or (is_plain and indices.max() >= len(self)):
            raise IndexError(f"indices {indices.min()}…{indices.max()} of {len(self)} images")
        epoch = pairs[0][0]
        side = self.sizes.at(epoch) // BLOCK
        scale, top, left, flip = self._draw(epoch, indices, side)
        drawn, indices = indices, indices % len(self)
        payload: dict[str, Any]
        if self.residency == "device":
            corner, blocks = self._storage.locate(indices, scale, top, left)
            payload = {"corner": torch.from_numpy(corner), "blocks": torch.from_numpy(blocks), "side": side}
        else:
            payload = {"packed": torch.from_numpy(self._storage.cut(indices, scale, top, left, side))}
        return {
            "payload": {**payload, "flip": torch.from_numpy(flip)},
            "target": torch.tensor([int(self.targets[i]) for i in indices]),
            "index": torch.from_numpy(indices),
            "split": self.split,
            "drawn": (epoch, drawn),
            "bad": [],
            "refused": [],
        }

    def collate(self, batch: Any) -> dict[str, Any]:
        """Returns the batch: ``__getitems__`` has already collated it."""
        return batch

    def to_device(self, payload: dict[str, Any]) -> Tensor:
        """Channels (N, K, S/8, S/8), float32, on the device of the payload."""
        if "packed" in payload:
            packed = payload["packed"]
        else:
            packed = self._storage.gather(payload["corner"], payload["blocks"], payload["side"])
        if self._positions != list(range(self._prefix)):
            packed = packed[:, self._positions]
        mirrored = flip_blocks(packed, self.channel_set.indices, payload["flip"])  # a quarter of the bytes of floats
        return mirrored.float().mul_(self._steps.to(packed.device))


def _similar(stored: Sequence[int], scale: int, side: int, sizes: CropSizes) -> int:
    """Position of the scale at which a crop covers most nearly what the full crop covers at another scale."""
    return min(
        (i for i, each in enumerate(stored) if each // BLOCK >= side // BLOCK),
        key=lambda i: abs(stored[i] * sizes.sizes[-1] - scale * side),
    )


def choose_channels(manifest: Manifest, spec: str | list[int] | None) -> ChannelSet:
    """The channels that ``--data.channels`` selects from a packed store.

    Args:
        manifest: Manifest of the store.
        spec: None for all packed channels; ``first-K`` for the K most important; otherwise as for photographs.

    Raises:
        UserError: K is out of range, or there is no such name.
    """
    first = re.fullmatch(r"first-(\d{1,3})", spec) if isinstance(spec, str) else None
    if spec is not None and not first:
        return resolve_channels(spec)
    count = int(first[1]) if first else len(manifest.channels)
    if not 1 <= count <= len(manifest.channels):
        raise UserError(f"--data.channels {spec}: {manifest.root} has 1…{len(manifest.channels)} channels")
    return ChannelSet(f"first-{count} of {manifest.root}", tuple(sorted(manifest.channels[:count])))
