"""Planes to 8×8 block-DCT coefficients and back."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from dctnet.errors import UserError

BLOCK = 8


def dct_basis(dtype: torch.dtype = torch.float64, device: torch.device | None = None) -> Tensor:
    """The 64 orthonormal 2-D DCT-II basis blocks, one a row.

    Returns:
        Row 8·v + u holds the basis block of vertical frequency v and horizontal frequency u, its samples row by row.
        The matrix is orthogonal: its transpose is its inverse.

    Shape:
        - output: (64, 64)

    Source: ITU-T T.81 (1992), A.3.3, whose factors ¼·C(u)·C(v) are the orthonormal ones.
    """
    # In float64 whatever the result's dtype, so that the cosines are right to the last bit; on the CPU, because not
    # every device has float64.
    k = torch.arange(BLOCK, dtype=torch.float64)
    one = torch.cos(torch.pi / BLOCK * k[:, None] * (k[None, :] + 0.5)) * (2 / BLOCK) ** 0.5
    one[0] /= 2**0.5
    return torch.kron(one, one).to(device, dtype)


@functools.lru_cache(maxsize=32)
def _basis_rows(dtype: torch.dtype, device: torch.device, frequencies: tuple[int, ...]) -> Tensor:
    # A batch asks for the same rows as the last one. Kept outside inference mode, whose tensors cannot be trained with.
    with torch.inference_mode(False), torch.no_grad():
        return dct_basis()[list(frequencies)].to(device, dtype)


def _working_dtype(dtype: torch.dtype) -> torch.dtype:
    # bfloat16 keeps 8 bits, a DC coefficient needs 12: sum in float32 and round once, at the end.
    return dtype if dtype == torch.float64 else torch.float32


def block_dct(planes: Tensor, frequencies: Sequence[int] | None = None) -> Tensor:
    """Orthonormal 2-D DCT-II of each 8×8 block.

    Args:
        planes: Level-shifted samples, −128 … 127.
        frequencies: The frequencies to compute, as 8·v + u in the order wanted; the others cost nothing. None: all 64.

    Returns:
        Coefficients in the unit of the samples and in their dtype; DC is 8 × the block mean.

    Shape:
        - planes: (..., H, W), H and W multiples of 8
        - output: (..., F, H/8, W/8), F = 64 (row-major: index 8·v + u) or the number of frequencies

    Raises:
        UserError: H or W is not a multiple of 8, or a frequency lies outside 0…63. Names what was received.

    Source: ITU-T T.81 (1992), A.3.3.
    """
    height, width = planes.shape[-2:]
    if height % BLOCK or width % BLOCK:
        raise UserError(f"planes must have sides that are multiples of {BLOCK}, got {height}×{width}")
    wanted = tuple(range(BLOCK**2) if frequencies is None else frequencies)
    if any(not 0 <= f < BLOCK**2 for f in wanted):
        raise UserError(f"frequencies must be in 0…63 (8·v + u), got {list(wanted)}")
    work = planes.to(_working_dtype(planes.dtype))
    grid = work.unflatten(-1, (width // BLOCK, BLOCK)).unflatten(-3, (height // BLOCK, BLOCK))
    blocks = grid.transpose(-3, -2).flatten(-2)
    with torch.autocast(planes.device.type, enabled=False):
        coefficients = blocks @ _basis_rows(work.dtype, work.device, wanted).mT
    return coefficients.movedim(-1, -3).to(planes.dtype)


def block_idct(coefficients: Tensor) -> Tensor:
    """Inverse of :func:`block_dct` over all 64 frequencies.

    Args:
        coefficients: Orthonormal DCT-II coefficients, row-major: index 8·v + u.

    Returns:
        Level-shifted samples, in the dtype of the coefficients.

    Shape:
        - coefficients: (..., 64, H/8, W/8)
        - output: (..., H, W)

    Raises:
        UserError: There are not 64 coefficients a block. Names the shape received.

    Source: ITU-T T.81 (1992), A.3.3.
    """
    if coefficients.shape[-3] != BLOCK**2:
        raise UserError(f"coefficients must have shape (..., 64, H/8, W/8), got {tuple(coefficients.shape)}")
    work = coefficients.to(_working_dtype(coefficients.dtype))
    with torch.autocast(coefficients.device.type, enabled=False):
        blocks = work.movedim(-3, -1) @ dct_basis(work.dtype, work.device)
    grid = blocks.unflatten(-1, (BLOCK, BLOCK)).transpose(-3, -2)
    return grid.flatten(-2).flatten(-3, -2).to(coefficients.dtype)
