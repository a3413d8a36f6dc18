"""Where crops lie."""

import numpy as np
import pytest
from PIL import Image

from dctnet.data.transforms import CenterCrop, TrainCrop


@pytest.mark.parametrize("size", [(400, 533), (37, 300), (1, 1), (8, 4000)])
def test_random_crops_lie_inside_with_the_area_and_aspect_asked(size):
    draw = np.random.default_rng(0)
    width, height = size
    for _ in range(200):
        left, top, right, bottom = TrainCrop(64, 0.35).box(width, height, draw)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        if 3 / 4 < width / height < 4 / 3 and width > 100:
            assert 0.34 <= (right - left) * (bottom - top) / (width * height) <= 1
            assert 0.74 <= (right - left) / (bottom - top) <= 1.35


def test_scale_one_of_a_square_is_the_whole_square():
    assert {TrainCrop(64, 1.0).box(96, 96, np.random.default_rng(s)) for s in range(50)} == {(0, 0, 96, 96)}


def test_same_generator_same_crop():
    image = Image.effect_noise((90, 70), 50).convert("YCbCr")
    first, second = (TrainCrop(32, 0.2)(image, np.random.default_rng(7)) for _ in range(2))
    assert (first == second).all()
    assert (first != TrainCrop(32, 0.2)(image, np.random.default_rng(8))).any()


def test_half_of_the_crops_are_mirrored():
    image = Image.linear_gradient("L").rotate(90).convert("YCbCr")
    crops = [TrainCrop(16, 0.9)(image, np.random.default_rng(s))[0] for s in range(200)]
    rising = sum(int(c[:, -1].mean() > c[:, 0].mean()) for c in crops)
    assert 70 <= rising <= 130


def test_center_crop_is_resize_then_crop():
    image = Image.effect_noise((512, 640), 40).convert("YCbCr")
    ours = CenterCrop(224, 0.875)(image, np.random.default_rng(0)).astype(int)
    resized = image.resize((256, 320), Image.Resampling.BILINEAR).crop((16, 48, 240, 272))
    assert np.abs(ours - np.moveaxis(np.asarray(resized).astype(int), -1, 0)).max() <= 1
    assert CenterCrop(224, 1.0).box(300, 400) == (0, 50, 300, 350)
