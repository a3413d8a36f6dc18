"""Random and center crops: geometry in source pixels."""

import math
from dataclasses import dataclass

import numpy as np

from dctnet.data.images.planes import Box


@dataclass(frozen=True)
class TrainCrop:
    """RandomResizedCrop and horizontal flip, drawn from the generator of the sample.

    Args:
        min_scale: Smallest area of a crop as a share of the image, 0…1.

    Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6; aspect ¾ … 4/3.
    """

    min_scale: float

    def box(self, width: int, height: int, rng: np.random.Generator) -> Box:
        """A random box; after ten that do not fit, the largest central one with an allowed aspect ratio."""
        for _ in range(10):
            area = width * height * rng.uniform(self.min_scale, 1)
            aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = rng.integers(width - w, endpoint=True), rng.integers(height - h, endpoint=True)
                return float(left), float(top), float(left + w), float(top + h)
        half_w, half_h = min(width, height * 4 / 3) / 2, min(height, width * 4 / 3) / 2
        return width / 2 - half_w, height / 2 - half_h, width / 2 + half_w, height / 2 + half_h

    def flip(self, rng: np.random.Generator) -> bool:
        """Whether to flip: true with probability ½."""
        return bool(rng.random() < 0.5)


@dataclass(frozen=True)
class CenterCrop:
    """The central square; draws nothing from the generator.

    Args:
        fraction: Side of the square as a share of the short side of the image; 0.875 is resize to 256, crop 224.
    """

    fraction: float

    def box(self, width: int, height: int, rng: np.random.Generator) -> Box:
        """The central box in source pixels."""
        half = min(width, height) * self.fraction / 2
        return width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half

    def flip(self, rng: np.random.Generator) -> bool:
        """Always false."""
        return False


Crop = TrainCrop | CenterCrop
