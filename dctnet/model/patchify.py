"""The learned 8×8 convolution that stands against the DCT, started as the DCT."""

import torch
from torch import Tensor, nn

from dctnet.frequency.channels import PlanesToChannels
from dctnet.frequency.color import rgb_to_ycbcr
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.selections import named_channels


def rgb_channels(rgb: Tensor) -> Tensor:
    """All 192 frequency channels of RGB images.

    Shape:
        - rgb: (N, 3, H, W), 0 … 255, floating point, H and W multiples of 8
        - output: (N, 192, H/8, W/8)
    """
    return PlanesToChannels(named_channels("all"))(rgb_to_ycbcr(rgb))


@torch.no_grad()
def init_as_dct(patches: nn.Conv2d, rgb_std: Tensor, channel_std: Tensor) -> None:
    """Sets a convolution over pixels to what a 1×1 convolution over normalised channels starts as.

    At the first step the network computes what one with all 192 channels would, but for a constant that the batch norm
    behind it removes. What it learns from there differs: its coordinates are pixels.

    Args:
        patches: 3 channels in, 8×8, stride 8.
        rgb_std: What R, G and B are divided by before it, (3,).
        channel_std: What the 192 channels would be divided by, (192,).
    """
    width = patches.out_channels
    entry = torch.empty(width, len(channel_std), 1, 1, device=patches.weight.device)
    nn.init.kaiming_normal_(entry, mode="fan_out", nonlinearity="relu")  # as the entry of channels starts
    # The channels are linear in the pixels but for an offset: one pixel at a time gives their matrix.
    pixels = torch.eye(3 * BLOCK**2, device=entry.device).view(-1, 3, BLOCK, BLOCK)
    matrix = (rgb_channels(pixels) - rgb_channels(torch.zeros_like(pixels[:1]))).flatten(1)
    weight = (entry.flatten(1) / channel_std.to(entry.device)) @ matrix.T
    patches.weight.copy_(weight.view(width, 3, BLOCK, BLOCK) * rgb_std.to(entry.device)[:, None, None])
