"""Upsampling in the DCT domain: subsampled chroma to luma's grid of blocks, without pixels in between."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from dctnet.frequency.dct import BLOCK, basis_rows, dct_matrix, split_axes


@functools.lru_cache(maxsize=64)
def _matrices(factor: int, frequencies: tuple[int, ...]) -> Tensor:
    """From the coefficients of three neighbouring blocks to some frequencies of the blocks that the middle one becomes.

    Returns:
        A matrix (8, 3 · factor · F): what a block's coefficients give to those of the next one, of its own place and of
        the one before, float32.
    """
    # Linear interpolation between the centres of samples, those of the neighbours included.
    outputs = (torch.arange(factor * BLOCK, dtype=torch.float64) + 0.5) / factor - 0.5
    samples = torch.arange(-BLOCK, 2 * BLOCK, dtype=torch.float64)
    weights = (1 - (outputs[:, None] - samples).abs()).clamp(min=0).view(factor, BLOCK, 3 * BLOCK)
    to_samples = torch.block_diag(*[dct_matrix().mT] * 3)
    rows = basis_rows(torch.float64, torch.device("cpu"), frequencies)
    to_blocks = (rows @ weights @ to_samples).view(factor, len(frequencies), 3, BLOCK)
    return to_blocks.permute(3, 2, 0, 1).reshape(BLOCK, -1).float()


def _add_neighbours(given: Tensor, axis: int, blocks: int, count: int) -> Tensor:
    """Adds up the three parts along an axis, each taken one block further along another axis."""
    behind, own, before = given.chunk(3, axis)
    return behind.narrow(blocks, 0, count) + own.narrow(blocks, 1, count) + before.narrow(blocks, 2, count)


def upsample_blocks(coefficients: Tensor, factors: tuple[int, int], frequencies: Sequence[int]) -> Tensor:
    """Coefficients of planes enlarged by linear interpolation, as libjpeg's and Pillow's, from those of the planes.

    Interpolation and DCT are linear, so the coefficients of an enlarged block are a matrix times those of the block and
    its neighbours; along each axis one after the other. The result is that of pixels neither rounded nor clamped.

    Args:
        coefficients: All 64 of each block, float32, v before u, with one block more on every side than is wanted:
            :func:`mirror_edges` makes those that an image does not have.
        factors: By how much to enlarge, down and across: whole numbers.
        frequencies: The frequencies wanted, 8·v + u, in the order wanted.

    Returns:
        The wanted frequencies, as :func:`~dctnet.frequency.dct.block_dct` scales them.

    Shape:
        - coefficients: (N, rows + 2, columns + 2, 64)
        - output: (N, F, rows · down, columns · across), float32
    """
    axes = split_axes(tuple(frequencies))
    count, rows, columns = coefficients.shape[0], coefficients.shape[1] - 2, coefficients.shape[2] - 2
    (down, across), (vertical, horizontal) = factors, (len(axes.vertical), len(axes.horizontal))
    # What each block gives to the one behind it, to itself and to the one before it, added up: first v down a column of
    # blocks, all columns in one product, (N, rows, down · v, columns + 2, u), ...
    grid = coefficients.unflatten(-1, (BLOCK, BLOCK)).transpose(2, 3).flatten(3)
    given = _matrices(down, axes.vertical).mT @ grid
    tall = _add_neighbours(given, 2, 1, rows).unflatten(3, (columns + 2, BLOCK))
    # ... then u along a row.
    given = tall @ _matrices(across, axes.horizontal)
    whole = _add_neighbours(given, 4, 3, columns).view(count, rows, down, vertical, columns, across, horizontal)
    whole = whole.permute(0, 3, 6, 1, 2, 4, 5)
    flat = whole.reshape(count, -1, rows * down, columns * across)
    return flat if axes.is_grid else flat[:, list(axes.places)]


def mirror_edges(coefficients: Tensor, before: tuple[bool, bool], after: tuple[bool, bool]) -> None:
    """Fills the outermost blocks by mirrored ones, in place, so that interpolation there repeats the outermost samples.

    A mirrored block has the same coefficients, those of odd frequency across the mirror with the other sign.

    Args:
        coefficients: Blocks of an image with room for what it does not have.
        before: Whether the first row, and the first column, is to be filled.
        after: Whether the last row, and the last column.

    Shape:
        - coefficients: (N, rows, columns, 64)
    """
    for axis in (1, 2):
        length = coefficients.shape[axis]
        for wanted, target, source in ((before[axis - 1], 0, 1), (after[axis - 1], length - 1, length - 2)):
            if wanted:
                signs = _mirror_signs(axis)
                torch.mul(coefficients.select(axis, source), signs, out=coefficients.select(axis, target))


@functools.cache
def _mirror_signs(axis: int) -> Tensor:
    frequencies = torch.arange(BLOCK**2)
    return 1.0 - 2.0 * ((frequencies // BLOCK if axis == 1 else frequencies) % 2)
