"""Functions on an interval or a closed curve, and how much of each frequency a network has learned."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dctnet.studies.laboratory.seeds import generator


@dataclass(frozen=True)
class Target:
    """A sum of sines at N points.

    Shape:
        - inputs: (N, 1) on the interval 0 … 1, or (N, 2) on a curve
        - values: (N, 1)
        - frequencies, spectrum: (K,), periods over the interval or once around the curve, and the coefficients of
          the discrete Fourier transform there, complex
    """

    inputs: Tensor
    values: Tensor
    frequencies: Tensor
    spectrum: Tensor


def make_target(frequencies: Sequence[int], amplitudes: str, petals: int | None, points: int, seed: int) -> Target:
    """A sum of sines with random phases.

    Args:
        frequencies: Periods over all points, below ``points / 2``.
        amplitudes: ``equal``: 1. ``rising``: 1/K, 2/K … 1, from the first to the last frequency.
        petals: None for the interval. A number L for the closed curve with the radius 1 + ½ sin(2πLz), whose angle is
            2πz; 0 is the circle.
        points: Number of equally spaced z = 0 … 1 − 1/N.
        seed: Of the phases.

    Source: Rahaman et al. 2019, sections 3 and 4.
    """
    z = torch.arange(points, dtype=torch.float64) / points
    k = torch.tensor(list(frequencies))
    phases = 2 * math.pi * torch.rand(len(k), 1, generator=generator(seed, "phases"), dtype=torch.float64)
    size = torch.arange(1, len(k) + 1) / len(k) if amplitudes == "rising" else torch.ones(len(k))
    values = (size.double()[:, None] * torch.sin(2 * math.pi * k[:, None] * z + phases)).sum(0)
    inputs = z[:, None]
    if petals is not None:
        circle = torch.stack([torch.cos(2 * math.pi * z), torch.sin(2 * math.pi * z)], 1)
        inputs = (1 + torch.sin(2 * math.pi * petals * z) / 2)[:, None] * circle
    return Target(inputs.float(), values[:, None].float(), k, torch.fft.rfft(values)[k])


def learned(outputs: Tensor, target: Target) -> tuple[Tensor, Tensor]:
    """How much of each frequency is in the outputs of a network, by two measures that are 1 for the target itself.

    Returns:
        The modulus abs(f̂)/abs(ŷ), which Rahaman et al. report, and the match 1 − abs(f̂ − ŷ)/abs(ŷ). The modulus
        counts a wrong phase as learned; the match is at most the modulus, and negative if the output is worse than 0.

    Shape:
        - outputs: (..., N)
        - output: twice (..., K)
    """
    spectrum = torch.fft.rfft(outputs.double())[..., target.frequencies]
    size = target.spectrum.abs()
    return spectrum.abs() / size, 1 - (spectrum - target.spectrum).abs() / size
