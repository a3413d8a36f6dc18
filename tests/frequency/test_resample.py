"""The combined resampling and DCT against Pillow's resize followed by SciPy's DCT."""

import numpy as np
import pytest
import torch
from PIL import Image

from dctnet.errors import UserError
from dctnet.frequency.resample import resampled_dct
from tests.slow_dct import slow_dct

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
# Pillow and dctnet both sum 64 float32 samples of up to 255.
TOLERANCE = 0.02


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


def slow(plane: np.ndarray, box: tuple[float, ...], blocks: tuple[int, int]) -> torch.Tensor:
    """Crop and resize by Pillow in floating point, then a DCT of each block."""
    rows, columns = blocks
    image = Image.fromarray(plane.astype(np.float32))
    pixels = np.asarray(image.resize((8 * columns, 8 * rows), Image.Resampling.BILINEAR, box=box), dtype=float) - 128
    return slow_dct(pixels)


def ours(plane, box, blocks, frequencies=range(64), **options):
    return resampled_dct(torch.as_tensor(plane)[None], torch.tensor([box]), blocks, frequencies, **options)[0].double()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("blocks", [(1, 1), (2, 2), (3, 5), (7, 1)])
@pytest.mark.parametrize(
    "box",
    [
        (0.0, 0.0, 83.0, 61.0),  # all of it
        (10.0, 20.0, 58.0, 60.0),
        (10.25, 3.5, 50.75, 40.125),
        (60.0, 40.0, 83.0, 61.0),  # a corner
        (0.0, 30.5, 82.9, 31.5),  # one sample high
        (20.0, 20.0, 25.0, 23.0),  # smaller than a block
        (82.0, 60.0, 83.0, 61.0),  # the last sample
    ],
)
def test_agrees_with_pillow_and_scipy(device, box, blocks):
    plane = noise(61, 83)
    found = ours(torch.from_numpy(plane).to(device), box, blocks)
    assert (found.cpu() - slow(plane, box, blocks)).abs().max() <= TOLERANCE


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (8, 8), (700, 901)])
def test_planes_far_smaller_and_far_larger_than_the_output(size):
    plane, box = noise(*size), (0.0, 0.0, float(size[1]), float(size[0]))
    assert (ours(plane, box, (2, 3)) - slow(plane, box, (2, 3))).abs().max() <= TOLERANCE


def test_box_of_the_output_size_is_not_resampled():
    plane = noise(40, 40)
    found = ours(plane, (9.0, 5.0, 25.0, 29.0), (3, 2))
    assert (found - slow_dct(plane[5:29, 9:25] - 128.0)).abs().max() <= 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_floating_point_samples_equal_uint8_samples(dtype):
    plane, box = torch.from_numpy(noise(30, 30)), (2.0, 3.0, 29.0, 28.5)  # whole numbers to 256 fit into bfloat16
    found = resampled_dct(plane[None].to(dtype), torch.tensor([box]), (2, 2), range(64))
    assert found.dtype == torch.float32
    assert torch.equal(found[0].double(), ours(plane, box, (2, 2)))


@pytest.mark.parametrize("frequencies", [[0], [63], [9, 0, 63, 8], [1, 2], list(range(63, -1, -1))])
def test_frequencies_are_computed_in_the_given_order(frequencies):
    plane, box = noise(50, 40), (1.5, 2.0, 33.0, 47.0)
    found = ours(plane, box, (2, 3), frequencies)
    assert torch.allclose(found, ours(plane, box, (2, 3))[frequencies], atol=1e-3)


@pytest.mark.parametrize("blocks", [(2, 2), (3, 1)])
@pytest.mark.parametrize(
    "sizes", [[(61, 83), (61, 83)], [(50, 40), (61, 47), (44, 70)], [(40, 50), (1, 1)], [(300, 20), (9, 200), (8, 8)]]
)
def test_padded_planes_equal_the_planes_one_by_one(blocks, sizes):
    height, width = (max(side) for side in zip(*sizes, strict=True))
    # The content of the padding must not matter.
    padded = torch.full((len(sizes), height, width), 255, dtype=torch.uint8)
    planes = [noise(h, w, seed) for seed, (h, w) in enumerate(sizes)]
    boxes = [(w / 8, h / 16, float(w), float(h)) for h, w in sizes]
    for target, plane in zip(padded, planes, strict=True):
        target[: plane.shape[0], : plane.shape[1]] = torch.from_numpy(plane)
    found = resampled_dct(padded, torch.tensor(boxes), blocks, range(64), torch.tensor(sizes))
    expected = [slow(plane, box, blocks) for plane, box in zip(planes, boxes, strict=True)]
    assert (found.double() - torch.stack(expected)).abs().max() <= TOLERANCE


def test_uniform_plane_has_only_dc():
    found = ours(np.full((33, 47), 200, np.uint8), (1.0, 2.0, 40.0, 33.0), (2, 2))
    assert torch.allclose(found[0], torch.tensor(8.0 * 72).double(), atol=1e-3)
    assert found[1:].abs().max() <= 1e-3


def test_autocast_does_not_reduce_precision():
    plane, box = torch.from_numpy(noise(40, 40)), (0.0, 0.0, 33.0, 40.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ours(plane, box, (2, 2))
    assert torch.equal(inside, ours(plane, box, (2, 2)))


def test_rounding_of_resized_pixels_changes_coefficients_by_no_more_than_documented():
    plane, box = noise(90, 90), (3.0, 5.0, 80.0, 88.0)
    image = Image.fromarray(plane).resize((64, 64), Image.Resampling.BILINEAR, box=box)
    rounded = ours(np.array(image), (0.0, 0.0, 64.0, 64.0), (8, 8))
    difference = rounded - ours(plane, box, (8, 8))
    assert difference.abs().max() <= 4
    # Pillow rounds twice, once per axis.
    assert difference.std() <= 0.3 * 2**0.5


def test_other_dimensions_and_frequencies_are_rejected():
    box = torch.tensor([[0.0, 0, 8, 8]])
    with pytest.raises(UserError, match=r"\(8, 8\)"):
        resampled_dct(torch.zeros(8, 8), box, (1, 1), [0])
    with pytest.raises(UserError, match="64"):
        resampled_dct(torch.zeros(1, 8, 8), box, (1, 1), [64])
