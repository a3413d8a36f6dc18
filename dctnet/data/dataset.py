"""Files to samples: decoding in the workers, in an order that does not depend on how many there are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, DistributedSampler

from dctnet.data.decode import ImageError, open_planes
from dctnet.data.folders import Files

Transform = Callable[[Image.Image, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """What a worker makes of one file: planes, or its path and the reason why there are none."""

    index: int
    target: int
    planes: torch.Tensor | None
    error: tuple[str, str] | None = None


class PlanesDataset(Dataset[Sample]):
    """Decodes and crops files; a file that fails becomes a sample that says so.

    Args:
        files: The files and their targets.
        transform: Image and generator to planes.
        seed: With epoch and index it seeds the generator of each sample, so that the same image gets the same crop in
            whatever process it is decoded.
    """

    def __init__(self, files: Files, transform: Transform, seed: int) -> None:
        self.files = files
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """The sample for an (epoch, index) pair, as :class:`EpochSampler` yields them."""
        epoch, index = key
        target = self.files.targets[index]
        draw = np.random.default_rng((self.seed, epoch, index))
        try:
            planes = self.transform(open_planes(self.files.paths[index]), draw)
        except ImageError as error:
            return Sample(index, target, None, (self.files.paths[index], error.reason))
        return Sample(index, target, torch.from_numpy(planes))


def collate(samples: list[Sample]) -> dict[str, Any]:
    """Stacks the samples that have planes; the others stand beside them.

    Returns:
        ``planes`` (N, 3, H, W) uint8, ``target`` (N,), ``index`` (N,), and ``bad``, a list of (path, reason).
    """
    good = [s for s in samples if s.planes is not None]
    planes = [s.planes for s in good if s.planes is not None]
    return {
        "planes": torch.stack(planes) if planes else torch.empty(0, 3, 0, 0, dtype=torch.uint8),
        "target": torch.tensor([s.target for s in good], dtype=torch.long),
        "index": torch.tensor([s.index for s in good], dtype=torch.long),
        "bad": [s.error for s in samples if s.error is not None],
    }


class EpochSampler(DistributedSampler):
    """Yields (epoch, index) pairs, dealt to the ranks without padding: no sample twice, none left out.

    The parent pads or drops to give all ranks the same count, which repeats samples and falsifies evaluation. Here only
    training, which needs equal counts, drops what does not fill a batch on every rank.

    Args:
        length: Number of samples.
        batch_size: Samples a batch on one rank; full batches only, unless there would be none. None: keep all.
        shuffle: A new order each epoch, else the given one.
        seed: Seeds the order.
        rank: This process's place.
        world_size: Number of processes.
    """

    def __init__(
        self, length: int, batch_size: int | None, shuffle: bool, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(range(length), world_size, rank, shuffle=shuffle, seed=seed)  # type: ignore[arg-type]
        self.length = length
        if batch_size is not None:
            step = batch_size * world_size
            self.length = length // step * step if length >= step else length // world_size * world_size

    def __len__(self) -> int:
        return len(range(self.rank, self.length, self.num_replicas))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        total = len(self.dataset)  # type: ignore[arg-type]
        order = np.random.default_rng((self.seed, self.epoch)).permutation(total) if self.shuffle else np.arange(total)
        for index in order[: self.length][self.rank :: self.num_replicas]:
            yield self.epoch, int(index)
