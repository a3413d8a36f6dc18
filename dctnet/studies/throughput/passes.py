"""A pass of a pipeline over all photographs, in batches, which the study times."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dctnet.data.packed.manifest import Manifest, pick_split, shard_file

# One pass over all images: takes the number of the pass, returns the bytes that move to the device.
Pass = Callable[[int], int]
ToDevice = Callable[[dict[str, Any]], Tensor]
_BATCH = 64


def batches(
    count: int,
    load: Callable[[int, list[int]], dict[str, Any]],
    to_device: ToDevice | None = None,
    shuffle: bool = False,
) -> Pass:
    """A pass in batches: ``load`` reads the images at some indices, ``to_device`` finishes a batch on the GPU."""

    def run(number: int) -> int:
        order = np.random.default_rng(number).permutation(count).tolist() if shuffle else list(range(count))
        total = 0
        for start in range(0, count, _BATCH):
            payload = load(number, order[start : start + _BATCH])
            tensors = {key: value for key, value in payload.items() if isinstance(value, Tensor)}
            total += sum(tensor.nbytes for tensor in tensors.values())
            if to_device is not None:
                to_device({**payload, **{key: tensor.to("cuda") for key, tensor in tensors.items()}})
                torch.cuda.synchronize()
        return total

    return run


@dataclass
class ColdPass:
    """A pass over a store that is not in the page cache; ``open_pass`` opens the store for one pass."""

    manifest: Manifest
    open_pass: Callable[[], Pass]
    run: Pass | None = None

    def prepare(self) -> None:
        """Drops the store from the page cache and opens it again; not part of the measurement."""
        self.run = None  # mapped pages are not dropped
        for shard in pick_split(self.manifest, "train").shards:
            with open(shard_file(self.manifest.root, shard), "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.run = self.open_pass()

    def __call__(self, number: int) -> int:
        """Runs the pass; once after each :meth:`prepare`."""
        assert self.run is not None
        return self.run(number)
