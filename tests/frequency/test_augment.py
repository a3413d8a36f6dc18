"""Augmentation of channels is that of pixels: the DCT of augmented pixels equals the augmented channels.

Each operation is compared with a slow, obvious version on planes, and with the operations on RGB and torchvision's.
"""

import numpy as np
import pytest
import scipy.ndimage
import torch
from torchvision.transforms.v2 import functional as tv

from dctnet.data.augment_pixels import PixelOperations
from dctnet.frequency.augment import ChannelOperations, erase_grid, gaussian_taps, mixed_channels, shift_grid
from dctnet.frequency.channels import channels_to_planes, planes_to_channels
from dctnet.frequency.color import rgb_to_ycbcr, ycbcr_to_rgb
from dctnet.frequency.selections import named_channels

ALL = ChannelOperations(range(192))
PIXELS = PixelOperations()
SIZE, COUNT = 40, 4
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def images(count=COUNT, size=SIZE) -> torch.Tensor:
    """Level-shifted RGB of blurred noise in 40 … 215, with edges."""
    draw = np.random.default_rng(0)
    noise = scipy.ndimage.gaussian_filter(draw.normal(size=(count, 3, size, size)), (0, 0.4, 2, 2)) * 300
    noise += 40 * np.sign(draw.normal(size=(count, 1, size // 5, size // 5))).repeat(5, -1).repeat(5, -2)
    return torch.tensor(noise, dtype=torch.float32).clamp(-88, 87)


def to_channels(x: torch.Tensor) -> torch.Tensor:
    return planes_to_channels(rgb_to_ycbcr(x + 128))


def to_rgb(channels: torch.Tensor) -> torch.Tensor:
    return ycbcr_to_rgb(channels_to_planes(channels), clamp=False) - 128


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values)


FACTORS, ANGLES, SIGMAS = numbers(0.4, 0.9, 1.0, 1.6), numbers(-0.5, 0.0, 0.3, 3.0), numbers(0.0, 0.4, 0.8, 1.5)
KEPT = torch.rand(COUNT, 64, generator=torch.Generator().manual_seed(0)) < 0.7
BOXES = torch.tensor([[0, 0, 2, 3], [1, 2, 2, 5], [0, 0, 5, 5], [4, 4, 5, 5]])
EXACT = {
    "brightness": (FACTORS,),
    "contrast": (FACTORS,),
    "saturation": (FACTORS,),
    "hue": (ANGLES,),
    "drop_frequencies": (KEPT,),
    "vertical_flip": (),
    "transpose": (),
    "turn": (torch.tensor([1, 2, 3, 3]),),
    "shift": (torch.tensor([0, 1, -2, 5]), torch.tensor([0, -1, 3, -9])),
    "erase": (BOXES,),
}
INEXACT = {"sharpness": (FACTORS,), "blur": (SIGMAS,)}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", EXACT)
def test_dct_of_augmented_pixels_is_the_augmented_channels(name, device):
    x = images().to(device)
    found = getattr(ALL, name)(to_channels(x), *EXACT[name])
    expected = to_channels(getattr(PIXELS, name)(x, *EXACT[name]))
    assert (found - expected).abs().max() <= 1e-3
    assert (expected - to_channels(x)).abs().max() > 1  # it does something


@pytest.mark.parametrize("name", [*EXACT, *INEXACT])
def test_operations_do_not_change_their_input(name):
    for on, x in ((ALL, to_channels(images())), (PIXELS, images())):
        before = x.clone()
        getattr(on, name)(x, *{**EXACT, **INEXACT}[name])
        assert torch.equal(x, before)


@pytest.mark.parametrize("selection", ["square-24", "learned-24", "zigzag-7", "random-9", "luma"])
@pytest.mark.parametrize("name", [*EXACT, *INEXACT])
def test_selected_channels_are_augmented_as_among_all(name, selection):
    needed = sorted(mixed_channels(named_channels(selection).indices, name))
    whole = to_channels(images())
    args = {**EXACT, **INEXACT}[name]
    found = getattr(ChannelOperations(needed), name)(whole[:, needed], *args)
    expected = getattr(ALL, name)(whole, *args)[:, needed]
    assert (found - expected).abs().max() <= 1e-3


def slow_blocks(x: torch.Tensor, convolve) -> torch.Tensor:
    """Convolves each 8×8 block by itself, with symmetric extension (SciPy's ``reflect``)."""
    out = x.clone().double().numpy()
    for n, c, i, j in np.ndindex(len(x), x.shape[1], x.shape[2] // 8, x.shape[3] // 8):
        place = (n, c, slice(8 * i, 8 * i + 8), slice(8 * j, 8 * j + 8))
        out[place] = convolve(n, out[place])
    return torch.from_numpy(out)


def smooth(n: int, plane: np.ndarray) -> np.ndarray:
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    factor = float(FACTORS[n])
    return factor * plane + (1 - factor) * scipy.ndimage.convolve(plane, kernel, mode="reflect")


def gaussian(n: int, plane: np.ndarray) -> np.ndarray:
    taps = gaussian_taps(SIGMAS)[n].double().numpy()
    return scipy.ndimage.convolve(plane, np.outer(taps, taps), mode="reflect")


SLOW = {"sharpness": smooth, "blur": gaussian}


@pytest.mark.parametrize("name", INEXACT)
def test_filters_are_symmetric_convolutions_within_blocks(name):
    x = images()
    found = to_rgb(getattr(ALL, name)(to_channels(x), *INEXACT[name]))
    assert (found - slow_blocks(x, SLOW[name])).abs().max() <= 1e-3


@pytest.mark.parametrize("name", INEXACT)
def test_filters_of_pixels_are_symmetric_convolutions_of_the_image(name):
    x = images()
    expected = np.stack([[SLOW[name](n, plane.double().numpy()) for plane in x[n]] for n in range(COUNT)])
    assert (getattr(PIXELS, name)(x, *INEXACT[name]) - torch.from_numpy(expected)).abs().max() <= 1e-3


def beyond(name: str) -> torch.Tensor:
    """Weight (N, 8, 8) with which a filter reads beyond the block, for each pixel of it."""
    inside = np.zeros((24, 24))
    inside[8:16, 8:16] = 1
    weights = [1 - scipy.ndimage.convolve(inside, kernel, mode="constant")[8:16, 8:16] for kernel in kernels(name)]
    return torch.tensor(np.stack(weights))


def kernels(name: str):
    if name == "sharpness":  # only the smoothed part reads neighbours
        return [
            abs(1 - float(f)) * np.ones((3, 3)) / 13 + np.pad([[1 - abs(1 - float(f)) * 9 / 13]], 1) for f in FACTORS
        ]
    return [np.outer(taps, taps) for taps in gaussian_taps(SIGMAS).double().numpy()]


@pytest.mark.parametrize("name", INEXACT)
def test_filters_differ_from_those_of_pixels_at_block_borders_by_no_more_than_the_bound(name):
    # The bound of docs/augmentation.md: the weight beyond the border times the range of the samples there.
    x = images()
    found = to_rgb(getattr(ALL, name)(to_channels(x), *INEXACT[name]))
    difference = (found - getattr(PIXELS, name)(x, *INEXACT[name])).abs()
    weight = beyond(name).repeat(1, SIZE // 8, SIZE // 8)[:, None]
    spread = x.amax((2, 3), keepdim=True) - x.amin((2, 3), keepdim=True)
    assert (difference <= weight * spread + 1e-3).all()
    reach = 1 if name == "sharpness" else 2
    inner = difference.unflatten(3, (-1, 8)).unflatten(2, (-1, 8))[:, :, :, reach:-reach, :, reach:-reach]
    assert inner.max() <= 1e-3
    assert difference.max() > 0.1


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("brightness", tv.adjust_brightness),
        ("contrast", tv.adjust_contrast),
        ("saturation", tv.adjust_saturation),
        ("sharpness", tv.adjust_sharpness),
    ],
)
def test_colours_and_sharpness_are_those_of_torchvision(name, function):
    x = 0.4 * images() - 20  # so that no factor leaves 0 … 255, where torchvision clamps
    found = getattr(PIXELS, name)(x, FACTORS)
    images_of_one = torch.stack([function((x[n] + 128) / 255, float(FACTORS[n])) for n in range(COUNT)]) * 255 - 128
    # torchvision's weight of red in the luma is 0.2989 instead of 0.299, and it leaves out the outermost pixels.
    assert (found - images_of_one)[:, :, 1:-1, 1:-1].abs().max() <= 0.03
    if name == "brightness":
        assert (found - images_of_one).abs().max() <= 1e-3


def test_blur_is_that_of_torchvision():
    x = images()
    for n in (1, 2, 3):
        expected = tv.gaussian_blur(x[n], [5, 5], [float(SIGMAS[n])] * 2)
        found = PIXELS.blur(x[n : n + 1], SIGMAS[n : n + 1])[0]
        assert (found - expected)[:, 2:-2, 2:-2].abs().max() <= 1e-3


def test_hue_turns_colours_and_keeps_luma():
    x = images()
    before, after = (rgb_to_ycbcr(each + 128) for each in (x, PIXELS.hue(x, ANGLES)))
    assert (before[:, 0] - after[:, 0]).abs().max() <= 1e-3
    turned = torch.complex(before[:, 1] - 128, before[:, 2] - 128) * torch.exp(1j * ANGLES)[:, None, None]
    assert (torch.complex(after[:, 1] - 128, after[:, 2] - 128) - turned).abs().max() <= 1e-3


def test_grey_has_no_chroma():
    grey = ALL.saturation(to_channels(images()), torch.zeros(COUNT))
    assert not grey[:, 64:].any()
    assert torch.equal(grey[:, :64], to_channels(images())[:, :64])


def test_clamping_changes_a_coefficient_by_no_more_than_what_it_removes():
    # The bound of docs/augmentation.md. The rows of an orthonormal transform have an absolute sum of at most 8.
    x = PIXELS.brightness(images(), numbers(2, 2, 2, 2))
    removed = (rgb_to_ycbcr(x + 128) - rgb_to_ycbcr(x.clamp(-128, 127) + 128)).abs().amax((1, 2, 3))
    difference = (to_channels(x) - to_channels(x.clamp(-128, 127))).abs().amax((1, 2, 3))
    assert (removed > 10).all()
    assert (difference <= 8 * removed + 1e-3).all()


def test_four_quarter_turns_and_two_mirrors_are_nothing():
    x, once = to_channels(images()), torch.ones(COUNT, dtype=torch.long)
    assert torch.equal(ALL.turn(ALL.turn(x, once), 3 * once), x)
    assert torch.equal(ALL.turn(ALL.turn(x, 2 * once), 2 * once), x)
    assert torch.equal(ALL.transpose(ALL.transpose(x)), x)
    assert torch.equal(ALL.vertical_flip(ALL.vertical_flip(x)), x)


def test_shift_and_erase_are_slices():
    grid = torch.randn(COUNT, 2, 5, 7)
    down, right = torch.tensor([0, 2, -1, 9]), torch.tensor([0, -3, 1, 0])
    expected = torch.zeros_like(grid)
    expected[0] = grid[0]
    expected[1, :, 2:, :-3] = grid[1, :, :-2, 3:]
    expected[2, :, :-1, 1:] = grid[2, :, 1:, :-1]
    assert torch.equal(shift_grid(grid, down, right), expected)
    erased = erase_grid(grid, BOXES)
    for n, (top, left, bottom, right_) in enumerate(BOXES.tolist()):
        assert not erased[n, :, top:bottom, left:right_].any()
        assert (erased[n] == grid[n]).sum() == 2 * (35 - (bottom - top) * (right_ - left))


@pytest.mark.parametrize(
    ("indices", "operation", "expected"),
    [
        ([1, 8, 64], "hue", {1, 8, 64, 128}),
        ([65, 130], "hue", {65, 129, 66, 130}),
        ([1, 9, 66], "transpose", {1, 8, 9, 66, 80}),
        ([0, 3], "turn", {0, 3, 24}),
        ([0, 3, 64], "sharpness", {0, 3, 64}),
    ],
)
def test_channels_that_an_operation_mixes(indices, operation, expected):
    assert mixed_channels(indices, operation) == expected


@pytest.mark.parametrize(
    ("selection", "closed"),
    [
        ("all", {"hue", "transpose"}),
        ("square-24", {"hue", "transpose"}),
        ("triangle-48", {"hue", "transpose"}),
        ("learned-24", {"hue"}),
        ("zigzag-24", {"hue"}),
        ("luma", {"hue", "transpose"}),
    ],
)
def test_selections_closed_under_the_operations_that_mix_channels(selection, closed):
    # As in docs/augmentation.md.
    indices = named_channels(selection).indices
    assert {name for name in ("hue", "transpose") if mixed_channels(indices, name) == set(indices)} == closed
