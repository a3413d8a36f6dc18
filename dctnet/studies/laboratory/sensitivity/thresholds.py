"""Noise that halves the accuracy in each band, and the width of the sensitive band, with intervals over images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dctnet.studies.laboratory.sensitivity.answers import right_of
from dctnet.studies.laboratory.sensitivity.bands import NOISE
from dctnet.studies.laboratory.sensitivity.report.text import rows_of
from dctnet.studies.laboratory.study import Measurement

_RESAMPLES = 1000
_BELOW, _ABOVE = 0.0, math.inf  # thresholds outside of the noise that was tried
_LEAST_DEFINED = 0.95  # share of the samples that must have a bandwidth, for an interval of it


def half_accuracy_noise(levels: Mapping[float, float], clean: float) -> float | None:
    """Noise RMS at which the accuracy falls to half of the clean one, by interpolation over log RMS.

    Args:
        levels: Accuracy by RMS.
        clean: Accuracy without noise.

    Returns:
        None if it does not fall to half between the weakest and the strongest noise; infinity above the strongest.
    """
    rms = sorted(levels)
    below = [level for level in rms if levels[level] <= clean / 2]
    if not below:
        return math.inf
    first = rms.index(below[0])
    if first == 0:
        return None
    a, b = rms[first - 1], rms[first]
    share = (levels[a] - clean / 2) / (levels[a] - levels[b])
    return float(np.exp(np.log(a) + share * (np.log(b) - np.log(a))))


def bandwidth(thresholds: Sequence[tuple[float, float | None]]) -> tuple[float, bool] | None:
    """Full width at half maximum of the sensitivity to noise, in octaves.

    The sensitivity of a band is one over the RMS that halves the accuracy, 0 if no noise that was tried does, and is
    interpolated over the logarithm of the frequency.

    Args:
        thresholds: Centre of each band, ascending, and its RMS from :func:`half_accuracy_noise`.

    Returns:
        The width, and whether it is a lower bound because one side does not fall to half within the bands. None if a
        band is halved by the weakest noise, or none by the strongest.
    """
    known = [(math.log2(center), 1 / rms) for center, rms in thresholds if rms is not None]  # 1 / inf is 0
    if len(known) < len(thresholds) or not any(value for _, value in known):
        return None
    peak = max(range(len(known)), key=lambda place: known[place][1])
    half, bound = known[peak][1] / 2, False
    ends = []
    for side in (known[peak::-1], known[peak:]):
        below = next((place for place, (_, value) in enumerate(side) if value <= half), None)
        if below is None:
            bound = True
            ends.append(side[-1][0])
            continue
        (x0, y0), (x1, y1) = side[below - 1], side[below]
        ends.append(x0 + (x1 - x0) * (y0 - half) / (y0 - y1))
    return ends[1] - ends[0], bound


@dataclass(frozen=True)
class Thresholds:
    """RMS of the noise that halves the accuracy, by band; 0 below all noise that was tried, infinity above.

    Args:
        bands: Name and centre of each, the lowest first.
        values: (bands,).
        draws: The same for samples of the images, (samples, bands).
    """

    bands: Mapping[str, float]
    values: np.ndarray
    draws: np.ndarray

    def text(self, place: int) -> str:
        """For example ``0.043 [0.036, 0.052]``, or ``above 0.16 [0.14, above 0.16]``."""
        # Of ends one of which may be infinite there is no mean, so an end is one of the samples.
        low, high = np.percentile(self.draws[:, place], [2.5, 97.5], method="closest_observation")
        return f"{_rms(self.values[place])} [{_rms(low)}, {_rms(high)}]"

    @property
    def most_disturbed(self) -> str | None:
        """The band that the weakest noise halves; with the next if they may be equal, None if no noise halves any."""
        order = np.argsort(self.values, kind="stable")
        first = int(order[0])
        names = list(self.bands)
        if not math.isfinite(self.values[first]):
            return None
        if len(order) == 1:
            return f"{names[first]}: RMS {self.text(first)} halves the accuracy"
        second = int(order[1])
        if (self.draws[:, first] < self.draws[:, second]).mean() >= 0.975:
            return f"{names[first]}: RMS {self.text(first)} halves the accuracy"
        return (
            f"{names[first]} or {names[second]} (not shown to differ): RMS {self.text(first)} and {self.text(second)} "
            "halve the accuracy"
        )

    @property
    def width(self) -> str | None:
        """Bandwidth in octaves with its interval, in words; None if it is not defined."""
        found = self._width(self.values)
        if found is None:
            return None
        draws = [each for each in map(self._width, self.draws) if each is not None]
        bound = "at least " if found[1] else ""
        if len(draws) < _LEAST_DEFINED * len(self.draws):
            return f"{bound}{found[0]:.1f} octaves (without an interval: many samples of the images have no width)"
        low, high = np.percentile([width for width, _ in draws], [2.5, 97.5])
        return f"{bound}{found[0]:.1f} octaves [{low:.1f}, {high:.1f}]"

    def _width(self, values: np.ndarray) -> tuple[float, bool] | None:
        return bandwidth(
            [(center, None if rms == _BELOW else rms) for center, rms in zip(self.bands.values(), values, strict=True)]
        )


def _rms(value: float) -> str:
    if value == _BELOW:
        return f"below {NOISE[0]:g}"
    return f"{value:.3f}" if math.isfinite(value) else f"above {NOISE[-1]:g}"


def read_thresholds(rows: Sequence[Measurement], bands: Mapping[str, float]) -> Thresholds:
    """Thresholds of a study from its rows, with a bootstrap over images, which are drawn jointly for all noise.

    Args:
        rows: Of the study.
        bands: Name in the rows and centre of each, the lowest first.
    """
    clean = next(right_of(row) for row in rows_of(rows, "clean") if row["item"] == "noise")
    noise = {(row["item"], row["level"]): right_of(row) for row in rows_of(rows, "noise")}
    levels = sorted({level for _, level in noise})
    right = np.array([[noise[band, level] for level in levels] for band in bands])  # (bands, levels, images)
    rng, images = np.random.default_rng(0), len(clean)

    def thresholds(weights: np.ndarray) -> list[float]:
        accuracies = right @ weights
        found = [half_accuracy_noise(dict(zip(levels, own, strict=True)), float(clean @ weights)) for own in accuracies]
        return [_BELOW if value is None else value for value in found]

    draws = [
        thresholds(np.bincount(rng.integers(images, size=images), minlength=images) / images) for _ in range(_RESAMPLES)
    ]
    return Thresholds(bands, np.array(thresholds(np.full(images, 1 / images))), np.array(draws))
