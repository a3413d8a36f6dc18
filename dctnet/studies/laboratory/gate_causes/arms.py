"""The arms of the experiment: what is changed of the channels, and what scale the network sees them at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dctnet.studies.laboratory.gate_causes.data import LOW, NUM_CHANNELS, ChannelData

FACTOR = 16  # of the amplitude
Change = Callable[[ChannelData, torch.Generator], ChannelData]


@dataclass(frozen=True)
class Arm:
    """One treatment of the channels.

    Args:
        name: For the rows.
        label: For figures.
        text: What is changed, for the page.
        change: Returns the changed data.
        scale: Whether each channel is divided by its own standard deviation, as in dctnet, or all by a common one.
        permuted: Whether the channels change places, and initial weights and gate noise with them.
    """

    name: str
    label: str
    text: str
    change: Change
    scale: Literal["channel", "common"] = "channel"
    permuted: bool = False


def deviations(data: ChannelData) -> Tensor:
    """Standard deviation of each channel over images and blocks of the training split: (24,), float64."""
    return data.train.channels.double().transpose(0, 1).flatten(1).std(1)


def _multiply(data: ChannelData, factors: Tensor) -> ChannelData:
    by = factors[:, None, None]
    return data.with_channels(*((split.channels.double() * by).float() for split in (data.train, data.val)))


def as_it_is(data: ChannelData, generator: torch.Generator) -> ChannelData:
    """No change."""
    return data


def equalise_by_octaves(data: ChannelData, generator: torch.Generator) -> ChannelData:
    """Multiplies each channel by the power of two that brings its deviation nearest to 1: exact in floating point."""
    return _multiply(data, 2.0 ** -deviations(data).log2().round())


def amplify_low(factor: float) -> Change:
    """Gives all channels a deviation of 1, and the low half then ``factor``."""

    def change(data: ChannelData, generator: torch.Generator) -> ChannelData:
        return _multiply(data, torch.where(LOW, factor, 1.0) / deviations(data))

    return change


def mix_low(data: ChannelData, generator: torch.Generator) -> ChannelData:
    """Exchanges low channels between the images of a random half of each split.

    Each channel keeps all its maps, and with them energy and smoothness; they just belong to other images.
    """

    def mixed(channels: Tensor) -> Tensor:
        channels = channels.clone()
        for channel in LOW.nonzero().flatten().tolist():
            members = torch.randperm(len(channels), generator=generator)[: len(channels) // 2]
            channels[members, channel] = channels[members.roll(1), channel]
        return channels

    return data.with_channels(mixed(data.train.channels), mixed(data.val.channels))


def shuffle_blocks(data: ChannelData, generator: torch.Generator) -> ChannelData:
    """Shuffles the blocks of each image, alike in all its channels: nothing is left of their arrangement."""

    def shuffled(channels: Tensor) -> Tensor:
        flat = channels.flatten(2)
        order = torch.rand(len(flat), 1, flat.shape[2], generator=generator).argsort(2)
        return flat.gather(2, order.expand_as(flat)).view_as(channels)

    return data.with_channels(shuffled(data.train.channels), shuffled(data.val.channels))


def order_of(arm: Arm, generator: torch.Generator) -> Tensor:
    """The channel at each place of the network's input: (24,)."""
    return torch.randperm(NUM_CHANNELS, generator=generator) if arm.permuted else torch.arange(NUM_CHANNELS)


ARMS = (
    Arm("natural", "natural", "Nothing; each channel is divided by its own deviation, as in dctnet.", as_it_is),
    Arm(
        "equal_energy",
        "equal energy",
        "Each channel is multiplied by the power of two that makes the energies equal within an octave.",
        equalise_by_octaves,
    ),
    Arm(
        "permuted",
        "channels permuted",
        "The channels change places in the input, and initial weights and gate noise go with them.",
        as_it_is,
        permuted=True,
    ),
    Arm(
        "shuffled",
        "blocks shuffled",
        "The blocks of each image are shuffled, alike in all channels: no channel is smooth any more.",
        shuffle_blocks,
    ),
    Arm(
        "less_informative",
        "low less informative",
        "Half of the images exchange their low channels; energy and smoothness stay.",
        mix_low,
    ),
    Arm(
        "common_scale",
        "natural, one scale",
        "All channels are divided by one common number, so that their energies reach the network.",
        as_it_is,
        "common",
    ),
    Arm(
        "low_loud",
        f"low × {FACTOR}, one scale",
        f"Equal energies, then low channels × {FACTOR}, divided by one common number.",
        amplify_low(FACTOR),
        "common",
    ),
    Arm(
        "low_quiet",
        f"low × 1/{FACTOR}, one scale",
        f"Equal energies, then low channels × 1/{FACTOR}, divided by one common number.",
        amplify_low(1 / FACTOR),
        "common",
    ),
)
ARM_OF = {arm.name: arm for arm in ARMS}
