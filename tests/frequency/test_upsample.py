"""Upsampling in the DCT domain against inverse DCT, linear interpolation of pixels, DCT."""

import numpy as np
import pytest
import torch

from dctnet.errors import UserError
from dctnet.frequency.upsample import mirror_edges, upsample_blocks
from tests.slow_dct import slow_dct, slow_idct

FACTORS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (1, 4), (4, 2), (3, 1)]
NOWHERE = (False, False)


def enlarge(pixels: np.ndarray, axis: int, factor: int) -> np.ndarray:
    """Linear interpolation between sample centres; the outermost samples are repeated beyond the edge."""
    length = pixels.shape[axis]
    positions = (np.arange(length * factor) + 0.5) / factor - 0.5
    return np.apply_along_axis(lambda line: np.interp(positions, np.arange(length), line), axis, pixels)


def slow(coefficients: torch.Tensor, factors: tuple[int, int]) -> torch.Tensor:
    """Upsamples the pixels of a grid (rows, columns, 64): (64, rows · down, columns · across)."""
    pixels = slow_idct(coefficients.permute(2, 0, 1)).numpy()
    for axis, factor in enumerate(factors):
        pixels = enlarge(pixels, axis, factor)
    return slow_dct(pixels)


@pytest.mark.parametrize("factors", FACTORS)
def test_inner_blocks_agree_with_pixels(factors):
    (down, across), grid = factors, 100 * torch.randn(2, 5, 6, 64)
    found = upsample_blocks(grid, factors, range(64))
    assert found.shape == (2, 64, 3 * down, 4 * across)
    expected = torch.stack([slow(image, factors) for image in grid])[:, :, down : 4 * down, across : 5 * across]
    assert (found.double() - expected).abs().max() <= 1e-2


@pytest.mark.parametrize("factors", FACTORS)
def test_mirrored_edges_repeat_the_outermost_samples(factors):
    image = 100 * torch.randn(3, 2, 64)
    grid = torch.full((1, 5, 4, 64), torch.nan)
    grid[0, 1:-1, 1:-1] = image
    mirror_edges(grid, (True, True), (True, True))
    assert (upsample_blocks(grid, factors, range(64))[0].double() - slow(image, factors)).abs().max() <= 1e-2


@pytest.mark.parametrize("where", range(4))
def test_mirrored_block_has_the_mirrored_pixels_and_other_blocks_are_unchanged(where):
    axis, last = divmod(where, 2)
    grid = torch.randn(1, 4, 5, 64)
    before = grid.clone()
    flags = (not last, bool(last))
    mirror_edges(grid, *((NOWHERE, flags) if axis else (flags, NOWHERE)))
    edge, inner, rest = (-1, -2, slice(None, -1)) if last else (0, 1, slice(1, None))
    place = (slice(None),) * (axis + 1)
    assert torch.equal(grid[(*place, rest)], before[(*place, rest)])
    mirrored, original = (slow_idct(grid[(*place, n)][0].T[:, :, None]).unflatten(0, (-1, 8)) for n in (edge, inner))
    assert torch.allclose(mirrored, original.flip(1 if axis == 0 else 2), atol=1e-5)


@pytest.mark.parametrize("frequencies", [[0], [63], [9, 0, 63, 8], [1, 8], list(range(63, -1, -1))])
@pytest.mark.parametrize("factors", [(2, 2), (1, 4)])
def test_frequencies_are_computed_in_the_given_order(frequencies, factors):
    grid = 100 * torch.randn(2, 4, 3, 64)
    found = upsample_blocks(grid, factors, frequencies)
    assert torch.allclose(found, upsample_blocks(grid, factors, range(64))[:, frequencies], atol=1e-3)


def test_uniform_image_stays_uniform():
    grid = torch.zeros(1, 4, 4, 64)
    grid[..., 0] = 80
    found = upsample_blocks(grid, (2, 4), range(64))
    assert torch.allclose(found[:, 0], torch.tensor(80.0), atol=1e-4)
    assert found[:, 1:].abs().max() <= 1e-4


def test_frequency_out_of_range_is_rejected():
    with pytest.raises(UserError, match="64"):
        upsample_blocks(torch.zeros(1, 3, 3, 64), (2, 2), [64])
