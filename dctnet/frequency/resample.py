"""Crop, resize, flip and block DCT as one linear map, of which only the kept frequencies are computed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK, basis_rows, flip_blocks, split_axes


def resampled_dct(
    planes: Tensor,
    boxes: Tensor,
    blocks: tuple[int, int],
    frequencies: Sequence[int],
    sizes: Tensor | None = None,
    flip: Tensor | None = None,
) -> Tensor:
    """Block DCT of boxes resized to a grid of blocks, without making the resized pixels.

    Each output block depends on a few rows and columns of samples around it: their antialiased bilinear weights (those
    of Pillow and torchvision) times the rows of the DCT is one small matrix a block and axis. Nothing is rounded on the
    way, so against resize, round to 8 bits, transform the result differs by that rounding: at most 4 a coefficient (half
    a level in all 64 samples), 0.3 in standard deviation.

    Args:
        planes: Samples, 0 … 255.
        boxes: Left, top, right, bottom of each plane's box, in samples; need not be whole numbers.
        blocks: Rows and columns of blocks that the box becomes.
        frequencies: The frequencies wanted, 8·v + u, in the order wanted.
        sizes: Height and width of each plane, where planes of several sizes were padded to one.
        flip: Which to mirror left and right, before the DCT.

    Returns:
        Coefficients of the level-shifted samples (−128), as :func:`~dctnet.frequency.dct.block_dct` scales them.

    Shape:
        - planes: (N, H, W), uint8 or floating point
        - boxes: (N, 4)
        - sizes: (N, 2)
        - flip: (N,)
        - output: (N, F, rows, columns), float32

    Raises:
        UserError: ``planes`` has other dimensions, or a frequency lies outside 0…63.
    """
    if planes.ndim != 3:
        raise UserError(f"planes must have shape (N, H, W), got {tuple(planes.shape)}")
    axes = split_axes(tuple(frequencies))
    count, device, (rows, columns) = len(planes), planes.device, blocks
    boxes = boxes.to(device, torch.float64)
    height, width = (planes.shape[1], planes.shape[2]) if sizes is None else sizes.to(device).unbind(1)
    down, top = _axis(boxes[:, 1], boxes[:, 3], height, rows, axes.vertical)
    across, left = _axis(boxes[:, 0], boxes[:, 2], width, columns, axes.horizontal)
    with torch.autocast(device.type, enabled=False):
        part, top, left = _touched(planes, top, down.shape[-1], left, across.shape[-1])
        part = (down @ _taps(part, top, down.shape[-1])).view(count, rows * len(axes.vertical), -1)
        grid = across @ _taps(part.mT.contiguous(), left, across.shape[-1])
    grid = grid.view(count, columns, len(axes.horizontal), rows, len(axes.vertical)).permute(0, 4, 2, 3, 1)
    coefficients = grid.flatten(1, 2)
    if not axes.is_grid:
        coefficients = coefficients[:, list(axes.places)]
    if 0 in frequencies:
        coefficients[:, list(frequencies).index(0)] -= 128 * BLOCK
    return coefficients if flip is None else flip_blocks(coefficients, frequencies, flip)


def _touched(planes: Tensor, top: Tensor, tall: int, left: Tensor, wide: int) -> tuple[Tensor, Tensor, Tensor]:
    """The part of the planes that any box touches, as float32, and the places of first taps in it."""
    (y, bottom), (x, right) = ((int(end) for end in first.aminmax()) for first in (top, left))
    return planes[:, y : bottom + tall, x : right + wide].float(), top - y, left - x


def _taps(planes: Tensor, first: Tensor, taps: int) -> Tensor:
    """The rows of planes (N, H, W) under each block's taps: (N·blocks, taps, W), from first (N, blocks)."""
    count, height, width = planes.shape
    places = first.unsqueeze(-1) + torch.arange(taps, device=planes.device)
    if count > 1:
        places += torch.arange(0, count * height, height, device=planes.device)[:, None, None]
    return planes.reshape(-1, width).index_select(0, places.view(-1)).view(-1, taps, width)


def _axis(
    start: Tensor, stop: Tensor, length: Tensor | int, blocks: int, frequencies: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """The map along one axis.

    Args:
        start: Where each box begins, (N,).
        stop: Where it ends, (N,).
        length: Samples on the axis, one number or (N,).
        blocks: Blocks that the box becomes.
        frequencies: Frequencies along this axis.

    Returns:
        Matrices (N·blocks, F, taps), and the place (N, blocks) of the first sample that each applies to.
    """
    device = start.device
    scale = ((stop - start) / (blocks * BLOCK))[:, None]
    support = scale.clamp(min=1.0)
    shortest = int(length if isinstance(length, int) else length.min())
    taps = min(math.ceil(float(((BLOCK - 1) * scale + 2 * support).max())) + 1, shortest)
    centre = start[:, None] + scale * torch.arange(0.5, blocks * BLOCK, BLOCK, device=device, dtype=torch.float64)
    first = (centre - (support - 0.5)).floor_().clamp_(min=0)
    first = first.clamp_(max=length - taps) if isinstance(length, int) else first.minimum((length - taps)[:, None])
    # Counted from each block's first tap the numbers are small, and float32 is exact enough.
    outputs = (centre - first)[..., None] + scale[..., None] * torch.arange(BLOCK, device=device)
    weights = outputs.float()[..., None] - torch.arange(0.5, taps, device=device)
    weights = weights.abs_().mul_(-1 / support.float()[..., None, None]).add_(1).clamp_(min=0)
    weights /= weights.sum(-1, keepdim=True)
    matrices = basis_rows(torch.float32, device, frequencies) @ weights.flatten(0, 1)
    return matrices, first.long()
