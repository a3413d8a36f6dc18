"""The block DCT against SciPy, libjpeg and finite differences."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from dctnet.errors import UserError
from dctnet.frequency.dct import block_dct, dct_matrix, flip_blocks, inverse_block_dct
from tests.slow_dct import slow_dct, slow_idct

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_agrees_with_scipy(device, dtype, tolerance):
    samples = np.random.default_rng(0).integers(0, 256, (24, 40)) - 128.0
    found = block_dct(torch.tensor(samples, dtype=dtype, device=device))
    assert found.dtype == dtype
    assert (found.cpu().double() - slow_dct(samples)).abs().max() <= tolerance


@pytest.mark.parametrize("shape", [(8, 8), (3, 16, 24), (2, 5, 3, 8, 32), (0, 3, 8, 8)])
def test_any_leading_dimensions(shape):
    planes = torch.randn(shape, dtype=torch.float64)
    coefficients = block_dct(planes)
    assert coefficients.shape == (*shape[:-2], 64, shape[-2] // 8, shape[-1] // 8)
    assert torch.allclose(slow_idct(coefficients), planes, atol=1e-12)


@pytest.mark.parametrize("shape", [(64, 1, 1), (3, 64, 2, 3), (2, 3, 64, 1, 4)])
def test_the_inverse_agrees_with_scipy(shape):
    coefficients = torch.randn(shape, dtype=torch.float64)
    planes = inverse_block_dct(coefficients)
    torch.testing.assert_close(planes, slow_idct(coefficients), atol=1e-12, rtol=0)
    torch.testing.assert_close(block_dct(planes), coefficients, atol=1e-12, rtol=0)


def test_the_inverse_needs_all_frequencies():
    with pytest.raises(UserError, match=r"must be \(\.\.\., 64, rows, columns\), got \(24, 2, 2\)"):
        inverse_block_dct(torch.zeros(24, 2, 2))


def test_bfloat16_is_the_float32_result_rounded_once():
    samples = torch.randint(-128, 128, (3, 16, 16)).to(torch.bfloat16)
    assert torch.equal(block_dct(samples), block_dct(samples.float()).to(torch.bfloat16))


def test_autocast_does_not_reduce_precision():
    samples = torch.randint(-128, 128, (16, 16)).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = block_dct(samples)
    assert torch.equal(inside, block_dct(samples))


def test_basis_is_orthogonal():
    basis = dct_matrix()
    assert torch.allclose(basis @ basis.T, torch.eye(8, dtype=torch.float64), atol=1e-14)


def test_kept_frequencies_equal_the_full_transform_in_the_given_order():
    planes = torch.randn(2, 16, 16, dtype=torch.float64)
    assert torch.allclose(block_dct(planes, [9, 0, 63]), block_dct(planes)[:, [9, 0, 63]], atol=1e-13)


@pytest.mark.parametrize("flip", [[True, False, True], [False, False, False]])
def test_flipped_coefficients_equal_those_of_flipped_samples(flip):
    planes, frequencies, flip = torch.randn(3, 16, 24, dtype=torch.float64), [9, 0, 63, 8, 1], torch.tensor(flip)
    mirrored = torch.where(flip[:, None, None], planes.flip(-1), planes)
    flipped = flip_blocks(block_dct(planes, frequencies), frequencies, flip)
    assert torch.allclose(flipped, block_dct(mirrored, frequencies), atol=1e-13)


@pytest.mark.parametrize("frequencies", [[0], [0, 1, 8], [0, 7, 56, 63], [3, 11, 19], list(range(16))])
def test_only_rows_and_columns_of_kept_frequencies_are_computed(frequencies):
    def flops(frequencies):
        with FlopCounterMode(display=False) as counter:
            block_dct(torch.zeros(64, 64), frequencies)
        return counter.get_total_flops()

    # Vertically, a block takes 8 products of 8 samples for each kept v; horizontally, 8 for each kept v and u.
    rows, columns = len({f // 8 for f in frequencies}), len({f % 8 for f in frequencies})
    assert flops(frequencies) * (64 * 8 + 8 * 64) == flops(None) * (64 * rows + 8 * rows * columns)


def test_horizontal_ramp_has_index_1_and_dc_is_eight_times_the_mean():
    ramp = torch.arange(8.0).repeat(8, 1)
    coefficients = block_dct(ramp)[:, 0, 0]
    assert coefficients[1].abs() > 10
    assert coefficients[8].abs() < 1e-4
    assert coefficients[0] == pytest.approx(8 * ramp.mean().item())


def test_gradient_agrees_with_finite_differences():
    planes = torch.randn(8, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: block_dct(x, [0, 5, 33]), planes)


def test_traces_into_one_graph():
    planes = torch.randn(2, 3, 16, 16)
    compiled = torch.compile(block_dct, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(planes, [0, 1]), block_dct(planes, [0, 1]))


def test_agrees_with_libjpeg_at_quality_100(tmp_path):
    jpeglib = pytest.importorskip("jpeglib")
    planes = np.random.default_rng(1).integers(60, 200, (16, 24, 3)).astype(np.uint8)
    path = tmp_path / "q100.jpg"
    Image.fromarray(planes, mode="YCbCr").save(path, quality=100, subsampling="4:4:4")
    theirs = jpeglib.read_dct(str(path))
    found = block_dct(torch.from_numpy(planes).permute(2, 0, 1).double() - 128)
    for component, grid in enumerate((theirs.Y, theirs.Cb, theirs.Cr)):
        expected = torch.from_numpy(np.asarray(grid).astype(np.float64)).flatten(2).permute(2, 0, 1)
        # All steps are 1 at quality 100: rounding is half a unit, and libjpeg's integer DCT deviates by less than that.
        assert (found[component] - expected).abs().max() <= 1.0


@pytest.mark.parametrize("shape", [(7, 8), (8, 9), (1, 1)])
def test_sides_that_are_no_multiple_of_8_are_rejected(shape):
    with pytest.raises(UserError, match=f"{shape[0]}×{shape[1]}"):
        block_dct(torch.zeros(shape))


@pytest.mark.parametrize("frequency", [-1, 64])
def test_frequency_out_of_range_is_rejected(frequency):
    with pytest.raises(UserError, match=str(frequency)):
        block_dct(torch.zeros(8, 8), [frequency])
