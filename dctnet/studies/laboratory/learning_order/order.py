"""When each band is learned: t50 and its rank correlation with the frequency."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from dctnet.errors import UserError
from dctnet.frequency.bands import Band
from dctnet.studies.intervals import Interval, over_seeds_and_images, rank_correlation
from dctnet.studies.laboratory.study import Measurement

_LEVEL = 0.025  # of the one-sided test whether a band is learned at all
_RESAMPLES = 1000
MIN_BANDS = 3  # an order of two is no correlation


@dataclass(frozen=True)
class Accuracies:
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


def read_accuracies(rows: Sequence[Measurement], name: str) -> Accuracies:
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
    return Accuracies(
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


def is_learned(curves: Accuracies) -> np.ndarray:
    """Whether the last epoch is significantly above chance with the band alone: (seeds, bands)."""
    return _is_above_chance(curves.only[:, -1].sum(-1), curves.only.shape[-1], curves.chance)


def _is_above_chance(right: np.ndarray, images: int, chance: float) -> np.ndarray:
    """Whether so many right answers have a probability below the level by chance: one-sided binomial test."""
    return binom.sf(np.round(right) - 1, images, chance) < _LEVEL


def t50(curves: Accuracies) -> np.ndarray:
    """Epoch at which each band is half learned, (seeds, bands); NaN for a band that is not learned."""
    return np.where(is_learned(curves), half_times(curves.only.mean(-1), curves.epochs, curves.chance), np.nan)


def correlation(times: np.ndarray) -> float:
    """Rank correlation of band and t50, (bands,), of the learned bands; 0 if all have the same t50.

    NaN with fewer than three learned bands.
    """
    learned = ~np.isnan(times)
    if learned.sum() < MIN_BANDS:
        return float("nan")
    found = times[learned]
    return 0.0 if np.ptp(found) == 0 else rank_correlation(np.arange(len(found)), found)


def order(curves: Accuracies, seed: int = 0) -> Interval:
    """Mean rank correlation over the seeds that have one, with its interval over seeds and images; NaN if none has.

    Images, the same for all seeds, are drawn with replacement; in each sample it is tested again which bands are
    learned. Samples in which fewer than three are have no order and are left out.
    """
    by_seed = [value for value in map(correlation, t50(curves)) if not math.isnan(value)]
    if not by_seed:
        return Interval(math.nan, math.nan, math.nan, 0)
    rng, images = np.random.default_rng(seed), curves.only.shape[-1]
    only = curves.only.astype(np.float32)
    draws = []
    for _ in range(_RESAMPLES):
        drawn = np.bincount(rng.integers(images, size=images), minlength=images).astype(np.float32)
        right = only @ drawn  # counts: (seeds, E, bands)
        times = half_times(right / images, curves.epochs, curves.chance)
        times = np.where(_is_above_chance(right[:, -1], images, curves.chance), times, np.nan)
        if known := [value for value in map(correlation, times) if not math.isnan(value)]:
            draws.append(float(np.mean(known)))
    found = over_seeds_and_images([by_seed], float(np.var(draws, ddof=1)) if len(draws) > 1 else 0.0, images)
    return replace(found, low=max(found.low, -1.0), high=min(found.high, 1.0))


def error_half_times(curves: Accuracies) -> np.ndarray:
    """First epoch at which e_low and e_high have made half of their fall from the first epoch: (seeds, widths, 2)."""
    e = curves.errors
    first, last = e[:, :1], e[:, -1:]
    fallen = e <= (first + last) / 2
    return np.where((last < first)[:, 0], curves.epochs[fallen.argmax(1)].astype(float), np.nan)
