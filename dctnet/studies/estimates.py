"""Accuracies and accuracy differences with confidence intervals over images and seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dctnet.errors import UserError
from dctnet.studies.intervals import Interval, mean_of_answers
from dctnet.studies.rows import Row


@dataclass(frozen=True)
class Estimate(Interval):
    """A mean over seeds and images with its 95 % interval, in percentage points.

    ``seeds`` of a difference is the smaller number of the two arms.
    """

    images: int


def accuracy(rows: Sequence[Row]) -> Estimate:
    """Top-1 accuracy of one arm, or of several random selections pooled.

    Args:
        rows: One row per seed; for several draws, one per draw and seed.

    Raises:
        UserError: No image could be read in all trials.
    """
    return _estimate([rows], 0)


def difference(rows: Sequence[Row], baseline: Sequence[Row]) -> Estimate:
    """Top-1 accuracy of one arm minus that of a baseline, on the same images.

    Images are paired, so that the difficulty of an image cancels. Seeds are not, because equal seeds do not make two
    networks comparable. With one seed the interval covers the images only, not the variation between trainings. With
    two or three it is wide, as Student's t requires; see ``over_seeds_and_images``.

    Coverage in simulations of the nominal 95 % interval, arms of three seeds: 97 to 99 % where images dominate the
    variance (500 to 3,000 images, seeds up to a point apart), 95 to 97 % where seeds are two points apart.

    Args:
        rows: One row per seed; for several draws, one per draw and seed.
        baseline: The same for the arm to compare with.

    Raises:
        UserError: No image could be read in all trials of both arms.
    """
    return _estimate([rows, baseline], -100)


def _matrix(rows: Sequence[Row]) -> np.ndarray:
    """Right (100), wrong (0) or unreadable (NaN), shape (units, images).

    The unit is a seed. With several draws it is a draw, averaged over its seeds, because the seeds of one draw share
    the quality of its selection.
    """
    values = np.array([list(row.correct) for row in rows])
    right = np.where(values == "-", np.nan, 100.0 * (values == "1"))
    draws = sorted({row.draw for row in rows})
    if len(draws) == 1:
        return right
    return np.stack([right[[row.draw == draw for row in rows]].mean(0) for draw in draws])


def _estimate(arms: Sequence[Sequence[Row]], lowest: int) -> Estimate:
    matrices = [_matrix(rows) for rows in arms]
    readable = ~np.isnan(np.concatenate(matrices)).any(0)
    images = int(readable.sum())
    if not images:
        raise UserError(f"{' and '.join(rows[0].arm for rows in arms)}: no image could be read in all of their trials")
    answers, *others = (matrix[:, readable] for matrix in matrices)
    found = mean_of_answers(answers, others[0] if others else None)
    seeds = min(len({row.seed for row in rows}) for rows in arms)
    return Estimate(found.value, max(found.low, lowest), min(found.high, 100), seeds, images)
