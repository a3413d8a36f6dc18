"""JFIF colour conversion between RGB and YCbCr, full range."""

import torch
from torch import Tensor

from dctnet.errors import UserError

# Luma weights of ITU-R BT.601, with the digits of T.871.
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114
_CB, _CR = 2 * (1 - _BLUE), 2 * (1 - _RED)  # ranges of B - Y and R - Y


def _convert(image: Tensor, rows: list[list[float]]) -> Tensor:
    if image.shape[-3] != 3 or not image.is_floating_point():
        raise UserError(f"image must be a floating-point (..., 3, H, W), got {image.dtype} {tuple(image.shape)}")
    matrix = torch.tensor(rows, dtype=image.dtype, device=image.device)
    return torch.einsum("ij,...jhw->...ihw", matrix, image)


def rgb_to_ycbcr(image: Tensor) -> Tensor:
    """R, G, B to Y, Cb, Cr, both 0 … 255, neither rounded nor clamped; grey has Cb = Cr = 128.

    Shape:
        - image, output: (..., 3, H, W), floating point

    Raises:
        UserError: Not three planes, or not floating point.

    Source: ITU-T T.871 (JFIF, 2011), clause 7.
    """
    rows = [
        [_RED, _GREEN, _BLUE],
        [-_RED / _CB, -_GREEN / _CB, (1 - _BLUE) / _CB],
        [(1 - _RED) / _CR, -_GREEN / _CR, -_BLUE / _CR],
    ]
    offset = image.new_tensor([0.0, 128.0, 128.0])[:, None, None]
    return _convert(image, rows) + offset


def ycbcr_to_rgb(planes: Tensor, clamp: bool = True) -> Tensor:
    """Y, Cb, Cr to R, G, B, both 0 … 255, not rounded.

    Args:
        planes: Y, Cb, Cr.
        clamp: Clamps the result to 0 … 255, because YCbCr has colours outside of RGB.

    Shape:
        - planes, output: (..., 3, H, W), floating point

    Raises:
        UserError: Not three planes, or not floating point.

    Source: ITU-T T.871 (JFIF, 2011), clause 7.
    """
    rows = [[1.0, 0.0, _CR], [1.0, -_CB * _BLUE / _GREEN, -_CR * _RED / _GREEN], [1.0, _CB, 0.0]]
    offset = planes.new_tensor([0.0, 128.0, 128.0])[:, None, None]
    rgb = _convert(planes - offset, rows)
    return rgb.clamp(0, 255) if clamp else rgb
