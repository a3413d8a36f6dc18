"""Bands of spatial frequency: removed, left alone, or with noise; and the Fourier map."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dctnet.frequency.bands import NYQUIST, Band, band_mask, project
from dctnet.frequency.color import rgb_to_ycbcr, ycbcr_to_rgb
from dctnet.studies.laboratory.photographs import Photographs
from dctnet.studies.laboratory.sensitivity.answers import Answers, clip, collect, compare
from dctnet.studies.laboratory.spectrum import band_noise
from dctnet.studies.laboratory.study import Measure, Measurement
from dctnet.studies.laboratory.subject import Subject

NOISE = (0.02, 0.04, 0.08, 0.16)  # RMS of each colour, in units of 0 … 1
MAP_NOISE = 0.08
ORIENTATIONS, RINGS = 8, 8
# Changes planes (N, 3, S, S); the number is that of the first among all images.
Change = Callable[[Tensor, int], Tensor]


def change_planes(subject: Subject, photographs: Photographs, batch: int, change: Change) -> tuple[Answers, float]:
    """Answers to planes changed by a function of (planes, first index), and the share of clipped values."""
    shares: list[float] = []

    def logits_of(part: slice) -> Tensor:
        planes, share = clip(change(photographs.planes[part], part.start))
        shares.append(share * len(planes))
        return subject(planes)

    found = collect(logits_of, photographs.targets, batch)
    return found, sum(shares) / len(photographs)


@dataclass(frozen=True)
class Removed:
    """The image without its content in a band, or with nothing else but its mean."""

    mask: Tensor
    only: bool

    def __call__(self, planes: Tensor, first: int) -> Tensor:
        """Changes planes."""
        content = project(planes, self.mask)
        return content + planes.mean((-2, -1), keepdim=True) if self.only else planes - content


@dataclass(frozen=True)
class Noisy:
    """The image with noise in a band; ``contrast``, if given, makes it grey and reduces its contrast first."""

    mask: Tensor
    rms: float
    seed: int
    contrast: float | None = None

    def __call__(self, planes: Tensor, first: int) -> Tensor:
        """Changes planes, the first of which is number ``first`` of all images; each number has noise of its own."""
        numbers = range(first, first + len(planes))
        noise = 255 * torch.cat([band_noise(1, self.mask, self.rms, self._generator(each)) for each in numbers])
        if self.contrast is not None:
            noise = noise[:, :1].expand(-1, 3, -1, -1)
            planes = lower_contrast(planes, self.contrast)
        # The colours of the photograph are already within their range; those of the sum are clipped later.
        return rgb_to_ycbcr(ycbcr_to_rgb(planes) + noise)

    def _generator(self, number: int) -> torch.Generator:
        """Of an image's noise: the same in all bands and at all strengths, and in batches of any size."""
        state = np.random.SeedSequence((self.seed, number)).generate_state(1)
        return torch.Generator().manual_seed(int(state[0]))


def lower_contrast(planes: Tensor, contrast: float) -> Tensor:
    """Grey images whose differences from mid-grey are reduced to a share."""
    grey = torch.full_like(planes, 128)
    grey[:, 0] = 127.5 + contrast * (planes[:, 0] - 127.5)
    return grey


def band_units(
    subject: Subject, photographs: Photographs, clean: Answers, bands: Sequence[Band], batch: int
) -> Iterator[tuple[str, Measure]]:
    """Units that remove a band, or leave only it."""
    for band in bands:
        mask = band_mask(band, subject.image_size)
        for kind in ("removed", "only"):

            def measure(mask: Tensor = mask, kind: str = kind, band: Band = band) -> list[Measurement]:
                changed, clipped = change_planes(subject, photographs, batch, Removed(mask, kind == "only"))
                return [compare(kind, str(band), band.center, changed, clean, clipped)]

            yield f"{kind}/{band}", measure


def noise_units(
    subject: Subject, photographs: Photographs, clean: Answers, bands: Sequence[Band], batch: int, seed: int,
    contrast: float | None,
) -> Iterator[tuple[str, Measure]]:  # fmt: skip
    """Units that add noise to a band, at each strength."""
    for band in bands:
        mask = band_mask(band, subject.image_size)
        for rms in NOISE:

            def measure(mask: Tensor = mask, rms: float = rms, band: Band = band) -> list[Measurement]:
                changed, clipped = change_planes(subject, photographs, batch, Noisy(mask, rms, seed, contrast))
                return [compare("noise", str(band), rms, changed, clean, clipped)]

            yield f"noise/{band}/{rms}", measure


def polar_cells(size: int) -> dict[tuple[int, int], Tensor]:
    """Cells of the Fourier map that have a frequency, by (ring, orientation).

    They partition the frequencies from ρ = 1/32: rings are half octaves up to Nyquist, the last one with the corners;
    orientation 0 is centred on vertical stripes.

    Shape:
        - values: coefficients of ``rfft2``, (size, size // 2 + 1), bool
    """
    vertical = torch.fft.fftfreq(size, dtype=torch.float64)[:, None]
    horizontal = torch.fft.rfftfreq(size, dtype=torch.float64)[None, :]
    rho = (vertical**2 + horizontal**2).sqrt()
    ring = (RINGS - 1 + torch.floor(2 * torch.log2(rho.clamp_min(1e-9) / NYQUIST)) + 1).clamp_max(RINGS - 1)
    # At the horizontal Nyquist frequency v and −v are conjugates, that is one wave.
    angle = torch.atan2(torch.where(horizontal < NYQUIST, vertical, vertical.abs()), horizontal) % math.pi
    sector = torch.round(angle / (math.pi / ORIENTATIONS)) % ORIENTATIONS
    cells = {(r, o): (ring == r) & (sector == o) & (rho > 0) for r in range(RINGS) for o in range(ORIENTATIONS)}
    return {place: mask for place, mask in cells.items() if bool(mask.any())}


def frequency_cells(size: int) -> dict[tuple[int, int], Tensor]:
    """Each frequency (vertical, horizontal) in cycles per image as a cell of its own; one of each conjugate pair."""
    half = size // 2
    cells = {}
    for v in range(-half + 1, half + 1):
        for h in range(half + 1):
            if (h, v) == (0, 0) or (h in (0, half) and v < 0):  # the mean; conjugates of others
                continue
            mask = torch.zeros(size, half + 1, dtype=torch.bool)
            mask[v % size, h] = True
            if h in (0, half):
                mask[-v % size, h] = True
            cells[v, h] = mask
    return cells


def map_units(
    subject: Subject, photographs: Photographs, clean: Answers, batch: int, seed: int, full: bool
) -> Iterator[tuple[str, Measure]]:
    """Units of the Fourier map: noise in one cell; with ``full``, a row of cells of one frequency each."""
    cells = frequency_cells(subject.image_size) if full else polar_cells(subject.image_size)
    rows: dict[int, list[tuple[int, int]]] = {}
    for place in cells:
        rows.setdefault(place[0], []).append(place)
    for row, places in rows.items():

        def measure(places: list[tuple[int, int]] = places) -> Iterator[Measurement]:
            for place in places:
                noisy = Noisy(cells[place], MAP_NOISE, seed)
                changed, clipped = change_planes(subject, photographs, batch, noisy)
                yield compare("map", f"{place[0]} {place[1]}", MAP_NOISE, changed, clean, clipped)

        yield f"map/{row}", measure
