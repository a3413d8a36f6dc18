"""Normalisation of each channel by statistics of the training data, and companding of the result."""

from typing import Literal

import torch
from torch import Tensor, nn

Companding = Literal["none", "asinh"]
# Linear for most coefficients, logarithmic for the few large ones; the divisor keeps their spread near one.
_STRENGTH, _DIVISOR = 4.0, 1.2
# Deviation of an orthonormal DCT coefficient by the rounding of pixels to 8 bits.
_ROUNDING = 12**-0.5


class ChannelNorm(nn.Module):
    """Subtracts each channel's mean, divides by its standard deviation, and compands the quotient z.

    DCT coefficients of photographs are heavy-tailed: in most blocks |z| is below 0.3, at a few edges above 10 (kurtosis
    12 to 44 for AC channels). ``asinh`` maps z to asinh(4 z) / 1.2, which raises the many small values and limits the
    few large ones.

    The statistics are fitted to the training data once and saved with the network. An unfitted norm is the identity.
    A deviation below that of the rounding of pixels is replaced by it: high chroma frequencies of 4:2:0 files are zero
    from one decoder and rounding noise from another, and divided by themselves, the noise would decide.

    Args:
        num_channels: Input channels.
        companding: ``none`` or ``asinh``.

    Shape:
        - channels: (N, C, H, W)
        - output: (N, C, H, W)
    """

    mean: Tensor
    std: Tensor
    fitted: Tensor

    def __init__(self, num_channels: int, companding: Companding = "none") -> None:
        super().__init__()
        self.companding = companding
        self.register_buffer("mean", torch.zeros(num_channels))
        self.register_buffer("std", torch.ones(num_channels))
        # 0 or 1, not a bool: averages of weights are taken of all buffers, and bools have none.
        self.register_buffer("fitted", torch.tensor(0.0))
        self._taken: set[int] = set()

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Sets the statistics, (C,) each, except those from :meth:`take`."""
        new = [i for i in range(len(self.mean)) if i not in self._taken]
        std = std.clamp_min(_ROUNDING)
        self.mean[new], self.std[new] = mean.to(self.mean)[new], std.to(self.std)[new]
        self.fitted.fill_(1)

    def take(self, places: list[int], mean: Tensor, std: Tensor) -> None:
        """Sets the statistics of some channels, as another network was trained with them; ``fit`` sets the others."""
        self.mean[places], self.std[places] = mean.to(self.mean), std.to(self.std)
        self._taken.update(places)
        self.fitted.fill_(len(self._taken) == len(self.mean))

    def forward(self, channels: Tensor) -> Tensor:
        """Normalises a batch."""
        z = (channels - self.mean[:, None, None]) / self.std[:, None, None]
        return torch.asinh(_STRENGTH * z) / _DIVISOR if self.companding == "asinh" else z
