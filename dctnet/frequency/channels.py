"""The 192-channel layout, and named selections of it."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dctnet.errors import UserError, did_you_mean
from dctnet.frequency.dct import BLOCK, block_dct

COMPONENTS = ("Y", "Cb", "Cr")
PER_COMPONENT = BLOCK**2
NUM_CHANNELS = len(COMPONENTS) * PER_COMPONENT


@dataclass(frozen=True)
class ChannelSet:
    """An ordered set of frequency channels with a name.

    Args:
        name: What a reader calls it: ``square-24``, the path of a mask file.
        indices: Channel indices, 64·component + 8·v + u, strictly ascending: each set has one spelling.

    Raises:
        UserError: No index, one outside 0…191, or not strictly ascending. Names the first offender.
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
        """The kept frequencies, 8·v + u, of each of Y, Cb and Cr."""
        return [[i % PER_COMPONENT for i in self.indices if i // PER_COMPONENT == c] for c in range(len(COMPONENTS))]


class PlanesToChannels(nn.Module):
    """Computes the kept channels, and only those, from 8-bit planes.

    Args:
        channel_set: The channels to compute, in this order.

    Shape:
        - planes: (N, 3, H, W), Y, Cb, Cr as 0 … 255 (uint8 or floating point), H and W multiples of 8
        - output: (N, K, H/8, W/8), K channels as float32, or in the dtype of floating-point planes

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
    """The 64 frequencies, 8·v + u, from DC along the anti-diagonals of T.81, figure A.6."""
    return sorted(range(PER_COMPONENT), key=_zigzag_key)


def _zigzag_key(frequency: int) -> tuple[int, int]:
    v, u = divmod(frequency, BLOCK)
    return (v + u, v if (v + u) % 2 else u)


def rank_channels(channel_set: ChannelSet, keep_probability: Sequence[float] | None = None) -> list[int]:
    """The channels of a set, the most important first.

    Args:
        channel_set: The channels.
        keep_probability: How likely a gate keeps each of the 192; without it the lowest frequency is the most
            important, in the order of ``zigzag-N``.
    """
    order = _zigzag(NUM_CHANNELS)
    if keep_probability is not None:
        order.sort(key=lambda index: -keep_probability[index])  # stable: among equals the lower frequency comes first
    return sorted(channel_set.indices, key=order.index)


def _zigzag(count: int) -> list[int]:
    # Dealt in the pattern Y Cb Cr Y Y, so that each set contains all smaller ones; luma runs out at 107 channels.
    order = zigzag_order()
    queues = [[PER_COMPONENT * c + f for f in order] for c in range(len(COMPONENTS))]
    dealt: list[int] = []
    while any(queues):
        for component in (0, 1, 2, 0, 0):
            if queues[component]:
                dealt.append(queues[component].pop(0))
    return dealt[:count]


def _random(count: int, seed: int) -> list[int]:
    # A sixth each for Cb and Cr, as the square selections share; what exceeds the 64 of luma goes to chroma.
    luma = min(count - 2 * (count // 6), PER_COMPONENT)
    shares = [luma, (count - luma + 1) // 2, (count - luma) // 2]
    draw = random.Random(seed)
    return [PER_COMPONENT * c + f for c, n in enumerate(shares) for f in draw.sample(range(PER_COMPONENT), n)]


def _rows(widths: Sequence[int]) -> list[int]:
    """Frequencies of a staircase: the first ``widths[v]`` of each row v."""
    return [BLOCK * v + u for v, width in enumerate(widths) for u in range(width)]


# The reference's fixed selections as rows of frequencies: (luma, chroma), Cb = Cr.
_FIXED: dict[str, tuple[list[int], list[int]]] = {
    "square-6": (_rows([2, 2]), _rows([1])),
    "square-12": (_rows([3, 3, 2]), _rows([2])),
    "square-24": (_rows([4, 4, 4, 4]), _rows([2, 2])),
    "square-32": (_rows([5, 5, 5, 4, 3]), _rows([3, 2])),
    "square-48": (_rows([6, 6, 6, 6, 4, 4]), _rows([3, 3, 2])),
    "square-64": (_rows([7, 7, 6, 6, 6, 6, 6]), _rows([3, 3, 2, 2])),
    "triangle-12": (_rows([3, 2, 1]), _rows([2, 1])),
    "triangle-24": (_rows([5, 4, 2, 1]), _rows([3, 2, 1])),
    "triangle-48": (_rows([7, 6, 5, 4, 3, 2, 1]), _rows([4, 3, 2, 1])),
    "triangle-64": (_rows([8, 7, 6, 5, 4, 3, 1]), _rows([5, 4, 3, 2, 1])),
    "learned-24": ([*_rows([6, 3, 3, 1, 1])], [0, 1, 3, 8, 24]),
}
_PATTERNS = "zigzag-N, random-N, random-N-SEED (N 1…192)"


def named_channels(name: str) -> ChannelSet:
    """Looks up a selection by name.

    Args:
        name: ``all``, ``dc``, ``luma``; a selection of the reference (``square-N``, ``triangle-N``, ``learned-24``);
            ``zigzag-N`` for any N in 1…192, luma and chroma dealt as Y Cb Cr Y Y in zigzag order, so 24 is 14/5/5;
            ``random-N`` or ``random-N-SEED``, drawn with the luma and chroma shares of ``square-N``.

    Raises:
        UserError: No such name. Gives the nearest one and the list.
    """
    dynamic = re.fullmatch(r"(zigzag|random)-(\d{1,3})(?:-(\d{1,9}))?", name)
    if dynamic and 1 <= int(dynamic[2]) <= NUM_CHANNELS and (dynamic[1] == "random" or dynamic[3] is None):
        count = int(dynamic[2])
        drawn = _zigzag(count) if dynamic[1] == "zigzag" else _random(count, int(dynamic[3] or 0))
        return ChannelSet(name, tuple(sorted(drawn)))
    if name in _FIXED:
        luma, chroma = _FIXED[name]
        return ChannelSet(name, tuple(luma + [64 + f for f in chroma] + [128 + f for f in chroma]))
    simple = {"all": range(NUM_CHANNELS), "dc": range(0, NUM_CHANNELS, PER_COMPONENT), "luma": range(PER_COMPONENT)}
    if name in simple:
        return ChannelSet(name, tuple(simple[name]))
    known = [*simple, *_FIXED]
    hint = did_you_mean(name, [*known, "zigzag-24", "random-24"])
    raise UserError(f"no channel set is called {name!r}.{hint} Known: {', '.join(known)}, {_PATTERNS}, a mask file.")
