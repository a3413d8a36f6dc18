"""The option ``--data.augment``: which operations act on each training image, how strongly and in which order."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dctnet.data.augment_pixels import PixelOperations
from dctnet.data.draws import uniform
from dctnet.errors import UserError, did_you_mean
from dctnet.frequency.augment import ChannelOperations, mixed_channels
from dctnet.frequency.channels import PER_COMPONENT, ChannelSet

Operations = ChannelOperations | PixelOperations


class Operation(NamedTuple):
    """One row of :data:`OPERATIONS`: how random numbers become an operation.

    Args:
        probability: That it acts on an image, in a list.
        numbers: Random numbers that it needs.
        act: Applies it: the operations on channels or on pixels, the images (N, C, H, W), uniform random numbers
            (N, numbers), and the strength, 1 in a list.
    """

    probability: float
    numbers: int
    act: Callable[[Operations, Tensor, Tensor, float], Tensor]


def _around_one(number: Tensor, reach: float) -> Tensor:
    return 1 + reach * (2 * number - 1)


def _shift(on: Operations, x: Tensor, u: Tensor, strength: float) -> Tensor:
    reach = 0.07 * strength * _blocks(on, x)
    down, right = (reach * (2 * u - 1)).round().long().unbind(1)
    return on.shift(x, down, right)


def _erase(on: Operations, x: Tensor, u: Tensor, strength: float) -> Tensor:
    area = 0.02 + 0.18 * u[:, 0]
    aspect = torch.exp(math.log(3) * (2 * u[:, 1] - 1))
    size = torch.stack([area * aspect, area / aspect], 1).sqrt()
    size = (size * _blocks(on, x)).round().clamp(1, _blocks(on, x))
    start = (u[:, 2:] * (_blocks(on, x) - size + 1)).floor()
    return on.erase(x, torch.cat([start, start + size], 1).long())


def _drop(on: Operations, x: Tensor, u: Tensor, strength: float) -> Tensor:
    kept = u[:, 1:] >= 0.2 * strength * u[:, :1]
    return on.drop_frequencies(x, torch.cat([torch.ones(len(u), 1, dtype=torch.bool), kept], 1))  # DC is kept


def _blocks(on: Operations, x: Tensor) -> int:
    """Blocks along a side of the images."""
    return x.shape[-1] // on.unit


OPERATIONS = {
    "vertical_flip": Operation(0.5, 0, lambda on, x, u, s: on.vertical_flip(x)),
    "turn": Operation(0.75, 1, lambda on, x, u, s: on.turn(x, 1 + (3 * u[:, 0]).long())),
    "transpose": Operation(0.5, 0, lambda on, x, u, s: on.transpose(x)),
    "shift": Operation(1, 2, _shift),
    "brightness": Operation(1, 1, lambda on, x, u, s: on.brightness(x, _around_one(u[:, 0], 0.3 * s))),
    "contrast": Operation(1, 1, lambda on, x, u, s: on.contrast(x, _around_one(u[:, 0], 0.3 * s))),
    "saturation": Operation(1, 1, lambda on, x, u, s: on.saturation(x, _around_one(u[:, 0], 0.3 * s))),
    "hue": Operation(1, 1, lambda on, x, u, s: on.hue(x, 0.1 * torch.pi * s * (2 * u[:, 0] - 1))),
    "grey": Operation(0.2, 0, lambda on, x, u, s: on.saturation(x, torch.zeros(len(x)))),
    "sharpness": Operation(1, 1, lambda on, x, u, s: on.sharpness(x, _around_one(u[:, 0], 0.5 * s))),
    "blur": Operation(0.5, 1, lambda on, x, u, s: on.blur(x, 0.75 * s * u[:, 0])),
    "frequency_dropout": Operation(0.5, PER_COMPONENT, _drop),
    "erasing": Operation(0.25, 4, _erase),
}
_BASIC = ("brightness", "contrast", "saturation", "hue", "sharpness")
_RANDAUGMENT = (*_BASIC, "shift", "grey", "blur", "frequency_dropout")
_CHOSEN, _STRENGTH = 2, 2.0  # operations for each image that randaugment chooses, and their strength
_POINTWISE = "needs all samples of a block, which some of its channels do not give: brightness, contrast"
_FINE = "has no meaning for blocks, which move and turn as a whole: shift, turn, transpose"
_REFUSED = {
    **dict.fromkeys(("posterize", "posterise", "solarize", "solarise", "equalize", "equalise"), _POINTWISE),
    **dict.fromkeys(("autocontrast", "gamma"), _POINTWISE),
    **dict.fromkeys(("rotate", "shear", "affine", "perspective", "elastic"), _FINE),
    **dict.fromkeys(("flip", "horizontal_flip"), "is not needed: every second training crop is mirrored left to right"),
    "mixup": "mixes the images of a batch: --data.mixup ALPHA",
    "cutmix": "mixes the images of a batch: --data.cutmix ALPHA",
}  # fmt: skip


class Step(NamedTuple):
    """An operation of a list, or one of those from which randaugment chooses."""

    name: str
    strength: float = 1.0
    is_chosen: bool = False


def parse_augment(spec: str | Sequence[str]) -> list[Step]:
    """The steps of ``--data.augment``, in the order in which they act.

    Args:
        spec: ``none``, or names of operations, ``basic`` and ``randaugment``, as a list or separated by commas.

    Raises:
        UserError: A name is unknown, has no meaning for channels, or comes twice.
    """
    names = [name.strip() for name in (spec.split(",") if isinstance(spec, str) else spec)]
    if names == ["none"]:
        return []
    known = ["none", "basic", "randaugment", *OPERATIONS]
    for name in names:
        if reason := _REFUSED.get(name):
            raise UserError(f"--data.augment: {name} {reason}")
        if name not in known:
            raise UserError(
                f"--data.augment: no operation {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}"
            )
        if name == "none":
            raise UserError(f"--data.augment none stands alone, got {', '.join(names)}")
    own = [each for name in names if name != "randaugment" for each in (_BASIC if name == "basic" else (name,))]
    if len(set(own)) < len(own) or names.count("randaugment") > 1:
        raise UserError(f"--data.augment {', '.join(names)}: an operation comes twice; basic has {', '.join(_BASIC)}")
    steps = []
    for name in names:
        if name == "randaugment":
            # In the order of the table: geometry first, frequencies last.
            steps += [Step(each, _STRENGTH, True) for each in OPERATIONS if each in _RANDAUGMENT]
        else:
            steps += [Step(each) for each in (_BASIC if name == "basic" else (name,))]
    return steps


class Augmentation:
    """Applies ``--data.augment`` to batches of training images, on their device.

    What happens to an image depends only on (seed, epoch, index), and is the same for channels and pixels.

    Args:
        spec: As in :func:`parse_augment`.
        channel_set: The channels of the network's input; ignored for RGB.
        input: ``channels`` or ``rgb``.
        seed: Seed of the data.

    Attributes:
        read: The channels to read for training: those of the input, and those that an operation mixes with them.

    Raises:
        UserError: As :func:`parse_augment`.
    """

    def __init__(
        self, spec: str | Sequence[str], channel_set: ChannelSet, input: Literal["channels", "rgb"], seed: int
    ) -> None:
        self.steps, self.seed, self._given = parse_augment(spec), seed, channel_set
        self.read = channel_set
        for step in self.steps:
            if mixed := mixed_channels(self.read.indices, step.name) - set(self.read.indices):
                self.read = ChannelSet(channel_set.name, tuple(sorted({*self.read.indices, *mixed})))
        self._positions = [self.read.indices.index(index) for index in channel_set.indices]
        self._on: Operations = PixelOperations() if input == "rgb" else ChannelOperations(self.read.indices)

    def check_store(self, stored: Sequence[int], root: object) -> None:
        """Checks that a packed store has all channels that the operations mix with those of the input.

        Raises:
            UserError: It lacks some. Names the operation and the channels.
        """
        for step in self.steps:
            if lacking := sorted(mixed_channels(self._given.indices, step.name) - set(stored)):
                raise UserError(
                    f"--data.augment: {step.name} mixes the channels with {len(lacking)} that {root} does not have, "
                    f"such as {lacking[0]}; leave {step.name} out, pack them too, or train from the photographs"
                )

    def draw(self, epoch: int, indices: np.ndarray) -> np.ndarray | None:
        """Draws the random numbers of some samples, (N, count); None without augmentation."""
        if not self.steps:
            return None
        count = sum(1 + OPERATIONS[step.name].numbers for step in self.steps)
        return uniform(self.seed, epoch, indices, count)

    def __call__(self, x: Tensor, numbers: np.ndarray | None) -> Tensor:
        """Augments channels in the order of ``read``, or RGB 0 … 255, and selects the channels of the input.

        Args:
            x: The images.
            numbers: From :meth:`draw`; None augments nothing.

        Shape:
            - x: (N, C, H, W)
            - output: (N, K, H, W)
        """
        if not len(x):  # no file of the batch could be read
            return x
        if numbers is not None:
            level = 128 if isinstance(self._on, PixelOperations) else 0
            x = self._augment(x - level, torch.from_numpy(numbers)) + level
        if isinstance(self._on, PixelOperations) or self.read is self._given:
            return x
        return x[:, self._positions]

    def _augment(self, x: Tensor, numbers: Tensor) -> Tensor:
        rows = [OPERATIONS[step.name] for step in self.steps]
        gates, *parts = numbers.split([len(rows), *(row.numbers for row in rows)], 1)
        active = gates < torch.tensor([row.probability for row in rows])
        if pool := [place for place, step in enumerate(self.steps) if step.is_chosen]:
            active[:, pool] = gates[:, pool].argsort(1).argsort(1) < _CHOSEN  # those with the smallest numbers
        for place, (step, row, u) in enumerate(zip(self.steps, rows, parts, strict=True)):
            chosen = active[:, place].nonzero().flatten()
            if len(chosen) == len(x):
                x = row.act(self._on, x, u, step.strength)
            elif len(chosen):
                there = chosen.to(x.device)
                x = x.index_copy(0, there, row.act(self._on, x.index_select(0, there), u[chosen], step.strength))
        return x
