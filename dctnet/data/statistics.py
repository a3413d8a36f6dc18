"""Statistics of training images: mean and standard deviation of each channel, and weights of the classes."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

# Above every training epoch, so that statistics and training use different random crops.
_EPOCH = 2**31 - 1


def choose_samples(length: int, count: int) -> list[tuple[int, int]]:
    """(epoch, index) pairs of at most ``count`` of the samples, evenly spaced because files are sorted by class."""
    count = min(count, length)
    return [(_EPOCH, i * length // count) for i in range(count)]


def channel_statistics(
    batches: Iterable[Tensor], num_channels: int, add_ranks: Callable[[Tensor], Tensor] = lambda sums: sums
) -> tuple[Tensor, Tensor] | None:
    """Mean and standard deviation of each channel, from sums in float64.

    Args:
        batches: Channels; may be empty on some ranks.
        num_channels: C.
        add_ranks: Adds count, sum and sum of squares of each channel, (3, C), over all ranks.

    Returns:
        Mean and standard deviation, float32; None if no rank has a batch.

    Shape:
        - batches: (N, C, H, W) each
        - output: (C,), (C,)
    """
    sums = torch.zeros(3, num_channels, dtype=torch.float64)
    for batch in batches:
        values = batch.double()
        sums[0] += values.shape[0] * values.shape[-2] * values.shape[-1]
        sums[1] += values.sum((0, 2, 3))
        sums[2] += values.square().sum((0, 2, 3))
    count, total, squares = add_ranks(sums)
    if not count.any():
        return None
    mean = total / count
    return mean.float(), (squares / count - mean**2).clamp(min=0).sqrt().float()


def balanced_weights(targets: Sequence[int], num_classes: int) -> Tensor:
    """Weights of the classes in inverse proportion to their frequency: images / (classes with images · images of it).

    The mean weight of an image is 1. A class without images has weight 0.

    Shape:
        - output: (num_classes,), float32
    """
    counts = torch.bincount(torch.from_numpy(np.asarray(targets, np.int64)), minlength=num_classes).double()
    weights = len(targets) / (counts.count_nonzero() * counts)
    return weights.where(counts > 0, 0.0).float()
