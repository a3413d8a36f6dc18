"""Positions and sizes of crops."""

import numpy as np
import pytest

from dctnet.data.transforms import CenterCrop, TrainCrop


@pytest.mark.parametrize("size", [(400, 533), (37, 300), (1, 1), (8, 4000)])
def test_random_crops_are_inside_with_an_allowed_area_and_aspect(size):
    rng = np.random.default_rng(0)
    width, height = size
    for _ in range(200):
        left, top, right, bottom = TrainCrop(0.35).box(width, height, rng)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        if 3 / 4 < width / height < 4 / 3 and width > 100:
            assert 0.34 <= (right - left) * (bottom - top) / (width * height) <= 1
            assert 0.74 <= (right - left) / (bottom - top) <= 1.35


def test_scale_1_of_a_square_is_the_whole_square():
    assert {TrainCrop(1.0).box(96, 96, np.random.default_rng(s)) for s in range(50)} == {(0, 0, 96, 96)}


def test_crop_depends_on_the_generator_only():
    first, second, other = (TrainCrop(0.2).box(90, 70, np.random.default_rng(s)) for s in (7, 7, 8))
    assert first == second != other


def test_half_of_the_random_crops_are_flipped():
    rng = np.random.default_rng(0)
    assert 70 <= sum(TrainCrop(0.9).flip(rng) for _ in range(200)) <= 130
    assert not any(CenterCrop(0.9).flip(rng) for _ in range(20))


@pytest.mark.parametrize(
    ("fraction", "size", "box"),
    [
        (1.0, (300, 400), (0, 50, 300, 350)),
        (0.875, (512, 640), (32, 96, 480, 544)),
        (0.5, (7, 5), (2.25, 1.25, 4.75, 3.75)),
    ],
)
def test_center_crop_is_the_central_square(fraction, size, box):
    assert CenterCrop(fraction).box(*size, np.random.default_rng(0)) == box
