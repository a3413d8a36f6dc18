"""The 8×8 block DCT of planes, and mirrored images in the DCT domain."""

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dctnet.errors import UserError

BLOCK = 8


def dct_matrix(dtype: torch.dtype = torch.float64, device: torch.device | None = None) -> Tensor:
    """The orthonormal DCT-II of 8 samples as a matrix, one row per frequency; its transpose is its inverse.

    Shape:
        - output: (8, 8)

    Source: ITU-T T.81 (1992), A.3.3, whose factors ½·C(u) are the orthonormal ones.
    """
    # Computed in float64 for correctly rounded cosines, and on the CPU because some devices lack float64.
    k = torch.arange(BLOCK, dtype=torch.float64)
    matrix = torch.cos(torch.pi / BLOCK * k[:, None] * (k[None, :] + 0.5)) * (2 / BLOCK) ** 0.5
    matrix[0] /= 2**0.5
    return matrix.to(device, dtype)


@functools.lru_cache(maxsize=64)
def basis_rows(dtype: torch.dtype, device: torch.device, frequencies: tuple[int, ...]) -> Tensor:
    """The rows of :func:`dct_matrix` for some frequencies of one axis; cached."""
    # Tensors created in inference mode could not be used in training later.
    with torch.inference_mode(False), torch.no_grad():
        return dct_matrix()[list(frequencies)].to(device, dtype)


@dataclass(frozen=True)
class Axes:
    """The 1-D frequencies that a separable transform computes along each axis for a list of 2-D frequencies.

    ``vertical`` and ``horizontal`` are the distinct v and u, ascending; ``places`` are the indices of the 2-D
    frequencies in their row-major grid.
    """

    vertical: tuple[int, ...]
    horizontal: tuple[int, ...]
    places: tuple[int, ...]

    def select(self, grid: Tensor) -> Tensor:
        """Selects the 2-D frequencies, in their order, from the coefficients (..., grid, rows, columns)."""
        is_whole = self.places == tuple(range(len(self.vertical) * len(self.horizontal)))
        return grid if is_whole else grid[..., list(self.places), :, :]


@functools.lru_cache(maxsize=64)
def split_axes(frequencies: tuple[int, ...]) -> Axes:
    """The axes of a list of frequencies 8·v + u.

    Raises:
        UserError: A frequency is outside 0…63.
    """
    if any(not 0 <= f < BLOCK**2 for f in frequencies):
        raise UserError(f"frequencies must be in 0…63 (8·v + u), got {list(frequencies)}")
    vertical, horizontal = (tuple(sorted({divmod(f, BLOCK)[axis] for f in frequencies})) for axis in (0, 1))
    place = {v * BLOCK + u: i for i, (v, u) in enumerate(itertools.product(vertical, horizontal))}
    return Axes(vertical, horizontal, tuple(place[f] for f in frequencies))


def block_dct(planes: Tensor, frequencies: Sequence[int] | None = None) -> Tensor:
    """Orthonormal 2-D DCT-II of each 8×8 block, one axis after the other.

    Args:
        planes: Level-shifted samples, −128 … 127.
        frequencies: The frequencies to compute, 8·v + u, in the order of the output. Rows and columns of frequencies
            without any of them are skipped. None: all 64.

    Returns:
        Coefficients in the unit and dtype of the samples; DC is 8 × the block mean.

    Shape:
        - planes: (..., H, W), H and W multiples of 8
        - output: (..., F, H/8, W/8), F = 64 (row-major: index 8·v + u) or the number of frequencies

    Raises:
        UserError: H or W is not a multiple of 8, or a frequency is outside 0…63.

    Source: ITU-T T.81 (1992), A.3.3.
    """
    height, width = planes.shape[-2:]
    if height % BLOCK or width % BLOCK:
        raise UserError(f"planes must have sides that are multiples of {BLOCK}, got {height}×{width}")
    axes = split_axes(tuple(range(BLOCK**2) if frequencies is None else frequencies))
    # bfloat16 has 8 bits and a DC coefficient needs 12: sum in float32 and round once at the end.
    work = planes if planes.dtype == torch.float64 else planes.float()
    vertical, horizontal = (basis_rows(work.dtype, work.device, f) for f in (axes.vertical, axes.horizontal))
    with torch.autocast(planes.device.type, enabled=False):
        columns = vertical @ work.unflatten(-2, (height // BLOCK, BLOCK))
        grid = columns.unflatten(-1, (width // BLOCK, BLOCK)) @ horizontal.mT
    # (..., row of blocks, v, column of blocks, u)
    return axes.select(grid.movedim((-3, -1), (-4, -3)).flatten(-4, -3)).to(planes.dtype)


def inverse_block_dct(coefficients: Tensor) -> Tensor:
    """Inverse of :func:`block_dct` with all 64 frequencies.

    Returns:
        Level-shifted samples in the dtype of the coefficients, neither rounded nor clamped.

    Shape:
        - coefficients: (..., 64, H/8, W/8)
        - output: (..., H, W)

    Raises:
        UserError: Not 64 frequencies.

    Source: ITU-T T.81 (1992), A.3.3.
    """
    if coefficients.ndim < 3 or coefficients.shape[-3] != BLOCK**2:
        raise UserError(f"coefficients must be (..., {BLOCK**2}, rows, columns), got {tuple(coefficients.shape)}")
    work = coefficients if coefficients.dtype == torch.float64 else coefficients.float()
    basis = basis_rows(work.dtype, work.device, tuple(range(BLOCK)))
    with torch.autocast(coefficients.device.type, enabled=False):
        # (..., v, u, row of blocks, column of blocks) to (..., row of blocks, y, column of blocks, x)
        grid = work.unflatten(-3, (BLOCK, BLOCK))
        samples = torch.einsum("vy,...vurc,ux->...rycx", basis, grid, basis)
    return samples.flatten(-4, -3).flatten(-2, -1).to(coefficients.dtype)


def flip_blocks(coefficients: Tensor, frequencies: Sequence[int], flip: Tensor) -> Tensor:
    """Mirrors images left to right, exactly: reverses the columns of blocks and negates odd horizontal frequencies.

    Args:
        coefficients: Block-DCT coefficients, of any signed dtype.
        frequencies: The frequency of each channel, 8·v + u, or its index, 64·component + 8·v + u.
        flip: The images to mirror.

    Returns:
        A copy with those images mirrored; the input itself if there are none.

    Shape:
        - coefficients: (N, F, H/8, W/8)
        - flip: (N,), bool
        - output: (N, F, H/8, W/8)
    """
    places = flip.nonzero().squeeze(1)
    if not len(places):
        return coefficients
    signs = torch.tensor([1 - 2 * (f % 2) for f in frequencies], dtype=coefficients.dtype, device=coefficients.device)
    mirrored = coefficients.index_select(0, places).flip(-1).mul_(signs[:, None, None])
    images = list(coefficients)
    for place, image in zip(places.tolist(), mirrored, strict=True):
        images[place] = image
    return torch.stack(images)  # copies each image once; a mask as index takes several times as long
