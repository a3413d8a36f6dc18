"""The block DCT against SciPy, libjpeg, its own inverse and finite differences."""

import numpy as np
import pytest
import scipy.fft
import torch
from PIL import Image

from dctnet.errors import UserError
from dctnet.frequency.dct import block_dct, block_idct, dct_matrix, flip_blocks

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def slow_dct(planes: np.ndarray) -> np.ndarray:
    """Block by block through SciPy."""
    height, width = planes.shape
    out = np.empty((64, height // 8, width // 8))
    for row in range(height // 8):
        for column in range(width // 8):
            block = planes[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            out[:, row, column] = scipy.fft.dctn(block, norm="ortho").ravel()
    return out


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-3)])
def test_agrees_with_scipy(device, dtype, tolerance):
    samples = np.random.default_rng(0).integers(0, 256, (24, 40)) - 128.0
    ours = block_dct(torch.tensor(samples, dtype=dtype, device=device))
    assert ours.dtype == dtype
    assert np.abs(ours.cpu().double().numpy() - slow_dct(samples)).max() <= tolerance


def test_bfloat16_is_the_float32_result_rounded_once():
    samples = torch.randint(-128, 128, (3, 16, 16)).to(torch.bfloat16)
    assert torch.equal(block_dct(samples), block_dct(samples.float()).to(torch.bfloat16))


def test_autocast_does_not_cost_precision():
    samples = torch.randint(-128, 128, (16, 16)).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(block_dct(samples), block_dct(samples.clone()))
        inside = block_dct(samples)
    assert torch.equal(inside, block_dct(samples))


def test_basis_is_orthogonal():
    basis = dct_matrix()
    assert torch.allclose(basis @ basis.T, torch.eye(8, dtype=torch.float64), atol=1e-14)


@pytest.mark.parametrize("shape", [(8, 8), (3, 16, 24), (2, 5, 3, 8, 32), (0, 3, 8, 8)])
def test_inverse_restores_any_leading_dimensions(shape):
    planes = torch.randn(shape, dtype=torch.float64)
    coefficients = block_dct(planes)
    assert coefficients.shape == (*shape[:-2], 64, shape[-2] // 8, shape[-1] // 8)
    assert torch.allclose(block_idct(coefficients), planes, atol=1e-12)


def test_kept_frequencies_are_the_same_rows_in_the_order_asked():
    planes = torch.randn(2, 16, 16, dtype=torch.float64)
    assert torch.allclose(block_dct(planes, [9, 0, 63]), block_dct(planes)[:, [9, 0, 63]], atol=1e-13)


@pytest.mark.parametrize("flip", [[True, False, True], [False, False, False]])
def test_mirrored_coefficients_are_those_of_mirrored_samples(flip):
    planes, frequencies, flip = torch.randn(3, 16, 24, dtype=torch.float64), [9, 0, 63, 8, 1], torch.tensor(flip)
    mirrored = torch.where(flip[:, None, None], planes.flip(-1), planes)
    flipped = flip_blocks(block_dct(planes, frequencies), frequencies, flip)
    assert torch.allclose(flipped, block_dct(mirrored, frequencies), atol=1e-13)


@pytest.mark.parametrize("frequencies", [[0], [0, 1, 8], [0, 7, 56, 63], [3, 11, 19], list(range(16))])
def test_only_rows_and_columns_of_kept_frequencies_are_computed(frequencies):
    from torch.utils.flop_counter import FlopCounterMode

    def flops(frequencies):
        with FlopCounterMode(display=False) as counter:
            block_dct(torch.zeros(64, 64), frequencies)
        return counter.get_total_flops()

    # Down the columns a block costs 8 products of 8 samples for each kept v; across, 8 for each kept v and u.
    rows, columns = len({f // 8 for f in frequencies}), len({f % 8 for f in frequencies})
    assert flops(frequencies) * (64 * 8 + 8 * 64) == flops(None) * (64 * rows + 8 * rows * columns)


def test_horizontal_ramp_lights_index_1_and_dc_is_eight_means():
    ramp = torch.arange(8.0).repeat(8, 1)
    coefficients = block_dct(ramp)[:, 0, 0]
    assert coefficients[1].abs() > 10
    assert coefficients[8].abs() < 1e-4
    assert coefficients[0] == pytest.approx(8 * ramp.mean().item())


def test_mirrored_block_negates_odd_horizontal_frequencies():
    block = torch.randn(8, 8, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0] * 4, dtype=torch.float64).repeat(8)
    assert torch.allclose(block_dct(block.flip(-1))[:, 0, 0], block_dct(block)[:, 0, 0] * signs)


def test_gradient_is_right():
    planes = torch.randn(8, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: block_dct(x, [0, 5, 33]), planes)
    coefficients = torch.randn(64, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block_idct, coefficients)


def test_traces_into_one_graph():
    planes = torch.randn(2, 3, 16, 16)
    compiled = torch.compile(block_dct, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(planes, [0, 1]), block_dct(planes, [0, 1]))


def test_agrees_with_libjpeg_on_444_of_quality_100(tmp_path):
    jpeglib = pytest.importorskip("jpeglib")
    planes = np.random.default_rng(1).integers(60, 200, (16, 24, 3)).astype(np.uint8)
    path = tmp_path / "q100.jpg"
    Image.fromarray(planes, mode="YCbCr").save(path, quality=100, subsampling="4:4:4")
    theirs = jpeglib.read_dct(str(path))
    samples = torch.from_numpy(planes).permute(2, 0, 1).double() - 128
    ours = block_dct(samples)
    for component, grid in enumerate((theirs.Y, theirs.Cb, theirs.Cr)):
        expected = torch.from_numpy(np.asarray(grid).astype(np.float64)).flatten(2).permute(2, 0, 1)
        # Quality 100 quantises by 1: half a unit of rounding, and libjpeg's integer DCT is off by less than that again.
        assert (ours[component] - expected).abs().max() <= 1.0


@pytest.mark.parametrize("shape", [(7, 8), (8, 9), (1, 1)])
def test_sides_that_are_no_multiple_of_8_are_named(shape):
    with pytest.raises(UserError, match=f"{shape[0]}×{shape[1]}"):
        block_dct(torch.zeros(shape))


@pytest.mark.parametrize("frequency", [-1, 64])
def test_frequency_out_of_range_is_named(frequency):
    with pytest.raises(UserError, match=str(frequency)):
        block_dct(torch.zeros(8, 8), [frequency])


def test_inverse_refuses_other_than_64():
    with pytest.raises(UserError, match=r"\(24, 1, 1\)"):
        block_idct(torch.zeros(24, 1, 1))
