"""Normalisation of each channel by statistics of the training data."""

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Subtracts each channel's mean and divides by its standard deviation.

    The statistics are fitted to the training data once and saved with the network. An unfitted norm is the identity.

    Args:
        num_channels: Input channels.

    Shape:
        - channels: (N, C, H, W)
        - output: (N, C, H, W)
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_channels))
        self.register_buffer("std", torch.ones(num_channels))
        # 0 or 1, not a bool: averages of weights are taken of all buffers, and bools have none.
        self.register_buffer("fitted", torch.tensor(0.0))
        self._taken: set[int] = set()

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Sets the statistics, (C,) each, except those from :meth:`take`. Constant channels are not divided."""
        new = [i for i in range(len(self.mean)) if i not in self._taken]
        std = torch.where(std < 1e-3, torch.ones_like(std), std)
        self.mean[new], self.std[new] = mean.to(self.mean)[new], std.to(self.std)[new]
        self.fitted.fill_(1)

    def take(self, places: list[int], mean: Tensor, std: Tensor) -> None:
        """Sets the statistics of some channels, as another network was trained with them; ``fit`` sets the others."""
        self.mean[places], self.std[places] = mean.to(self.mean), std.to(self.std)
        self._taken.update(places)
        self.fitted.fill_(len(self._taken) == len(self.mean))

    def forward(self, channels: Tensor) -> Tensor:
        """Normalises a batch."""
        return (channels - self.mean[:, None, None]) / self.std[:, None, None]
