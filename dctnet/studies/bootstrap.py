"""Accuracy of an arm and differences between arms, with intervals over images and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dctnet.errors import UserError
from dctnet.studies.rows import Row

RESAMPLES = 10_000
_CHUNK = 100
# An arm counts for the figure; the one that it is compared with, against.
_SIGNS = (1, -1)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval, in percentage points.

    Args:
        value: Mean over seeds and images.
        low: Lower end.
        high: Upper end.
        seeds: How many; of a difference, the fewer of the two arms'.
        images: How many.
    """

    value: float
    low: float
    high: float
    seeds: int
    images: int


def accuracy(rows: Sequence[Row]) -> Estimate:
    """Top-1 accuracy of one arm's runs, or of several random draws of channels taken together.

    Args:
        rows: One a seed; of several draws, one a draw and seed.

    Raises:
        UserError: No image could be read by all runs.
    """
    return _estimate([rows])


def difference(rows: Sequence[Row], baseline: Sequence[Row]) -> Estimate:
    """Top-1 accuracy of one arm less another's, on the same images.

    Images are drawn for both at once, so that what is hard for both cancels; seeds for each by itself, for nothing ties
    the seed of one network to that of another. With one seed the interval is over images alone and says nothing of how
    another training would have come out.

    Simulated, what is called 95 % holds the truth in 95 to 100 of 100 cases where images decide (a few hundred to a few
    thousand of them, seeds within half a point): both drawings count the noise of a single answer. Where seeds decide
    (20,000 images, seeds a point apart) it does in about 86 with two or three seeds, 93 with five: a few seeds say
    little of how far others would spread.

    Args:
        rows: One a seed; of several draws, one a draw and seed.
        baseline: The same of the arm to compare with.

    Raises:
        UserError: No image could be read by all runs of both.
    """
    return _estimate([rows, baseline])


def _matrix(rows: Sequence[Row]) -> np.ndarray:
    """Right (1), wrong (0) or unreadable (NaN), units × images.

    A unit is a seed; of several draws it is a draw, as the mean of its seeds, for what a draw is worth all its seeds
    share.
    """
    values = np.array([list(row.correct) for row in rows])
    right = np.where(values == "-", np.nan, values == "1")
    draws = sorted({row.draw for row in rows})
    if len(draws) == 1:
        return right
    return np.stack([right[[row.draw == draw for row in rows]].mean(0) for draw in draws])


def _estimate(arms: Sequence[Sequence[Row]]) -> Estimate:
    matrices = [_matrix(rows) for rows in arms]
    stacked = np.concatenate(matrices)
    stacked = stacked[:, ~np.isnan(stacked).any(0)]
    images = stacked.shape[1]
    if not images:
        raise UserError(f"{' and '.join(rows[0].arm for rows in arms)}: no image could be read by all of their runs")
    # Images that all runs answer alike are one: exact, and at 50,000 images a hundred times faster.
    columns, counts = np.unique(stacked, axis=1, return_counts=True)
    patterns = np.split(columns, [len(matrices[0])])[: len(matrices)]
    value = sum(sign * (arm @ counts).mean() / images for sign, arm in zip(_SIGNS, patterns, strict=False))
    low, high = np.percentile(_resample(patterns, counts), [2.5, 97.5])
    seeds = min(len({row.seed for row in rows}) for rows in arms)
    return Estimate(100 * float(value), 100 * float(low), 100 * float(high), seeds, images)


def _resample(patterns: list[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """The figure over and over, from images and units drawn with replacement, as many as there are.

    Args:
        patterns: Of each arm, units × distinct images.
        counts: How many images each of these stands for.
    """
    rng = np.random.default_rng(0)
    images = int(counts.sum())
    resampled = np.zeros(RESAMPLES)
    for start in range(0, RESAMPLES, _CHUNK):
        weights = _draw_images(rng, counts) / images
        for sign, arm in zip(_SIGNS, patterns, strict=False):
            units = rng.multinomial(len(arm), np.full(len(arm), 1 / len(arm)), size=_CHUNK) / len(arm)
            resampled[start : start + _CHUNK] += sign * np.einsum("bs,bs->b", units, weights @ arm.T)
    return resampled


def _draw_images(rng: np.random.Generator, counts: np.ndarray) -> np.ndarray:
    """How often each distinct image is drawn, resamples of one chunk × distinct images."""
    images, distinct = int(counts.sum()), len(counts)
    if 20 * distinct < images:
        return rng.multinomial(images, counts / images, size=_CHUNK)
    # The same; a binomial number for each distinct image takes longer than a whole number for each image.
    stands_for = np.repeat(np.arange(distinct), counts)
    drawn = stands_for[rng.integers(images, size=(_CHUNK, images))] + distinct * np.arange(_CHUNK)[:, None]
    return np.bincount(drawn.ravel(), minlength=_CHUNK * distinct).reshape(_CHUNK, distinct)
