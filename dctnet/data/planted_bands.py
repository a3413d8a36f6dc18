"""Images that carry the class in every octave band alike: calibration of what is learned first.

In each band, the energy is divided among four orientations, and each class makes two of the four strong. Orientations
are of lines without direction and alike after a horizontal flip, so that flips keep the class.
"""

import functools
import itertools

import numpy as np

from dctnet.frequency.bands import Band, band_mask, octave_bands

SIDE = 96
SECTORS = 4
CODES = tuple(itertools.combinations(range(SECTORS), SECTORS // 2))  # strong sectors of each class
BANDS = tuple(octave_bands(SIDE))
RMS = 14.0  # of each band
# Of the log amplitude of a sector: half the distance of strong and weak ones, and the deviation within a class.
_SIGNAL, _NOISE = 0.35, 0.35


@functools.cache
def orientation_sectors() -> np.ndarray:
    """Sector 0 … 3 of each coefficient of ``rfft2``, by the angle of its wave to the horizontal, 0 … 90°."""
    vertical = np.abs(np.fft.fftfreq(SIDE))[:, None]
    angle = np.arctan2(vertical, np.fft.rfftfreq(SIDE)[None, :])
    return np.minimum((angle / (np.pi / 2) * SECTORS).astype(int), SECTORS - 1)


def synthesize(target: int, rng: np.random.Generator) -> np.ndarray:
    """Luma of one image of a class, (SIDE, SIDE), 0 … 255, uint8.

    All coefficients of a sector of a band have the same modulus and random phases, so that the amplitudes of the
    sectors can be read from an image without sampling error, equally well in each band.
    """
    sectors = orientation_sectors()
    strong = np.where(np.isin(np.arange(SECTORS), CODES[target]), 1.0, -1.0)
    image = np.zeros((SIDE, SIDE))
    phases = np.fft.rfft2(rng.normal(size=(SIDE, SIDE)))  # of a real image
    phases /= np.abs(phases)
    for band in BANDS:
        amplitude = np.exp(_SIGNAL * strong + _NOISE * rng.normal(size=SECTORS))
        image += _scaled(np.fft.irfft2(phases * weights(band, sectors, amplitude), s=(SIDE, SIDE)))
    return np.clip(np.rint(128 + image), 0, 255).astype(np.uint8)


def weights(band: Band, sectors: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """Modulus of each coefficient of ``rfft2``: the amplitude of its sector, shared by the sector's coefficients."""
    inside = _inside(band)
    counts = np.bincount(sectors[inside], minlength=SECTORS)
    return inside * (amplitude / np.sqrt(counts))[sectors]


@functools.cache
def _inside(band: Band) -> np.ndarray:
    return band_mask(band, SIDE).numpy()


def _scaled(part: np.ndarray) -> np.ndarray:
    return RMS / part.std() * part


def decode(images: np.ndarray, band: Band) -> np.ndarray:
    """Log amplitudes of the four sectors of one band: (N, SIDE, SIDE) to (N, 4)."""
    power = np.abs(np.fft.rfft2(images)) ** 2 * _inside(band)
    sectors = orientation_sectors()
    return np.stack([np.log(power[:, sectors == sector].sum(1)) / 2 for sector in range(SECTORS)], 1)
