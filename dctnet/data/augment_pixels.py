"""Augmentation of RGB: the operations of ``dctnet.frequency.augment`` on pixels, for networks that read pixels.

Brightness, contrast, saturation and sharpness are those of ``torchvision.transforms.v2``, with a factor for each image.
Nothing is clamped to 0 … 255, because channels cannot be: the block DCT of the result is the augmented channels. Only
sharpness and blur differ from them, at the borders of blocks, where channels have no neighbours.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dctnet.frequency.augment import erase_grid, gaussian_taps, rotate, shift_grid
from dctnet.frequency.color import rgb_to_ycbcr, ycbcr_to_rgb
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
        luma, cb, cr = (rgb_to_ycbcr(x + 128) - 128).split(1, 1)
        return ycbcr_to_rgb(torch.cat([luma, *rotate(cb, cr, angle)], 1) + 128, clamp=False) - 128

    def sharpness(self, x: Tensor, factor: Tensor) -> Tensor:
        """Blends with the 3×3 smoothing [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13; the image is mirrored at its edges."""
        box = 9 * F.avg_pool2d(_mirror(x, 1), 3, 1)
        return _blend(x, (box + 4 * x) / 13, factor)

    def blur(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Convolves with a Gaussian of five taps; the image is mirrored at its edges."""
        taps, padded = gaussian_taps(sigma).to(x), _mirror(x, 2)
        rows = torch.einsum("nchwk,nk->nchw", padded.unfold(2, 5, 1), taps)
        return torch.einsum("nchwk,nk->nchw", rows.unfold(3, 5, 1), taps)

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


def _luma(x: Tensor) -> Tensor:
    return rgb_to_ycbcr(x)[:, :1]  # level-shifted, as x: the weights sum to 1


def _blend(x: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Mean of two images, in which ``x`` has a share (N,)."""
    return other + _each(share, x) * (x - other)


def _mirror(x: Tensor, width: int) -> Tensor:
    """Adds mirror images of ``width`` samples at all edges: symmetric extension, which repeats the outermost sample."""
    x = torch.cat([x[:, :, :width].flip(2), x, x[:, :, -width:].flip(2)], 2)
    return torch.cat([x[..., :width].flip(3), x, x[..., -width:].flip(3)], 3)


def _each(value: Tensor, like: Tensor) -> Tensor:
    return value.to(like)[:, None, None, None]
