"""Crop and flip, both on the pixel side of the DCT."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dctnet.data.decode import resize_crop

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class TrainCrop:
    """RandomResizedCrop and horizontal flip, drawn from a generator of the sample's own.

    Args:
        size: Side of the result in pixels.
        min_scale: Smallest share of the image's area that a crop may take, 0…1.

    Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6; aspect ¾ … 4/3.
    """

    size: int
    min_scale: float

    def box(self, width: int, height: int, draw: np.random.Generator) -> Box:
        """A random box, or the largest central one of an allowed aspect after ten that did not fit."""
        for _ in range(10):
            area = width * height * draw.uniform(self.min_scale, 1)
            aspect = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = draw.integers(width - w, endpoint=True), draw.integers(height - h, endpoint=True)
                return float(left), float(top), float(left + w), float(top + h)
        half_w, half_h = min(width, height * 4 / 3) / 2, min(height, width * 4 / 3) / 2
        return width / 2 - half_w, height / 2 - half_h, width / 2 + half_w, height / 2 + half_h

    def __call__(self, image: Image.Image, draw: np.random.Generator) -> np.ndarray:
        """Planes (3, size, size), uint8, of a random crop."""
        return resize_crop(image, self.box(*image.size, draw), self.size, flip=bool(draw.random() < 0.5))


@dataclass(frozen=True)
class CenterCrop:
    """The central square, resized in one step.

    Args:
        size: Side of the result in pixels.
        fraction: Side of the square as a share of the image's short side; 0.875 is resize to 256, crop 224.
    """

    size: int
    fraction: float

    def box(self, width: int, height: int) -> Box:
        """The central box in source pixels."""
        half = min(width, height) * self.fraction / 2
        return width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half

    def __call__(self, image: Image.Image, draw: np.random.Generator) -> np.ndarray:
        """Planes (3, size, size), uint8; the generator is not used."""
        return resize_crop(image, self.box(*image.size), self.size, flip=False)
