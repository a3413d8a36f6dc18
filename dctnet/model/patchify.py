"""The patch embedding: a learned 8×8 convolution of pixels, as a control for the DCT."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dctnet.frequency.channels import PlanesToChannels
from dctnet.frequency.color import rgb_to_ycbcr
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.selections import named_channels


def rgb_channels(rgb: Tensor) -> Tensor:
    """Computes all 192 frequency channels of RGB images.

    Shape:
        - rgb: (N, 3, H, W), 0 … 255, floating point, H and W multiples of 8
        - output: (N, 192, H/8, W/8)
    """
    return PlanesToChannels(named_channels("all"))(rgb_to_ycbcr(rgb))


@torch.no_grad()
def init_as_dct(patchify: nn.Conv2d, rgb_std: Tensor, channel_std: Tensor, init: Callable[[Tensor], Any]) -> None:
    """Initialises a patch embedding as the DCT followed by a newly initialised 1×1 entry over normalised channels.

    At the first step the network computes what a network with all 192 channels would, up to a small constant, which
    a following batch norm removes. Training then differs, because the parameters are weights of pixels.

    Args:
        patchify: Convolution of 3 input channels, 8×8, stride 8.
        rgb_std: The divisors of R, G and B in front of it, (3,).
        channel_std: The divisors of the 192 channels in a network that reads them, (192,).
        init: Initialises the weight of an entry.
    """
    width = patchify.out_channels
    entry = torch.empty(width, len(channel_std), 1, 1, device=patchify.weight.device)
    init(entry)
    # Channels are affine in the pixels: the channels of one pixel at a time are the columns of the matrix.
    pixels = torch.eye(3 * BLOCK**2, device=entry.device).view(-1, 3, BLOCK, BLOCK)
    matrix = (rgb_channels(pixels) - rgb_channels(torch.zeros_like(pixels[:1]))).flatten(1)
    weight = (entry.flatten(1) / channel_std.to(entry.device)) @ matrix.T
    patchify.weight.copy_(weight.view(width, 3, BLOCK, BLOCK) * rgb_std.to(entry.device)[:, None, None])
