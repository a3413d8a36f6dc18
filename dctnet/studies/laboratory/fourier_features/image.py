"""Fits a photograph as a function of its coordinates, from every second pixel of every second row."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dctnet.data.images.photo import Photo
from dctnet.data.preprocess import make_reader
from dctnet.data.transforms import CenterCrop
from dctnet.errors import UserError
from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.frequency.selections import named_channels
from dctnet.studies.laboratory.fourier_features.mappings import map_coordinates
from dctnet.studies.laboratory.mlp import make_mlp
from dctnet.studies.laboratory.seeds import generator


@dataclass(frozen=True)
class Fit:
    """A network and how it is trained."""

    width: int
    depth: int  # hidden layers
    steps: int
    batch: int  # points per step; 0 for all
    lr: float


@dataclass(frozen=True)
class Picture:
    """A square photograph as points.

    Shape:
        - coordinates: (S², 2), row and column, 0 … 1 − 1/S
        - colours: (S², 3), R, G, B, 0 … 1
        - train: (S²,), bool, a quarter of the points
    """

    size: int
    coordinates: Tensor
    colours: Tensor
    train: Tensor

    @property
    def parts(self) -> dict[str, Tensor]:
        """The points of each measure: of training, all others, and the halves of these that choose σ and report.

        The halves are a checkerboard of squares of two by two pixels, so that the three kinds of pixels between the
        known ones, which differ in difficulty, are alike in both.
        """
        square = torch.arange(self.size) // 2
        black = ((square[:, None] + square) % 2 == 0).flatten()
        return {
            "train_psnr": self.train,
            "test_psnr": ~self.train,
            "choose_psnr": ~self.train & black,
            "report_psnr": ~self.train & ~black,
        }


def read_picture(path: str, size: int) -> Picture:
    """The central square of a photograph, resized.

    Raises:
        ImageError: The file cannot be read as an image.
        UserError: The photograph is smaller.
    """
    photo = Photo(path)
    if min(photo.width, photo.height) < size:
        raise UserError(f"{path}: {photo.width}×{photo.height} pixels, smaller than --image_size {size}")
    reader = make_reader(CenterCrop(1.0), size, named_channels("all"), "rgb", "pixels")
    sample: Any = reader.sample(photo, np.random.default_rng(0))
    planes: Any = reader.collate([sample])
    return to_picture(ycbcr_to_rgb(planes.float())[0] / 255)


def to_picture(image: Tensor) -> Picture:
    """Points of a square image, (3, S, S), 0 … 1."""
    size = image.shape[-1]
    place = torch.arange(size)
    even = place % 2 == 0
    rows, columns = torch.meshgrid(place / size, place / size, indexing="ij")
    train = (even[:, None] & even[None, :]).flatten()
    return Picture(size, torch.stack([rows.flatten(), columns.flatten()], 1), image.flatten(1).T.contiguous(), train)


def psnr(outputs: Tensor, colours: Tensor) -> float:
    """Peak signal-to-noise ratio of values of 0 … 1, in dB."""
    return -10 * math.log10(max(float((outputs - colours).square().mean()), 1e-12))


def psnr_by_part(outputs: Tensor, picture: Picture) -> dict[str, float]:
    """PSNR of values (S², 3) at the points of each measure."""
    return {name: psnr(outputs[part], picture.colours[part]) for name, part in picture.parts.items()}


def interpolate_bicubic(picture: Picture) -> Tensor:
    """Bicubic interpolation of the training points, (S², 3): what costs no network."""
    half = picture.size // 2
    known = picture.colours[picture.train].T.reshape(1, 3, half, half)
    # Row and column of each pixel on the grid of the training points, whose ends are −1 and 1.
    place = 2 * (picture.coordinates * picture.size / 2) / (half - 1) - 1
    grid = place.flip(1).reshape(1, picture.size, picture.size, 2)
    filled = nn.functional.grid_sample(known, grid, "bicubic", "border", align_corners=True)[0].flatten(1).T
    return filled.clamp(0, 1)


def fit_picture(
    picture: Picture, frequencies: Tensor | None, fit: Fit, seed: int, check_stop: Callable[[], None]
) -> Tensor:
    """Trains a network with a sigmoid at its output by Adam.

    Args:
        picture: The photograph.
        frequencies: Of the mapping.
        fit: Network and training.
        seed: Of the initial weights and of the points of each step.
        check_stop: Is called at each step.

    Returns:
        The colour at each point, (S², 3).
    """
    inputs = map_coordinates(picture.coordinates, frequencies)
    known, colours = inputs[picture.train], picture.colours[picture.train]
    network = nn.Sequential(make_mlp(inputs.shape[1], 3, fit.width, fit.depth, "relu", seed), nn.Sigmoid())
    optimizer = torch.optim.Adam(network.parameters(), fit.lr)
    drawn = generator(seed, "points")
    for _ in range(fit.steps):
        check_stop()
        chosen = torch.randint(len(known), (fit.batch,), generator=drawn) if fit.batch else slice(None)
        optimizer.zero_grad()
        nn.functional.mse_loss(network(known[chosen]), colours[chosen]).backward()
        optimizer.step()
    with torch.no_grad():
        return network(inputs)
