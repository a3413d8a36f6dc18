"""Upsampling in the DCT domain: subsampled chroma to the block grid of luma, without computing pixels."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from dctnet.frequency.dct import BLOCK, basis_rows, dct_matrix, split_axes


@functools.lru_cache(maxsize=64)
def _matrices(factor: int, frequencies: tuple[int, ...]) -> Tensor:
    """The 1-D upsampling of a block and its two neighbours, as a matrix (8, 3 · factor · F) between coefficients.

    It has the contributions of a block's coefficients to the F frequencies of the ``factor`` output blocks of the next
    block, of the block itself, and of the previous block.
    """
    # Linear interpolation between sample centres, across block borders.
    outputs = (torch.arange(factor * BLOCK, dtype=torch.float64) + 0.5) / factor - 0.5
    samples = torch.arange(-BLOCK, 2 * BLOCK, dtype=torch.float64)
    weights = (1 - (outputs[:, None] - samples).abs()).clamp(min=0).view(factor, BLOCK, 3 * BLOCK)
    to_samples = torch.block_diag(*[dct_matrix().mT] * 3)
    rows = basis_rows(torch.float64, torch.device("cpu"), frequencies)
    to_blocks = (rows @ weights @ to_samples).view(factor, len(frequencies), 3, BLOCK)
    return to_blocks.permute(3, 2, 0, 1).reshape(BLOCK, -1).float()


def _add_neighbours(given: Tensor, axis: int, blocks: int, count: int) -> Tensor:
    """Sums the contributions of previous, same and next block, stored along ``axis``, for each inner block."""
    to_next, own, to_previous = given.chunk(3, axis)
    return to_next.narrow(blocks, 0, count) + own.narrow(blocks, 1, count) + to_previous.narrow(blocks, 2, count)


def upsample_blocks(coefficients: Tensor, factors: tuple[int, int], frequencies: Sequence[int]) -> Tensor:
    """Upsamples planes by linear interpolation, as libjpeg and Pillow do, from coefficients to coefficients.

    Interpolation and DCT are linear, so the coefficients of an upsampled block are a matrix times those of the block
    and its neighbours, along one axis after the other. The result is that of pixels neither rounded nor clamped.

    Args:
        coefficients: All 64 of each block, 8·v + u, float32, with one additional block on every side;
            :func:`mirror_edges` fills those beyond the image.
        factors: Vertical and horizontal factor, whole numbers.
        frequencies: The frequencies to compute, 8·v + u, in the order of the output.

    Returns:
        Coefficients in the scale of :func:`~dctnet.frequency.dct.block_dct`.

    Shape:
        - coefficients: (N, rows + 2, columns + 2, 64)
        - output: (N, F, rows · down, columns · across), float32
    """
    axes = split_axes(tuple(frequencies))
    count, rows, columns = coefficients.shape[0], coefficients.shape[1] - 2, coefficients.shape[2] - 2
    (down, across), (vertical, horizontal) = factors, (len(axes.vertical), len(axes.horizontal))
    # Contributions of each block to the next, itself and the previous one, summed: first v along the columns of blocks,
    # (N, rows, down · v, columns + 2, u), in one product ...
    grid = coefficients.unflatten(-1, (BLOCK, BLOCK)).transpose(2, 3).flatten(3)
    given = _matrices(down, axes.vertical).mT @ grid
    tall = _add_neighbours(given, 2, 1, rows).unflatten(3, (columns + 2, BLOCK))
    # ... then u along the rows.
    given = tall @ _matrices(across, axes.horizontal)
    whole = _add_neighbours(given, 4, 3, columns).view(count, rows, down, vertical, columns, across, horizontal)
    whole = whole.permute(0, 3, 6, 1, 2, 4, 5)
    return axes.select(whole.reshape(count, -1, rows * down, columns * across))


def mirror_edges(coefficients: Tensor, rows: tuple[bool, bool], columns: tuple[bool, bool]) -> None:
    """Mirrors edge blocks into the additional blocks around an image, in place.

    Interpolation between a block and its mirror image repeats the outermost samples. A mirrored block has the same
    coefficients, with the odd frequencies across the mirror negated.

    Args:
        coefficients: Blocks of an image, with additional blocks to fill.
        rows: Whether to fill the first, and the last row.
        columns: Whether to fill the first, and the last column.

    Shape:
        - coefficients: (N, rows, columns, 64)
    """
    frequencies = torch.arange(BLOCK**2)
    for axis, ends, across in ((1, rows, frequencies // BLOCK), (2, columns, frequencies)):
        signs = 1.0 - 2.0 * (across % 2)
        for wanted, target, source in zip(ends, (0, -1), (1, -2), strict=True):
            if wanted:
                torch.mul(coefficients.select(axis, source), signs, out=coefficients.select(axis, target))
