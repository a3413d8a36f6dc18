"""The network as it is exported: from channels, or from RGB pixels with colour conversion and block DCT inside."""

import torch
from torch import Tensor, nn

from dctnet.frequency.channels import PER_COMPONENT, ChannelSet
from dctnet.frequency.color import rgb_to_ycbcr
from dctnet.frequency.dct import BLOCK, dct_matrix
from dctnet.model.network import FrequencyNet


class PixelsToChannels(nn.Module):
    """Computes frequency channels from RGB by one convolution of 8×8 pixels with stride 8.

    Colour conversion, level shift and DCT are linear, so that each channel is one filter and one constant.

    Args:
        channel_set: The channels to compute, in this order.

    Shape:
        - pixels: (N, 3, H, W), RGB 0 … 255, floating point
        - output: (N, K, H/8, W/8)
    """

    def __init__(self, channel_set: ChannelSet) -> None:
        super().__init__()
        unit = torch.eye(3, dtype=torch.float64)[..., None, None]
        offset = rgb_to_ycbcr(torch.zeros(1, 3, 1, 1, dtype=torch.float64)).flatten()
        mix = (rgb_to_ycbcr(unit) - offset[:, None, None])[..., 0, 0].mT  # (component, colour)
        basis, parts = dct_matrix(), [divmod(index, PER_COMPONENT) for index in channel_set.indices]
        waves = torch.stack([torch.outer(basis[f // BLOCK], basis[f % BLOCK]) for _, f in parts])
        colours = torch.stack([mix[component] for component, _ in parts])
        # The DC of a constant is 8 times the constant; all other frequencies are 0.
        constant = torch.stack([(offset[c] - 128) * BLOCK * (f == 0) for c, f in parts])
        self.convolution = nn.Conv2d(3, len(parts), BLOCK, BLOCK)
        self.convolution.weight.data = (colours[:, :, None, None] * waves[:, None]).float()
        self.convolution.bias.data = constant.float()  # type: ignore[union-attr]

    def forward(self, pixels: Tensor) -> Tensor:
        """Computes the channels."""
        return self.convolution(pixels)


class PixelNet(nn.Module):
    """A network on 8-bit RGB.

    Args:
        network: Of channels, or of RGB.

    Shape:
        - pixels: (N, 3, S, S), uint8
        - output: (N, classes), logits
    """

    def __init__(self, network: FrequencyNet) -> None:
        super().__init__()
        self.channels = nn.Identity() if network.channels is None else PixelsToChannels(network.channels)
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Computes logits."""
        return self.network(self.channels(pixels.float()))
