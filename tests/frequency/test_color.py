"""JFIF color conversion against Pillow, in both directions."""

import numpy as np
import pytest
import torch
from PIL import Image

from dctnet.errors import UserError
from dctnet.frequency.color import rgb_to_ycbcr, ycbcr_to_rgb


def every_colour(step: int = 15) -> np.ndarray:
    axis = np.arange(0, 256, step, dtype=np.uint8)
    return np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(1, -1, 3)


def planes(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(2, 0, 1).double()


def test_agrees_with_pillow_to_one_level():
    rgb = every_colour()
    pillow = planes(np.asarray(Image.fromarray(rgb, mode="RGB").convert("YCbCr")))
    # Pillow rounds down 16-bit fixed-point numbers.
    assert (rgb_to_ycbcr(planes(rgb)) - pillow).abs().max() <= 1.0


def test_inverse_agrees_with_pillow_to_one_level():
    ycbcr = every_colour()
    pillow = planes(np.asarray(Image.fromarray(ycbcr, mode="YCbCr").convert("RGB")))
    assert (ycbcr_to_rgb(planes(ycbcr)) - pillow).abs().max() <= 1.0


def test_round_trip_and_grey():
    rgb = planes(every_colour())
    assert torch.allclose(ycbcr_to_rgb(rgb_to_ycbcr(rgb)), rgb, atol=1e-10)
    grey = rgb_to_ycbcr(torch.full((2, 3, 1, 1), 77.0))
    assert torch.allclose(grey[0, :, 0, 0], torch.tensor([77.0, 128.0, 128.0]))


def test_colours_outside_of_rgb_are_kept_on_request():
    bright = torch.tensor([250.0, 200.0, 50.0])[:, None, None]
    assert (ycbcr_to_rgb(bright) <= 255).all()
    torch.testing.assert_close(rgb_to_ycbcr(ycbcr_to_rgb(bright, clamp=False)), bright)


@pytest.mark.parametrize("image", [torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(4, 2, 2)])
def test_other_dtypes_and_channel_counts_are_rejected(image):
    with pytest.raises(UserError, match="got"):
        rgb_to_ycbcr(image)
