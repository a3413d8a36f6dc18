"""Normalisation of each channel, learned from the data it will see."""

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Subtracts each channel's mean and divides by its standard deviation, learned from the training data.

    Args:
        num_channels: Channels that come in.
        common: Divide all channels by one number, the root of their mean variance: each keeps its share of the energy.

    Shape:
        - channels: (N, C, H, W)
        - output: (N, C, H, W)
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, num_channels: int, common: bool = False) -> None:
        super().__init__()
        self.common = common
        self.register_buffer("mean", torch.zeros(num_channels))
        self.register_buffer("std", torch.ones(num_channels))
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Sets the statistics, (C,) each; they travel with the checkpoint. What never varies is not divided."""
        std = torch.where(std < 1e-3, torch.ones_like(std), std)
        self.mean.copy_(mean)
        self.std.copy_(std.square().mean().sqrt() if self.common else std)
        self.fitted.fill_(True)

    def forward(self, channels: Tensor) -> Tensor:
        """Normalises a batch."""
        return (channels - self.mean[:, None, None]) / self.std[:, None, None]
