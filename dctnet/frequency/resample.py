"""Crop, resize and block DCT as one linear map, computed for the kept frequencies only."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK, basis_rows, split_axes


def resampled_dct(
    planes: Tensor,
    boxes: Tensor,
    blocks: tuple[int, int],
    frequencies: Sequence[int],
    sizes: Tensor | None = None,
) -> Tensor:
    """Block DCT of boxes resized to a grid of blocks, without computing the resized pixels.

    Each output block depends on a few rows and columns of samples around it. Along each axis, the antialiased bilinear
    weights of these samples (as in Pillow and torchvision) and the DCT are combined into one small matrix per block.
    Nothing is rounded in between: resizing to 8-bit pixels first would change a coefficient by at most 4 (half a level
    in all 64 samples), with a standard deviation of 0.3.

    Args:
        planes: Samples, 0 … 255.
        boxes: Left, top, right, bottom of each plane's box, in samples; may be fractions.
        blocks: Rows and columns of blocks of the output.
        frequencies: Those to compute, 8·v + u, in the order of the output.
        sizes: Height and width of each plane without padding. Default: all planes have the full size.

    Returns:
        Coefficients of the level-shifted samples (−128), in the scale of :func:`~dctnet.frequency.dct.block_dct`.

    Shape:
        - planes: (N, H, W), uint8 or floating point
        - boxes: (N, 4)
        - sizes: (N, 2)
        - output: (N, F, rows, columns), float32

    Raises:
        UserError: ``planes`` has other dimensions, or a frequency is outside 0…63.
    """
    if planes.ndim != 3:
        raise UserError(f"planes must have shape (N, H, W), got {tuple(planes.shape)}")
    axes = split_axes(tuple(frequencies))
    count, device, (rows, columns) = len(planes), planes.device, blocks
    lengths = torch.tensor([planes.shape[1:]], device=device) if sizes is None else sizes
    edges = boxes.to(device, torch.float64)[:, [1, 0, 3, 2]].view(count, 2, 2)  # (start, stop) × (down, across)
    if rows == columns:
        (down, across), (top, left) = (t.unbind(1) for t in _weights(edges, lengths, rows))
    else:
        down, top = (t[:, 0] for t in _weights(edges[:, :, :1], lengths[:, :1], rows))
        across, left = (t[:, 0] for t in _weights(edges[:, :, 1:], lengths[:, 1:], columns))
    with torch.autocast(device.type, enabled=False):
        vertical, horizontal = (basis_rows(torch.float32, device, f) for f in (axes.vertical, axes.horizontal))
        part, top, left = _touched(planes, top, down.shape[-1], left, across.shape[-1])
        part = ((vertical @ down).flatten(0, 1) @ _taps(part, top, down.shape[-1])).view(
            count, rows * len(axes.vertical), -1
        )
        grid = (horizontal @ across).flatten(0, 1) @ _taps(part.mT.contiguous(), left, across.shape[-1])
    grid = grid.view(count, columns, len(axes.horizontal), rows, len(axes.vertical)).permute(0, 4, 2, 3, 1)
    coefficients = axes.select(grid.flatten(1, 2))
    if 0 in frequencies:
        coefficients[:, list(frequencies).index(0)] -= 128 * BLOCK
    return coefficients


def _touched(planes: Tensor, top: Tensor, tall: int, left: Tensor, wide: int) -> tuple[Tensor, Tensor, Tensor]:
    """The part of the planes under the taps of any box, and the positions of the first taps in it."""
    (y, bottom), (x, right) = ((int(end) for end in first.aminmax()) for first in (top, left))
    return planes[:, y : bottom + tall, x : right + wide], top - y, left - x


def _taps(planes: Tensor, first: Tensor, taps: int) -> Tensor:
    """The rows of planes (N, H, W) under the taps of each block, from its first (N, blocks): (N·blocks, taps, W)."""
    count, height, width = planes.shape
    # Taps beyond the plane have weight 0, but need a valid index.
    places = (first.unsqueeze(-1) + torch.arange(taps, device=planes.device)).clamp_(max=height - 1)
    if count > 1:
        places += torch.arange(0, count * height, height, device=planes.device)[:, None, None]
    return planes.reshape(-1, width).index_select(0, places.view(-1)).view(-1, taps, width).float()


def _weights(edges: Tensor, lengths: Tensor, blocks: int) -> tuple[Tensor, Tensor]:
    """Weights of the input samples (taps) of each block for each of its 8 output samples, along some axes.

    From the start and end of each box (N, 2, axes), and the samples along each axis (N or 1, axes): the weights
    (N, axes, blocks, 8, taps), and the position of the first tap (N, axes, blocks).
    """
    start, stop = edges.unbind(1)
    scale = (stop - start) / (blocks * BLOCK)
    support = scale.clamp(min=1.0)
    taps = math.ceil(float(((BLOCK - 1) * scale + 2 * support).max())) + 1
    middles = torch.arange(0.5, blocks * BLOCK, BLOCK, device=edges.device, dtype=torch.float64)
    centre = torch.addcmul(start[..., None], scale[..., None], middles)  # of each block's first sample
    first = (
        (centre - (support[..., None] - 0.5)).floor_().clamp_(min=0).minimum((lengths - taps).clamp(min=0)[..., None])
    )
    # Relative to the first tap of each block the numbers are small enough for float32.
    step, reach = scale.float()[..., None, None, None], (-1 / support).float()[..., None, None, None]
    samples = torch.arange(BLOCK, device=edges.device)[:, None] * step
    distance = (centre - first).float()[..., None, None] + samples - torch.arange(0.5, taps, device=edges.device)
    weights = distance.abs_().mul_(reach).add_(1).clamp_(min=0)
    if taps > int(lengths.min()):
        beyond = torch.arange(taps, device=edges.device) >= (lengths[..., None] - first)[..., None, None]
        weights = weights.masked_fill(beyond, 0)
    return weights.div_(weights.sum(-1, keepdim=True)), first.long()
