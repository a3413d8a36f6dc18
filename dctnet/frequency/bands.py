"""Bands of spatial frequencies, and projections of images on them.

A frequency is ρ in cycles per pixel: 0 for the mean, 0.5 (Nyquist) for the finest stripes along an axis, √½ for the
finest checkerboard.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dctnet.errors import UserError

NYQUIST = 0.5


@dataclass(frozen=True)
class Band:
    """The frequencies ρ with low ≤ ρ < high, without ρ = 0, in cycles per pixel."""

    low: float
    high: float

    def __str__(self) -> str:
        if self.high > NYQUIST:
            return f"from {self.low:.3g}" if self.low else "all"
        return f"{self.low:.3g}–{self.high:.3g}" if self.low else f"below {self.high:.3g}"

    @property
    def center(self) -> float:
        """Geometric mean of the ends; of a band from 0, half its upper end."""
        return (self.low * min(self.high, NYQUIST)) ** 0.5 if self.low else self.high / 2


def octave_bands(size: int) -> list[Band]:
    """Bands of one octave up to Nyquist, lowest first; the lowest has all below it, the highest also the corners.

    The lowest octave that is a band of its own begins at four cycles per image.
    """
    edges = [NYQUIST / 2]
    while edges[0] / 2 >= 4 / size:
        edges.insert(0, edges[0] / 2)
    return bands_between([0.0, *edges, 1.0], size)


def bands_between(edges: Sequence[float], size: int) -> list[Band]:
    """Bands between given ends.

    Args:
        edges: In cycles per pixel, ascending; an end of 0.5 or above includes the corners of the spectrum.
        size: Side of the images in pixels.

    Raises:
        UserError: The ends do not ascend from at least 0, or a band has no frequency of such an image.
    """
    if len(edges) < 2 or edges[0] < 0 or any(a >= b for a, b in itertools.pairwise(edges)):
        raise UserError(
            f"--bands must be two or more ascending numbers of cycles per pixel, 0 … 0.5; got {list(edges)}"
        )
    ends = [*edges[:-1], 1.0 if edges[-1] >= NYQUIST else edges[-1]]
    bands = [Band(low, high) for low, high in itertools.pairwise(ends)]
    if len(set(map(str, bands))) < len(bands):
        raise UserError(f"--bands: two bands have the same first three digits; got {list(edges)}")
    for band in bands:
        if not bool(band_mask(band, size).any()):
            raise UserError(
                f"--bands: an image of {size} px has no frequency in {band.low:g} … {band.high:g}; the lowest is "
                f"1/{size} = {1 / size:.3g}"
            )
    return bands


def radius(size: int, device: torch.device | None = None) -> Tensor:
    """ρ of each coefficient of ``torch.fft.rfft2`` of a square image: (size, size // 2 + 1)."""
    vertical = torch.fft.fftfreq(size, device=device, dtype=torch.float64)
    horizontal = torch.fft.rfftfreq(size, device=device, dtype=torch.float64)
    return (vertical[:, None] ** 2 + horizontal[None, :] ** 2).sqrt()


def band_mask(band: Band, size: int, device: torch.device | None = None) -> Tensor:
    """Which coefficients of ``rfft2`` are in a band: (size, size // 2 + 1), bool."""
    rho = radius(size, device)
    return (rho >= band.low) & (rho < band.high) & (rho > 0)


def project(images: Tensor, mask: Tensor) -> Tensor:
    """Orthogonal projection of images on some coefficients of ``rfft2``.

    Shape:
        - images: (..., S, S), floating point
        - mask: (S, S // 2 + 1)
        - output: (..., S, S)
    """
    return torch.fft.irfft2(torch.fft.rfft2(images) * mask, s=images.shape[-2:])
