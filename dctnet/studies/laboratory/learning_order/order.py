"""When each band is learned: t50 and its rank correlation with the frequency."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest, rankdata

from dctnet.errors import UserError
from dctnet.frequency.bands import Band
from dctnet.studies.laboratory.study import Measurement

_LEVEL = 0.025  # of the one-sided test whether a band is learned at all
_RESAMPLES = 1000
MIN_BANDS = 3  # an order of two is no correlation


@dataclass(frozen=True)
class Curves:
    """Accuracies of the trainings of one group over their epochs.

    Shape:
        - epochs: (E,)
        - only, without: (seeds, E, bands, images), bool
        - whole: (seeds, E, images), bool
        - errors: (seeds, E, widths, 2), e_low and e_high
    """

    bands: list[Band]
    seeds: list[int]
    epochs: np.ndarray
    only: np.ndarray
    without: np.ndarray
    whole: np.ndarray
    neighbours: list[int]
    widths: list[float]
    errors: np.ndarray
    chance: float


def read_curves(rows: Sequence[Measurement], name: str) -> Curves:
    """Arrays of the rows of a group.

    Raises:
        UserError: Its trainings differ in epochs, bands or images.
    """
    trainings = [[row for row in rows if row["run"] == run] for run in dict.fromkeys(row["run"] for row in rows)]
    shapes = [
        (
            sorted({row["epoch"] for row in own}),
            sorted({(row["low"], row["high"]) for row in own if row["quantity"] == "only"}),
            {len(str(row["correct"])) for row in own if row["quantity"] == "all"},
        )
        for own in trainings
    ]
    if wrong := next((place for place, shape in enumerate(shapes) if shape != shapes[0]), None):
        counts = [f"{len(e)} epochs, {len(b)} bands and {max(i)} images" for e, b, i in (shapes[0], shapes[wrong])]
        first, other = (trainings[place][0]["run"] for place in (0, wrong))
        raise UserError(f"{name}: {first} has {counts[0]}, {other} has {counts[1]}; give runs of the same length")
    epochs, ends, _ = shapes[0]
    widths = {row["neighbours"]: row["width"] for row in trainings[0] if row["quantity"] == "e_low"}
    return Curves(
        [Band(float(low), float(high)) for low, high in ends],
        [int(own[0]["seed"]) for own in trainings],
        np.array(epochs, int),
        np.array([_answers(own, "only") for own in trainings]),
        np.array([_answers(own, "without") for own in trainings]),
        np.array([_answers(own, "all") for own in trainings])[:, :, 0],
        [int(count) for count in widths],
        [float(width) for width in widths.values()],
        np.array([_errors(own, len(widths)) for own in trainings]),
        float(next(row["value"] for row in trainings[0] if row["quantity"] == "chance")),
    )


def _answers(rows: Sequence[Measurement], quantity: str) -> list[list[list[bool]]]:
    """Answers of one training: (epochs, bands, images)."""
    found: dict[int, list[tuple[float, list[bool]]]] = {}
    for row in rows:
        if row["quantity"] == quantity:
            low = float(row["low"] or 0)
            found.setdefault(int(row["epoch"]), []).append((low, [each == "r" for each in str(row["correct"])]))
    return [[right for _, right in sorted(found[epoch])] for epoch in sorted(found)]


def _errors(rows: Sequence[Measurement], widths: int) -> np.ndarray:
    """Filtered errors of one training: (epochs, widths, 2)."""
    own = [row for row in rows if row["quantity"] in ("e_low", "e_high")]
    ordered = sorted(own, key=lambda row: int(row["epoch"]))
    return np.array([float(row["value"]) for row in ordered]).reshape(-1, widths, 2)


def half_times(accuracy: np.ndarray, epochs: np.ndarray, start: float) -> np.ndarray:
    """First epoch above half of the final gain over ``start``: (…, E, bands) to (…, bands); NaN without a gain."""
    gain = accuracy[..., -1, :] - start
    above = accuracy > start + gain[..., None, :] / 2
    first = epochs[above.argmax(-2)].astype(float)
    return np.where((gain > 0) & above.any(-2), first, np.nan)


def is_learned(curves: Curves) -> np.ndarray:
    """Whether the last epoch is significantly above chance with the band alone: (seeds, bands)."""
    right, images = curves.only[:, -1].sum(-1), curves.only.shape[-1]
    test = np.vectorize(lambda count: binomtest(int(count), images, curves.chance, "greater").pvalue < _LEVEL)
    return test(right)


def t50(curves: Curves) -> np.ndarray:
    """Epoch at which each band is half learned, (seeds, bands); NaN for a band that is not learned."""
    return np.where(is_learned(curves), half_times(curves.only.mean(-1), curves.epochs, curves.chance), np.nan)


def rank_correlation(times: np.ndarray) -> float:
    """Spearman's correlation of band and t50, (bands,), of the learned bands; 0 if all have the same t50.

    NaN with fewer than three learned bands.
    """
    learned = ~np.isnan(times)
    if learned.sum() < MIN_BANDS:
        return float("nan")
    x, y = np.arange(learned.sum()), rankdata(times[learned])
    return 0.0 if np.ptp(y) == 0 else float(np.corrcoef(x, y)[0, 1])


@dataclass(frozen=True)
class Order:
    """Rank correlation of band and t50, mean over seeds, with its 95 % interval over images and seeds; NaN if none."""

    value: float
    low: float
    high: float


def order(curves: Curves, seed: int = 0) -> Order:
    """Mean rank correlation over the seeds, and its bootstrap interval.

    Images, the same for all seeds, and seeds are drawn with replacement. With one seed, the interval is that of other
    images only.
    """
    rng, learned = np.random.default_rng(seed), is_learned(curves)
    value = _mean([rank_correlation(times) for times in t50(curves)])
    if np.isnan(value):
        return Order(value, value, value)
    seeds, *_, images = curves.only.shape
    only = curves.only.astype(np.float32)
    draws = []
    for _ in range(_RESAMPLES):
        weights = np.bincount(rng.integers(images, size=images), minlength=images).astype(np.float32) / images
        times = np.where(learned, half_times(only @ weights, curves.epochs, curves.chance), np.nan)
        draws.append(_mean([rank_correlation(own) for own in times[rng.integers(seeds, size=(seeds,))]]))
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return Order(value, float(low), float(high))


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def error_half_times(curves: Curves) -> np.ndarray:
    """First epoch at which e_low and e_high have made half of their fall from the first epoch: (seeds, widths, 2)."""
    e = curves.errors
    first, last = e[:, :1], e[:, -1:]
    fallen = e <= (first + last) / 2
    return np.where((last < first)[:, 0], curves.epochs[fallen.argmax(1)].astype(float), np.nan)
