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
    lengths = torch.tensor([planes.shape[1:]]) if sizes is None else sizes
    return Resampling(planes.shape, boxes, lengths, blocks, tuple(frequencies), planes.device)(planes)


class Resampling:
    """The linear map of :func:`resampled_dct` for some boxes, which other planes of the same shape can share.

    Args:
        shape: Of the planes, (N, H, W).
        boxes: As for :func:`resampled_dct`.
        sizes: Height and width without padding, of each plane or of all: (N or 1, 2).
        blocks: Rows and columns of blocks of the output.
        frequencies: Those to compute.
        device: Of the planes.

    Raises:
        UserError: A frequency is outside 0…63.
    """

    def __init__(
        self,
        shape: Sequence[int],
        boxes: Tensor,
        sizes: Tensor,
        blocks: tuple[int, int],
        frequencies: tuple[int, ...],
        device: torch.device,
    ) -> None:
        self.axes, self.frequencies, self.blocks = split_axes(frequencies), frequencies, blocks
        (count, height, width), (rows, columns), sizes = shape, blocks, sizes.to(device)
        edges = boxes.to(device, torch.float64)[:, [1, 0, 3, 2]].view(count, 2, 2)  # (start, stop) × (down, across)
        if rows == columns:
            (down, across), (top, left) = (t.unbind(1) for t in _weights(edges, sizes, rows))
        else:
            down, top = (t[:, 0] for t in _weights(edges[:, :, :1], sizes[:, :1], rows))
            across, left = (t[:, 0] for t in _weights(edges[:, :, 1:], sizes[:, 1:], columns))
        v, u = (basis_rows(torch.float32, device, own) for own in (self.axes.vertical, self.axes.horizontal))
        with torch.autocast(device.type, enabled=False):
            self.down, self.across = (v @ down).flatten(0, 1), (u @ across).flatten(0, 1)
        self.rows, self.top = _touched(top, down.shape[-1], height)
        self.columns, self.left = _touched(left, across.shape[-1], width)

    def __call__(self, planes: Tensor) -> Tensor:
        """Coefficients (N, F, rows, columns), float32, of planes (N, H, W)."""
        count, (rows, columns) = len(planes), self.blocks
        vertical, horizontal = len(self.axes.vertical), len(self.axes.horizontal)
        part = planes[:, self.rows, self.columns]
        with torch.autocast(planes.device.type, enabled=False):
            lines = (self.down @ _taps(part, self.top)).view(count, rows * vertical, -1)
            grid = self.across @ _taps(lines.mT.contiguous(), self.left)
        grid = grid.view(count, columns, horizontal, rows, vertical).permute(0, 4, 2, 3, 1)
        coefficients = self.axes.select(grid.flatten(1, 2))
        if 0 in self.frequencies:
            coefficients[:, self.frequencies.index(0)] -= 128 * BLOCK
        return coefficients


def _touched(first: Tensor, taps: int, length: int) -> tuple[slice, Tensor]:
    """Along one axis, the part of the planes under the taps of any box, and where each block's taps are in it.

    From the first tap of each block (N, blocks): the part, and positions (N·blocks, taps) in the parts of all planes
    one after the other.
    """
    start, last = (int(end) for end in first.aminmax())
    stop = min(last + taps, length)
    # Taps beyond the plane have weight 0, but need a valid index.
    places = (first.unsqueeze(-1) + torch.arange(-start, taps - start, device=first.device)).clamp_(
        max=stop - start - 1
    )
    if len(first) > 1:
        places += torch.arange(len(first), device=first.device)[:, None, None] * (stop - start)
    return slice(start, stop), places.flatten(0, 1)


def _taps(planes: Tensor, places: Tensor) -> Tensor:
    """The rows of planes (N, H, W) at some positions (N·blocks, taps): (N·blocks, taps, W), float32."""
    width = planes.shape[-1]
    return planes.reshape(-1, width).index_select(0, places.view(-1)).view(*places.shape, width).float()


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
