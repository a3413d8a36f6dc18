"""Mappings of coordinates to sines and cosines."""

import math
from typing import Literal

import torch
from torch import Tensor

from dctnet.studies.laboratory.seeds import generator

Distribution = Literal["gaussian", "laplace", "uniform"]
DISTRIBUTIONS: tuple[Distribution, ...] = ("gaussian", "laplace", "uniform")
FIXED = ("none", "basic", "positional")


def draw_frequencies(distribution: Distribution, deviation: float, count: int, seed: int) -> Tensor:
    """Random frequencies with mean 0 and a standard deviation per coordinate: (count, 2), in cycles per image.

    The same seed gives the same frequencies up to their scale.
    """
    drawn = generator(seed, "frequencies")
    if distribution == "gaussian":
        return deviation * torch.randn(count, 2, generator=drawn)
    even = 2 * torch.rand(count, 2, generator=drawn) - 1
    if distribution == "uniform":
        return deviation * math.sqrt(3) * even
    return -deviation / math.sqrt(2) * even.sign() * torch.log1p(-even.abs())


def fixed_frequencies(name: str, count: int, highest: float) -> Tensor | None:
    """Frequencies of the mappings that are not random; None for ``none``, the coordinates themselves.

    Args:
        name: ``none``; ``basic``: one cycle per image; ``positional``: count / 2 frequencies for each coordinate, from
            one cycle to ``highest``, equally spaced on a logarithmic scale.
        count: Number of frequencies.
        highest: In cycles per image.
    """
    if name == "none":
        return None
    ladder = torch.ones(1) if name == "basic" else torch.logspace(0, math.log10(highest), count // 2)
    zero = torch.zeros_like(ladder)
    return torch.cat([torch.stack([ladder, zero], 1), torch.stack([zero, ladder], 1)])


def map_coordinates(coordinates: Tensor, frequencies: Tensor | None) -> Tensor:
    """cos(2πBv) and sin(2πBv) of coordinates v, or v itself.

    Shape:
        - coordinates: (N, 2), 0 … 1
        - frequencies: (m, 2), B
        - output: (N, 2m), or (N, 2) without frequencies
    """
    if frequencies is None:
        return coordinates
    angles = 2 * math.pi * coordinates @ frequencies.T
    return torch.cat([torch.cos(angles), torch.sin(angles)], 1)


def series_weights(name: str, size: int) -> Tensor:
    """Amplitudes of the harmonics 1 … size of a mapping on one dimension, with a sum of squares of 1: (size,), float64.

    Args:
        name: ``circle``: only the first. ``power p``: 1/j^p. ``gaussian σ``: squares as the normal density of deviation
            σ at j, so that the inner products of two points are those of infinitely many random frequencies.
        size: Number of harmonics.
    """
    j = torch.arange(1, size + 1, dtype=torch.float64)
    kind, _, number = name.partition(" ")
    if kind == "circle":
        weights = (j == 1).double()
    elif kind == "power":
        weights = j ** -float(number)
    else:
        weights = torch.exp(-((j / float(number)) ** 2) / 4)
    return weights / weights.norm()


def map_series(x: Tensor, weights: Tensor) -> Tensor:
    """a_j cos(2πjx) and a_j sin(2πjx) of points of 0 … 1: (N,) to (N, 2J)."""
    angles = 2 * math.pi * x[:, None] * torch.arange(1, len(weights) + 1)
    return torch.cat([weights * torch.cos(angles), weights * torch.sin(angles)], 1)
