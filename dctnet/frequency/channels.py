"""The layout of the 192 channels, sets of them, and their computation from planes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK, block_dct, inverse_block_dct

COMPONENTS = ("Y", "Cb", "Cr")
PER_COMPONENT = BLOCK**2
NUM_CHANNELS = len(COMPONENTS) * PER_COMPONENT


@dataclass(frozen=True)
class ChannelSet:
    """An ordered set of frequency channels with a name.

    Args:
        name: ``square-24``, the path of a mask file, …
        indices: Channel indices, 64·component + 8·v + u, strictly ascending.

    Raises:
        UserError: No index, one outside 0…191, or not strictly ascending. Has the first wrong index.
    """

    name: str
    indices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.indices:
            raise UserError(f"channel set {self.name!r} is empty; at least one channel is needed")
        for place, index in enumerate(self.indices):
            if not 0 <= index < NUM_CHANNELS:
                raise UserError(f"channel set {self.name!r}: index {index} at position {place} is outside 0…191")
            if place and index <= self.indices[place - 1]:
                kind = "repeated" if index in self.indices[:place] else "out of order"
                raise UserError(
                    f"channel set {self.name!r}: index {index} at position {place} is {kind}; indices must ascend"
                )

    def __len__(self) -> int:
        return len(self.indices)

    def __str__(self) -> str:
        counts = "/".join(str(len(f)) for f in self.frequencies())
        return f"{self.name}: {len(self)} of {NUM_CHANNELS} channels (Y/Cb/Cr {counts})"

    def frequencies(self) -> list[list[int]]:
        """The frequencies, 8·v + u, of Y, of Cb and of Cr."""
        return [[i % PER_COMPONENT for i in self.indices if i // PER_COMPONENT == c] for c in range(len(COMPONENTS))]


class PlanesToChannels(nn.Module):
    """Computes the channels of a set from 8-bit planes.

    Args:
        channel_set: The channels to compute, in this order.

    Shape:
        - planes: (N, 3, H, W), Y, Cb, Cr, 0 … 255 (uint8 or floating point), H and W multiples of 8
        - output: (N, K, H/8, W/8), float32, or the dtype of floating-point planes

    Source: Xu et al., "Learning in the Frequency Domain", CVPR 2020, section 3.1.
    """

    def __init__(self, channel_set: ChannelSet) -> None:
        super().__init__()
        self.channel_set = channel_set

    def forward(self, planes: Tensor) -> Tensor:
        """Level-shifts the planes and takes the block DCT of the kept channels."""
        if planes.ndim != 4 or planes.shape[1] != len(COMPONENTS):
            raise UserError(f"planes must have shape (N, 3, H, W), got {tuple(planes.shape)}")
        samples = planes if planes.is_floating_point() else planes.float()
        kept = [
            block_dct(samples[:, component] - 128, frequencies)
            for component, frequencies in enumerate(self.channel_set.frequencies())
            if frequencies
        ]
        return torch.cat(kept, dim=1)


def zigzag_order() -> list[int]:
    """The 64 frequencies, 8·v + u, in zigzag order, from DC.

    Source: ITU-T T.81 (1992), figure A.6.
    """

    def key(frequency: int) -> tuple[int, int]:
        v, u = divmod(frequency, BLOCK)
        return v + u, v if (v + u) % 2 else u

    return sorted(range(PER_COMPONENT), key=key)


def planes_to_channels(planes: Tensor) -> Tensor:
    """All 192 channels of planes.

    Shape:
        - planes: (N, 3, H, W), Y, Cb, Cr, 0 … 255, floating point
        - output: (N, 192, H/8, W/8)
    """
    return block_dct(planes - 128).flatten(1, 2)


def channels_to_planes(channels: Tensor) -> Tensor:
    """Inverse of :func:`planes_to_channels`, neither rounded nor clamped.

    Raises:
        UserError: Not all 192 channels.
    """
    if channels.shape[1] != NUM_CHANNELS:
        raise UserError(f"the inverse needs all {NUM_CHANNELS} channels, got {channels.shape[1]}")
    return inverse_block_dct(channels.unflatten(1, (len(COMPONENTS), PER_COMPONENT))) + 128
