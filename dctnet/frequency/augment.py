"""Augmentation of images in the DCT domain: each operation maps the channels that a set has to the same channels.

Every operation is linear in an image and, but for hue, turns and transposition, scales or moves each channel by itself.
The same operations on pixels are in ``dctnet.data.augment_pixels``.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from dctnet.frequency.channels import PER_COMPONENT
from dctnet.frequency.dct import BLOCK, flip_blocks

_LUMA_DC = 0


class ChannelOperations:
    """Operations on channels (N, K, rows, columns) of a set; no operation changes its input.

    Args:
        indices: Channel indices, 64·component + 8·v + u. ``hue`` needs the same frequencies of Cb and Cr, ``turn`` and
            ``transpose`` need (u, v) with each (v, u): see :func:`mixed_channels`.
    """

    unit = 1  # a block is one position

    def __init__(self, indices: Sequence[int]) -> None:
        self.indices = list(indices)

    def brightness(self, x: Tensor, factor: Tensor) -> Tensor:
        """Multiplies R, G and B by a factor (N,): all channels, and the level shift of 128 in the DC of Y."""
        return self._shift_luma(x * _each(factor, x), 128 * BLOCK * (factor - 1))

    def contrast(self, x: Tensor, factor: Tensor) -> Tensor:
        """Multiplies the differences from the image's mean luma by a factor (N,)."""
        scaled = x * _each(factor, x)
        if _LUMA_DC not in self.indices:
            return scaled
        mean = x[:, self.indices.index(_LUMA_DC)].mean((1, 2))
        return self._shift_luma(scaled, mean * (1 - factor.to(x)))

    def saturation(self, x: Tensor, factor: Tensor) -> Tensor:
        """Multiplies Cb and Cr by a factor (N,); 0 is grey."""
        is_chroma = torch.tensor(self.indices, device=x.device) >= PER_COMPONENT
        return x * torch.where(is_chroma[:, None, None], _each(factor, x), 1)

    def hue(self, x: Tensor, angle: Tensor) -> Tensor:
        """Rotates (Cb, Cr) by an angle (N,) in radians."""
        cb = [place for place, index in enumerate(self.indices) if index // PER_COMPONENT == 1]
        cr = [self.indices.index(self.indices[place] + PER_COMPONENT) for place in cb]
        cos, sin = _each(angle.cos(), x), _each(angle.sin(), x)
        rotated = torch.cat([cos * x[:, cb] - sin * x[:, cr], sin * x[:, cb] + cos * x[:, cr]], 1)
        return x.index_copy(1, torch.tensor([*cb, *cr], dtype=torch.long, device=x.device), rotated)

    def sharpness(self, x: Tensor, factor: Tensor) -> Tensor:
        """Blends blocks with their 3×3 smoothing: a factor (N,) of 0 smooths, 1 changes nothing, 2 sharpens."""
        factor = factor[:, None]
        return self._weigh(x, factor + (1 - factor) * _smoothing_gain())

    def blur(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Convolves blocks with a Gaussian of five taps and a standard deviation (N,) in pixels."""
        waves = torch.cos(torch.pi / BLOCK * torch.arange(-2, 3)[:, None] * torch.arange(BLOCK))
        gain = gaussian_taps(sigma) @ waves
        return self._weigh(x, (gain[:, :, None] * gain[:, None, :]).flatten(1))

    def drop_frequencies(self, x: Tensor, kept: Tensor) -> Tensor:
        """Removes the frequencies, of all components, that are false in (N, 64), 8·v + u."""
        return self._weigh(x, kept)

    def horizontal_flip(self, x: Tensor) -> Tensor:
        """Mirrors left and right: reverses the columns of blocks and negates odd horizontal frequencies."""
        return flip_blocks(x, self.indices, torch.ones(len(x), dtype=torch.bool, device=x.device))

    def vertical_flip(self, x: Tensor) -> Tensor:
        """Mirrors top and bottom: reverses the rows of blocks and negates odd vertical frequencies."""
        signs = torch.tensor([1 - 2 * (i // BLOCK % 2) for i in self.indices], device=x.device)
        return x.flip(-2) * signs[:, None, None]

    def transpose(self, x: Tensor) -> Tensor:
        """Mirrors along the main diagonal: transposes the blocks and swaps (v, u)."""
        return x.mT[:, [self.indices.index(_transposed(i)) for i in self.indices]]

    def turn(self, x: Tensor, quarters: Tensor) -> Tensor:
        """Turns by 1, 2 or 3 times 90° (N,) counterclockwise, as ``torch.rot90``."""
        first = {1: self.transpose, 2: self.vertical_flip, 3: self.transpose}
        second = {1: self.vertical_flip, 2: self.horizontal_flip, 3: self.horizontal_flip}
        turned = torch.empty_like(x)
        for quarter in (1, 2, 3):
            chosen = (quarters == quarter).nonzero().flatten().to(x.device)
            turned.index_copy_(0, chosen, second[quarter](first[quarter](x.index_select(0, chosen))))
        return turned

    def shift(self, x: Tensor, down: Tensor, right: Tensor) -> Tensor:
        """Moves images by whole blocks, (N,) each; what comes in is grey."""
        return shift_grid(x, down, right)

    def erase(self, x: Tensor, box: Tensor) -> Tensor:
        """Makes a box of whole blocks grey: top, left, bottom, right (N, 4), in blocks."""
        return erase_grid(x, box)

    def _weigh(self, x: Tensor, gain: Tensor) -> Tensor:
        """Multiplies each frequency by a gain (N, 64), the same for all components."""
        return x * gain.to(x)[:, [i % PER_COMPONENT for i in self.indices], None, None]

    def _shift_luma(self, x: Tensor, offset: Tensor) -> Tensor:
        """Adds an offset (N,) to the DC of Y, in place."""
        if _LUMA_DC in self.indices:
            x[:, self.indices.index(_LUMA_DC)] += offset.to(x)[:, None, None]
        return x


def mixed_channels(indices: Sequence[int], operation: str) -> set[int]:
    """The channels that an operation mixes with some channels: those that it needs to compute them, with them.

    Args:
        indices: Channel indices.
        operation: Name of a method of :class:`ChannelOperations`.
    """
    own = set(indices)
    if operation == "hue":
        return own | {3 * PER_COMPONENT - i + 2 * (i % PER_COMPONENT) for i in own if i >= PER_COMPONENT}
    if operation in ("turn", "transpose"):
        return own | {_transposed(i) for i in own}
    return own


def _transposed(index: int) -> int:
    component, frequency = divmod(index, PER_COMPONENT)
    v, u = divmod(frequency, BLOCK)
    return component * PER_COMPONENT + u * BLOCK + v


def gaussian_taps(sigma: Tensor) -> Tensor:
    """Weights of a Gaussian at −2 … 2 with standard deviations (N,) in pixels, which sum to 1: (N, 5)."""
    return (-torch.arange(-2, 3).square() / (2 * sigma[:, None].clamp(min=1e-3).square())).softmax(1)


@functools.cache
def _smoothing_gain() -> Tensor:
    """Gain (64,) of the kernel [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13 at each frequency of a block."""
    box = 1 + 2 * torch.cos(torch.pi / BLOCK * torch.arange(BLOCK))  # of the three ones along an axis
    return ((box[:, None] * box[None, :] + 4) / 13).flatten()


def shift_grid(grid: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Moves (N, C, H, W) by (N,) rows down and (N,) columns to the right, and fills with 0."""
    for axis, distance in ((2, down), (3, right)):
        places = torch.arange(grid.shape[axis]) - distance[:, None]
        inside = (places >= 0) & (places < grid.shape[axis])
        shape = (len(grid), 1, -1, 1) if axis == 2 else (len(grid), 1, 1, -1)
        taken = places.clamp(0, grid.shape[axis] - 1).view(shape).to(grid.device).expand_as(grid)
        grid = grid.gather(axis, taken) * inside.view(shape).to(grid)
    return grid


def erase_grid(grid: Tensor, box: Tensor) -> Tensor:
    """Sets a box of (N, C, H, W) to 0: top, left, bottom, right (N, 4)."""
    top, left, bottom, right = box[..., None].unbind(1)
    rows, columns = torch.arange(grid.shape[2]), torch.arange(grid.shape[3])
    inside = ((rows >= top) & (rows < bottom))[:, :, None] & ((columns >= left) & (columns < right))[:, None, :]
    return grid.masked_fill(inside[:, None].to(grid.device), 0)


def _each(value: Tensor, like: Tensor) -> Tensor:
    """A number for each image (N,), to multiply with (N, K, H, W)."""
    return value.to(like)[:, None, None, None]
