"""Means over seeds, and over seeds and images, with their intervals; rank correlations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with the ends of its 95 % interval; both are nan if one seed is all there is."""

    value: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        """For example ``0.93 [0.9, 0.96]`` or ``0.93 (one seed)``."""
        if math.isnan(self.low):
            return f"{number(self.value)} (one seed)"
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"

    def fixed(self, digits: int, sign: str = "") -> str:
        """For example ``−3.1 [−4.0, −2.2]``: with a number of decimals, and with ``+`` signs if ``sign`` is ``+``."""
        value, low, high = (f"{each:{sign}.{digits}f}" for each in (self.value, self.low, self.high))
        return minus(value if math.isnan(self.low) else f"{value} [{low}, {high}]")

    @property
    def cell(self) -> tuple[float, str]:
        """Of a table: number to sort by, and text."""
        return self.value, str(self)

    def __neg__(self) -> "Interval":
        return Interval(-self.value, -self.high, -self.low, self.seeds)

    @property
    def sign(self) -> int:
        """1 or −1 if the whole interval lies above or below zero, else 0; 0 without an interval."""
        return int(self.low > 0) - int(self.high < 0)

    @property
    def percent(self) -> "Interval":
        """Of a share in percent, which Student's t does not know: the ends are at least 0 and at most 100."""
        low, high = (min(max(end, 0.0), 100.0) if math.isfinite(end) else end for end in (self.low, self.high))
        return Interval(self.value, low, high, self.seeds)

    def excludes(self, value: float) -> bool:
        """Whether a value is outside of the interval; never without one."""
        return self.low > value or self.high < value


def minus(text: str) -> str:
    """A text of numbers with minus signs instead of hyphens."""
    return text.replace("-", "−")


def number(value: float) -> str:
    """A number with three digits, and with thousands separators instead of an exponent: 1,020."""
    if abs(value) >= 1000:
        return minus(f"{float(f'{value:.3g}'):,.0f}")
    return minus(f"{value:.3g}")


def mean_interval(values: Sequence[float] | np.ndarray, log: bool = False) -> Interval:
    """Mean of one value per seed, with Student's t interval.

    Args:
        values: One per seed, at least one.
        log: Geometric mean, for positive values.
    """
    data = np.log(values) if log else np.asarray(values, dtype=float)
    back = math.exp if log else float
    count, mean = len(data), float(data.mean())
    if count == 1:
        return Interval(back(mean), math.nan, math.nan, 1)
    half = float(stats.t.ppf(0.975, count - 1) * data.std(ddof=1) / count**0.5)
    return Interval(back(mean), back(mean - half), back(mean + half), count)


def over_seeds_and_images(
    by_seed: Sequence[Sequence[float] | np.ndarray], image_variance: float, images: int, comparisons: int = 1
) -> Interval:
    """A mean over seeds, or the difference of two networks' means, for other seeds and other images.

    The variance that comes from seeds and that from images are estimated apart and added. Both contain the noise of
    single answers, so the interval is rather too wide. Student's t has the degrees of freedom of Welch and
    Satterthwaite, which makes it as wide as few seeds require; percentiles of a bootstrap of three seeds do not.

    Args:
        by_seed: Of one network, or of two whose difference is wanted: a value per seed. With one seed, the interval
            does not cover other trainings of that network.
        image_variance: Of the mean or difference, over samples of images.
        images: Their number.
        comparisons: Number of intervals that shall hold together, by Bonferroni.
    """
    arms = [np.asarray(values, dtype=float) for values in by_seed]
    value = float(arms[0].mean() - sum(arm.mean() for arm in arms[1:]))
    parts = [(image_variance, images - 1)]
    parts += [(float(arm.var(ddof=1)) / len(arm), len(arm) - 1) for arm in arms if len(arm) > 1]
    variance = sum(part for part, _ in parts)
    if not variance:
        return Interval(value, value, value, min(map(len, arms)))
    freedom = variance**2 / sum(part**2 / count for part, count in parts)
    half = float(stats.t.ppf(1 - 0.025 / comparisons, freedom)) * variance**0.5
    return Interval(value, value - half, value + half, min(map(len, arms)))


def mean_of_answers(answers: np.ndarray, others: np.ndarray | None = None, comparisons: int = 1) -> Interval:
    """A mean over seeds and images, or one network's minus another's on the same images.

    Args:
        answers: (seeds, images), a value for each seed and image.
        others: (seeds, images) of another network, whose seeds have nothing to do with the first one's.
        comparisons: Number of intervals that shall hold together.

    Returns:
        Without ends, −inf and inf, if there is one image, whose difference from others is unknown.
    """
    arms = [answers] if others is None else [answers, others]
    by_image = answers.mean(0) if others is None else answers.mean(0) - others.mean(0)
    images = len(by_image)
    if images == 1:
        return Interval(float(by_image[0]), -math.inf, math.inf, min(map(len, arms)))
    return over_seeds_and_images(
        [arm.mean(1) for arm in arms], float(by_image.var(ddof=1)) / images, images, comparisons
    )


def rank_correlation(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """Spearman's ρ; equal values, also infinite ones, share a rank. NaN if one of the two is constant."""
    if len(set(one)) < 2 or len(set(other)) < 2:
        return math.nan
    return float(stats.spearmanr(one, other).statistic)
