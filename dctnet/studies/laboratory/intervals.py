"""Means over seeds with their intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with the ends of its 95 % interval; both are nan with one seed."""

    value: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        """For example ``0.93 [0.9, 0.96]`` or ``0.93 (one seed)``."""
        if self.seeds == 1:
            return f"{number(self.value)} (one seed)"
        return f"{number(self.value)} [{number(self.low)}, {number(self.high)}]"

    @property
    def cell(self) -> tuple[float, str]:
        """Of a table: number to sort by, and text."""
        return self.value, str(self)

    @property
    def sign(self) -> int:
        """1 or −1 if the whole interval lies above or below zero, else 0; 0 with one seed."""
        return int(self.low > 0) - int(self.high < 0)

    def excludes(self, value: float) -> bool:
        """Whether a value is outside of the interval; never with one seed."""
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
