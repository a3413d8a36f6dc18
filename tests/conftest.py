"""Small real image files, made once a session."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dctnet.data.images import turbojpeg

needs_turbojpeg = pytest.mark.skipif(turbojpeg.describe() is None, reason="libjpeg-turbo is not found")
DECODERS = ["pillow", "turbojpeg"][: 1 if turbojpeg.describe() is None else 2]  # those of this machine
COLOURS = {"blue": (60, 90, 200), "green": (70, 170, 80), "red": (200, 70, 60)}


def paint(colour: tuple[int, int, int], size: tuple[int, int], seed: int) -> Image.Image:
    """A colour with a slope and some noise, as RGB."""
    width, height = size
    draw = np.random.default_rng(seed)
    slope = np.linspace(-30, 30, width)[None, :, None] * draw.uniform(0.5, 1.5)
    noise = draw.normal(0, 6, (height, width, 1))
    return Image.fromarray(np.clip(np.array(colour) + slope + noise, 0, 255).astype(np.uint8))


def make_photos(root: Path, train: int, val: int) -> Path:
    """Class folders of JPEG files under train/ and val/."""
    for split, count in (("train", train), ("val", val)):
        for target, (name, colour) in enumerate(COLOURS.items()):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                size = ((80, 64), (64, 96), (72, 72))[number % 3]
                seed = 1000 * target + 100 * (split == "val") + number
                paint(colour, size, seed).save(folder / f"{number}.jpg", quality=92)
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Three easy classes: 12 training and 5 validation images each. Not to be changed; see ``own_photos``."""
    return make_photos(tmp_path_factory.mktemp("photos"), 12, 5)


@pytest.fixture
def own_photos(tmp_path):
    """The same, smaller, for a test that spoils files."""
    return make_photos(tmp_path / "photos", 6, 3)
