"""Places of the images of a split, at the scales in use: in the files, or in what of them is kept in memory."""

import itertools
from collections.abc import Sequence

import numpy as np

from dctnet.data.packed.index import SplitIndex, count_blocks


class Layout:
    """Where the images of a split are stored.

    Args:
        index: Of the split.
        scales: Positions of the scales in use among those of the split, ascending.
        channels: Number of stored channels.
    """

    def __init__(self, index: SplitIndex, scales: Sequence[int], channels: int) -> None:
        self.first, self.channels = index.first, channels
        self._records, self._start, self._scales = index.records, index.records["start"], np.array(scales)
        self._stored = np.arange(index.records["blocks"].shape[1])

    def blocks(self, images: np.ndarray, scale: np.ndarray | int) -> np.ndarray:
        """Rows and columns of blocks of some images (N, 2), each at one of the scales in use."""
        return self._records["blocks"][images, self._scales[scale]].astype(np.int64)

    def locate(self, images: np.ndarray, scale: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """Shard of each image, and its first element in it, each at one of the scales in use; both (N,)."""
        sizes = self._sizes(images)
        before = np.cumsum(sizes, 1) - sizes
        place = np.searchsorted(self._stored, self._scales[scale])
        start = self._start[images].astype(np.int64) + before[np.arange(len(images)), place]
        return np.searchsorted(self.first, images, side="right") - 1, start * self.channels

    @property
    def num_scales(self) -> int:
        """Number of scales in use."""
        return len(self._scales)

    def is_whole(self, channels: int) -> bool:
        """Whether all scales are in use, and so many channels are all."""
        return channels == self.channels and len(self._scales) == len(self._stored)

    def compact(self, channels: int) -> None:
        """Adapts the places to shards of which only the scales in use and the first channels are kept."""
        self._stored, self.channels = self._scales, channels
        self._start = np.empty(len(self._records), np.int64)
        for first, last in itertools.pairwise(self.first):
            sizes = self._sizes(slice(first, last)).sum(1)
            self._start[first:last] = sizes.cumsum() - sizes

    def _sizes(self, images: np.ndarray | slice) -> np.ndarray:
        """Blocks of one channel of each image at each stored scale."""
        return count_blocks(self._records[images])[:, self._stored]
