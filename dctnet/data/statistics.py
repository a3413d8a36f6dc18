"""Mean and standard deviation of each channel, summed up batch by batch."""

import torch
from torch import Tensor


class ChannelSums:
    """Sums of what batches hold, in float64, so that any number of processes finds the same figures.

    Args:
        num_channels: Channels of a batch.

    Attributes:
        sums: Count, sum and sum of squares of each channel, (3, C). Those of several processes may be added up.
    """

    def __init__(self, num_channels: int) -> None:
        self.sums = torch.zeros(3, num_channels, dtype=torch.float64)

    @property
    def count(self) -> int:
        """Values a channel so far."""
        return int(self.sums[0, 0])

    def add(self, channels: Tensor) -> None:
        """Adds a batch, (N, C, H, W)."""
        values = channels.double()
        self.sums[0] += values.shape[0] * values.shape[-2] * values.shape[-1]
        self.sums[1] += values.sum((0, 2, 3))
        self.sums[2] += values.square().sum((0, 2, 3))

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (C,) each, float32."""
        count, total, squares = self.sums
        mean = total / count
        return mean.float(), (squares / count - mean**2).clamp(min=0).sqrt().float()
