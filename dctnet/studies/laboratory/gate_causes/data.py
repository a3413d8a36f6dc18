"""Channels of one component as data: generated with known properties, or read from photographs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.linalg import cholesky, toeplitz
from torch import Tensor

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.planes import choose_evenly, read_channels
from dctnet.data.planted import class_signs
from dctnet.errors import UserError
from dctnet.frequency.channels import zigzag_order
from dctnet.studies.laboratory.spectrum import channel_radius

NUM_CHANNELS = 24
KEEP = NUM_CHANNELS // 2
# Luma from DC to the highest frequency, evenly spaced in zigzag order. Channels of a network ascend.
INDICES = tuple(sorted(zigzag_order()[round(place * 63 / (NUM_CHANNELS - 1))] for place in range(NUM_CHANNELS)))
RHO = channel_radius()[list(INDICES)]
# The half of the channels with the lowest frequencies; of equal ones, those that come first.
LOW = torch.zeros(NUM_CHANNELS, dtype=torch.bool).scatter(0, RHO.argsort(stable=True)[:KEEP], True)
SIDE = 6  # blocks of an image along each axis
_CLASSES, _TRAIN, _VAL = 8, 200, 200  # of generated data; images of each class
# Of the log amplitude of a channel: half the distance of strong and weak classes, and the deviation within a class.
_SIGNAL, _NOISE = 0.27, 0.5
_JITTER = 0.35  # deviation of the log of signal and energy from their trend


@dataclass(frozen=True)
class Split:
    """Channels (N, 24, blocks, blocks), float32, and targets (N,)."""

    channels: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class ChannelData:
    """Training and validation images as the channels ``INDICES``."""

    train: Split
    val: Split
    classes: int

    def with_channels(self, train: Tensor, val: Tensor) -> "ChannelData":
        """The same targets with other channels."""
        return replace(self, train=replace(self.train, channels=train), val=replace(self.val, channels=val))


def generate(seed: int) -> ChannelData:
    """Data in which information, energy and smoothness of a channel are known.

    In each channel the class determines a log amplitude, as in the planted data set. Energy and smoothness fall with
    the frequency as in photographs; information does not depend on it. All three also vary by chance from channel to
    channel, so that they can be told apart. A map's mean is exactly its amplitude, however smooth it is, so that
    smoothness does not change the information.
    """
    rng = np.random.default_rng((seed, 15))
    rho = RHO.numpy() / float(RHO.max())
    signal = _SIGNAL * np.exp(_JITTER * rng.normal(size=NUM_CHANNELS))
    energy = 300 * np.exp(_JITTER * rng.normal(size=NUM_CHANNELS)) / (rho + 0.05)
    smoothness = np.clip(0.9 * (1 - rho) + 0.15 * rng.normal(size=NUM_CHANNELS), 0, 0.95)
    # A row of maps of one channel times this matrix has the correlation smoothness ** distance along each axis.
    factors = np.stack([cholesky(toeplitz(each ** np.arange(SIDE)), lower=True) for each in smoothness])
    signs = class_signs(_CLASSES, NUM_CHANNELS)

    def split(per_class: int) -> Split:
        targets = np.repeat(np.arange(_CLASSES), per_class)
        log_amplitude = signal * signs[targets] + _NOISE * rng.normal(size=(len(targets), NUM_CHANNELS))
        white = rng.normal(size=(len(targets), NUM_CHANNELS, SIDE, SIDE))
        texture = np.abs(np.einsum("cij,ncjk,clk->ncil", factors, white, factors, optimize=True))
        texture /= texture.mean((2, 3), keepdims=True)
        maps = (energy * np.exp(log_amplitude))[..., None, None] * texture
        return Split(torch.from_numpy(maps).float(), torch.from_numpy(targets))

    return ChannelData(split(_TRAIN), split(_VAL), _CLASSES)


def from_photographs(root: str, images: int, seed: int = 0) -> ChannelData:
    """Reads evaluation crops of photographs, SIDE × SIDE blocks each.

    Args:
        root: As ``--data.root`` of ``dctnet fit``, with train/ and val/.
        images: Training images at most, and a quarter of it for validation.
        seed: Of the choice of images.

    Raises:
        UserError: No such data, a packed store, or a file that cannot be read.
    """
    data = FrequencyDataModule(root, list(INDICES), image_size=8 * SIDE, num_workers=0)
    if data.store is not None:
        raise UserError(f"--data.root {root}: a packed store; gate-causes needs the photographs")
    data.setup("fit")
    train, val = _read_split(data, "train", images, seed), _read_split(data, "val", images // 4, seed)
    return ChannelData(train, val, len(data.class_names))


def _read_split(data: FrequencyDataModule, split: str, images: int, seed: int) -> Split:
    files = data.files(split)
    chosen = choose_evenly(files.targets, images, seed)
    paths: Sequence[str] = [files.paths[place] for place in chosen]
    channels = read_channels(paths, data.channel_set, data.size, data.hparams["crop_fraction"], f"reading {split}")
    return Split(channels, torch.tensor([files.targets[place] for place in chosen]))
