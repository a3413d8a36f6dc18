"""Condenses the rows: when each frequency is learned, in which order, and whether a factor changes it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dctnet.studies.intervals import Interval, mean_interval, rank_correlation
from dctnet.studies.laboratory.study import Measurement


@dataclass(frozen=True)
class Curves:
    """One measure of one arm.

    Shape:
        - x: (T,), steps or norms
        - k: (K,), frequencies
        - values: (S, T, K), one S per seed
    """

    x: np.ndarray
    k: np.ndarray
    values: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Over seeds, (T, K)."""
        return self.values.mean(0)

    def iterations(self, level: float) -> np.ndarray:
        """First iteration at which each frequency reaches a level: (S, K), see :func:`first_reach`."""
        return np.stack([first_reach(self.x, values, level) for values in self.values])


def read_curves(rows: Sequence[Measurement], arm: str, measure: str) -> Curves:
    """The curves of an arm; all seeds must have the same x and k."""
    mine = [row for row in rows if row["arm"] == arm and row["measure"] == measure]
    axes = [sorted({row[name] for row in mine}) for name in ("seed", "x", "k")]
    shape = tuple(len(axis) for axis in axes)
    places = [{value: place for place, value in enumerate(axis)} for axis in axes]
    values = np.full(shape, math.nan)
    for row in mine:
        values[places[0][row["seed"]], places[1][row["x"]], places[2][row["k"]]] = row["value"]
    return Curves(np.array(axes[1], float), np.array(axes[2], float), values)


def first_reach(steps: np.ndarray, values: np.ndarray, level: float) -> np.ndarray:
    """First step at which a curve reaches a level, interpolated on the logarithm of the steps; inf if it never does.

    Shape:
        - steps: (T,), ascending from 0
        - values: (T, K)
        - output: (K,)
    """
    reached = values >= level
    found = np.full(values.shape[1], math.inf)
    logs = np.log(np.maximum(steps, 0.5))
    for k in np.flatnonzero(reached.any(0)):
        t = int(reached[:, k].argmax())
        part = 1.0 if t == 0 else (level - values[t - 1, k]) / (values[t, k] - values[t - 1, k])
        found[k] = math.exp(logs[max(t - 1, 0)] + part * (logs[t] - logs[max(t - 1, 0)]))
    return found


def exponent(k: np.ndarray, iterations: np.ndarray) -> float:
    """P of iterations ∝ k^p by least squares on logarithms, over the frequencies reached; nan with fewer than three."""
    finite = np.isfinite(iterations)
    if finite.sum() < 3:
        return math.nan
    return float(np.polyfit(np.log(k[finite]), np.log(iterations[finite]), 1)[0])


def across_seeds(values: Sequence[float] | np.ndarray, log: bool = False) -> Interval | None:
    """Interval of a value that every seed has; None if one is nan or inf."""
    return mean_interval(values, log) if np.isfinite(values).all() else None


@dataclass(frozen=True)
class Order:
    """In which order an arm learns frequencies, by one measure; None where not every seed has a value."""

    correlation: Interval | None  # 1: the lowest first
    exponent: Interval | None  # 0: all at once
    learned: Interval  # number of frequencies whose half is reached


def order_of(curves: Curves) -> Order:
    """The order in which half of each frequency is reached."""
    half = curves.iterations(0.5)
    return Order(
        across_seeds([rank_correlation(curves.k, each) for each in half]),
        across_seeds([exponent(curves.k, each) for each in half]),
        mean_interval(np.isfinite(half).sum(1)),
    )


def exponent_change(arm: Curves, base: Curves) -> Interval | None:
    """Exponent of an arm minus that of another, paired by seed, over the frequencies that both reach.

    None if some seed has fewer than three of them.
    """
    changes = []
    for mine, others in zip(arm.iterations(0.5), base.iterations(0.5), strict=True):
        both = np.isfinite(mine) & np.isfinite(others)
        changes.append(exponent(arm.k[both], mine[both]) - exponent(base.k[both], others[both]))
    return across_seeds(changes)


def ratio_of(values: np.ndarray, others: np.ndarray) -> Interval | None:
    """Ratio of two positive values, paired by seed; None if one is inf."""
    return across_seeds(values / others, log=True) if np.isfinite([values, others]).all() else None
