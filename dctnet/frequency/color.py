"""JFIF colour conversion between RGB and YCbCr, full range."""

import torch
from torch import Tensor

from dctnet.errors import UserError

# Luma weights of ITU-R BT.601, with the digits of T.871.
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114


def _convert(image: Tensor, rows: list[list[float]]) -> Tensor:
    if image.shape[-3] != 3 or not image.is_floating_point():
        raise UserError(f"image must be a floating-point (..., 3, H, W), got {image.dtype} {tuple(image.shape)}")
    matrix = torch.tensor(rows, dtype=image.dtype, device=image.device)
    return torch.einsum("ij,...jhw->...ihw", matrix, image)


def rgb_to_ycbcr(image: Tensor) -> Tensor:
    """RGB to Y, Cb, Cr.

    Args:
        image: R, G, B, 0 … 255, floating point.

    Returns:
        Y, Cb, Cr, 0 … 255, neither rounded nor clamped; grey has Cb = Cr = 128.

    Shape:
        - image: (..., 3, H, W)
        - output: (..., 3, H, W)

    Raises:
        UserError: Not three planes, or not floating point.

    Source: ITU-T T.871 (JFIF, 2011), clause 7.
    """
    cb, cr = 2 * (1 - _BLUE), 2 * (1 - _RED)
    rows = [
        [_RED, _GREEN, _BLUE],
        [-_RED / cb, -_GREEN / cb, (1 - _BLUE) / cb],
        [(1 - _RED) / cr, -_GREEN / cr, -_BLUE / cr],
    ]
    offset = image.new_tensor([0.0, 128.0, 128.0])[:, None, None]
    return _convert(image, rows) + offset


def ycbcr_to_rgb(planes: Tensor) -> Tensor:
    """Y, Cb, Cr to RGB.

    Args:
        planes: Y, Cb, Cr, 0 … 255, floating point.

    Returns:
        R, G, B, clamped to 0 … 255 because YCbCr has colours outside of RGB; not rounded.

    Shape:
        - planes: (..., 3, H, W)
        - output: (..., 3, H, W)

    Raises:
        UserError: Not three planes, or not floating point.

    Source: ITU-T T.871 (JFIF, 2011), clause 7.
    """
    cb, cr = 2 * (1 - _BLUE), 2 * (1 - _RED)
    rows = [[1.0, 0.0, cr], [1.0, -cb * _BLUE / _GREEN, -cr * _RED / _GREEN], [1.0, cb, 0.0]]
    offset = planes.new_tensor([0.0, 128.0, 128.0])[:, None, None]
    return _convert(planes - offset, rows).clamp(0, 255)
