"""Augmentation of RGB: the operations of ``dctnet.frequency.augment`` on pixels, for networks that read pixels.

Brightness, contrast, saturation and sharpness are those of ``torchvision.transforms.v2``, with a factor for each image.
Nothing is clamped to 0 … 255, because channels cannot be: the block DCT of the result is the augmented channels. Only
sharpness and blur differ from them, at the borders of blocks, where channels have no neighbours.
"""

import functools

import torch
from torch import Tensor

from dctnet.frequency.augment import erase_grid, gaussian_taps, shift_grid
from dctnet.frequency.color import rgb_to_ycbcr
from dctnet.frequency.dct import BLOCK, block_dct, inverse_block_dct


class PixelOperations:
    """Operations on level-shifted RGB (N, 3, H, W), −128 … 127; no operation changes its input.

    The arguments are those of :class:`~dctnet.frequency.augment.ChannelOperations`.
    """

    unit = BLOCK  # pixels along a block

    def brightness(self, x: Tensor, factor: Tensor) -> Tensor:
        """Multiplies R, G and B."""
        factor = _each(factor, x)
        return x * factor + 128 * (factor - 1)

    def contrast(self, x: Tensor, factor: Tensor) -> Tensor:
        """Multiplies the differences from the mean luma."""
        return _blend(x, _luma(x).mean((2, 3), keepdim=True), factor)

    def saturation(self, x: Tensor, factor: Tensor) -> Tensor:
        """Multiplies the differences from the luma of each pixel."""
        return _blend(x, _luma(x), factor)

    def hue(self, x: Tensor, angle: Tensor) -> Tensor:
        """Rotates (Cb, Cr). torchvision's hue turns HSV, which is not linear and changes the luma."""
        luma, cb, cr = _to_ycbcr()
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        rotated = torch.stack([luma.expand(len(x), 3), cos * cb - sin * cr, sin * cb + cos * cr], 1)
        return ((torch.linalg.inv(_to_ycbcr()) @ rotated).to(x) @ x.flatten(2)).view_as(x)

    def sharpness(self, x: Tensor, factor: Tensor) -> Tensor:
        """Blends with the 3×3 smoothing [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13; the image is mirrored at its edges."""
        return _blend(x, (_convolve(x, torch.ones(1, 3)) + 4 * x) / 13, factor)

    def blur(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Convolves with a Gaussian of five taps; the image is mirrored at its edges."""
        return _convolve(x, gaussian_taps(sigma))

    def drop_frequencies(self, x: Tensor, kept: Tensor) -> Tensor:
        """Removes frequencies from 8×8 blocks."""
        return inverse_block_dct(block_dct(x) * kept.to(x)[:, None, :, None, None])

    def vertical_flip(self, x: Tensor) -> Tensor:
        """Mirrors top and bottom."""
        return x.flip(-2)

    def transpose(self, x: Tensor) -> Tensor:
        """Mirrors along the main diagonal."""
        return x.mT

    def turn(self, x: Tensor, quarters: Tensor) -> Tensor:
        """Turns by a number of 90° counterclockwise."""
        pairs = zip(x, quarters.tolist(), strict=True)
        return torch.stack([one.rot90(quarter, (-2, -1)) for one, quarter in pairs])

    def shift(self, x: Tensor, down: Tensor, right: Tensor) -> Tensor:
        """Moves by whole blocks of 8 pixels."""
        return shift_grid(x, BLOCK * down, BLOCK * right)

    def erase(self, x: Tensor, box: Tensor) -> Tensor:
        """Makes a box of whole blocks grey."""
        return erase_grid(x, BLOCK * box)


@functools.cache
def _to_ycbcr() -> Tensor:
    """The matrix (3, 3), float64, from level-shifted R, G, B to level-shifted Y, Cb, Cr."""
    primaries = torch.eye(3, dtype=torch.float64)[:, :, None, None]
    return (rgb_to_ycbcr(primaries) - rgb_to_ycbcr(0 * primaries)).flatten(1).mT


def _luma(x: Tensor) -> Tensor:
    red, green, blue = _to_ycbcr()[0].tolist()
    return red * x[:, 0:1] + green * x[:, 1:2] + blue * x[:, 2:3]


def _blend(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Mean of two images, in which ``x`` has a share (N,)."""
    return other + _each(share, x) * (x - other)


def _convolve(x: Tensor, taps: Tensor) -> Tensor:
    """Convolves rows and columns with an odd number of symmetric taps, (N, T) or (1, T).

    The edges are continued by mirror images, which repeat the outermost sample: symmetric extension.
    """
    reach = taps.shape[1] // 2
    for axis in (2, 3):
        length = x.shape[axis]
        start, end = x.narrow(axis, 0, reach).flip(axis), x.narrow(axis, length - reach, reach).flip(axis)
        padded = torch.cat([start, x, end], axis)
        parts = [padded.narrow(axis, n, length) * _each(tap, x) for n, tap in enumerate(taps.T)]
        x = functools.reduce(torch.add, parts)
    return x


def _each(value: Tensor, like: Tensor) -> Tensor:
    return value.to(like)[:, None, None, None]
