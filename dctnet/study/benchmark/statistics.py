"""Accuracy of an arm and differences between arms, with intervals over images and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dctnet.study.benchmark.rows import Row

RESAMPLES = 10_000
_CHUNK = 500


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, in percentage points.

    Args:
        value: Mean over seeds and images.
        low: Lower end.
        high: Upper end.
        seeds: How many runs; of a difference, the fewer of the two.
        images: How many.
    """

    value: float
    low: float
    high: float
    seeds: int
    images: int


def accuracy(rows: Sequence[Row]) -> Estimate:
    """Top-1 accuracy of one arm's runs.

    Args:
        rows: One a seed.
    """
    return _estimate([_matrix(rows)])


def difference(rows: Sequence[Row], baseline: Sequence[Row]) -> Estimate:
    """Top-1 accuracy of one arm less another's, on the same images.

    Images are drawn for both at once, so that what is hard for both cancels; seeds for each by itself, for nothing ties
    the seed of one network to that of another. With one seed the interval is over images alone and says nothing of how
    another training would have come out; with few seeds it is somewhat too narrow (by √(1 − 1/seeds) in what seeds
    contribute).

    Args:
        rows: One a seed.
        baseline: The same of the arm to compare with.
    """
    return _estimate([_matrix(rows), _matrix(baseline)])


def _matrix(rows: Sequence[Row]) -> np.ndarray:
    """Right (1), wrong (0) or unreadable (NaN), seeds × images."""
    values = np.array([list(row.correct) for row in rows])
    return np.where(values == "-", np.nan, values == "1")


def _estimate(arms: list[np.ndarray]) -> Estimate:
    readable = ~np.isnan(np.concatenate(arms)).any(0)
    arms = [arm[:, readable] for arm in arms]
    images, signs = int(readable.sum()), (1, -1)
    value = sum(sign * arm.mean() for sign, arm in zip(signs, arms, strict=False))
    draw = np.random.default_rng(0)
    resampled = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, _CHUNK):
        # How often each image is drawn, with replacement, as many as there are.
        weights = draw.multinomial(images, np.full(images, 1 / images), size=_CHUNK) / images
        totals = np.zeros(_CHUNK)
        for sign, arm in zip(signs, arms, strict=False):
            seeds = draw.multinomial(len(arm), np.full(len(arm), 1 / len(arm)), size=_CHUNK) / len(arm)
            totals += sign * np.einsum("bs,bs->b", seeds, weights @ arm.T)
        resampled[start : start + _CHUNK] = totals
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Estimate(100 * value, 100 * low, 100 * high, min(map(len, arms)), images)
