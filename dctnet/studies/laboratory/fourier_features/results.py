"""Condenses the rows: PSNR by mapping, the best σ, and the speed of each frequency."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dctnet.studies.intervals import Interval, mean_interval
from dctnet.studies.laboratory.study import Measurement

SLOPE_FROM = 3


def select(rows: Sequence[Measurement], **wanted: object) -> list[Measurement]:
    """The rows with these values, in the order of seed, level, k and x."""
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return sorted(found, key=lambda row: [row[key] for key in ("seed", "level", "k", "x")])


def psnr_by_draw(rows: Sequence[Measurement], name: str, sigma: float, measure: str) -> np.ndarray:
    """PSNR of each draw of a mapping: (draws,)."""
    return np.array([row["value"] for row in select(rows, part="image", name=name, level=sigma, measure=measure)])


def peak(sigmas: np.ndarray, values: np.ndarray) -> float:
    """σ at the maximum of the parabola through the largest value and its neighbours, over log σ.

    Shape:
        - sigmas, values: (S,), S ≥ 3

    Returns:
        The first or last σ if the largest value is there.
    """
    best = int(values.argmax())
    if best in (0, len(values) - 1):
        return float(sigmas[best])
    near = slice(best - 1, best + 2)
    a, b, _ = np.polyfit(np.log(sigmas[near]), values[near], 2)
    return float(np.exp(-b / (2 * a)))


@dataclass(frozen=True)
class Sweep:
    """PSNR of Gaussian frequencies over σ.

    Args:
        reported: Name of the measure that is compared with other mappings and with bicubic interpolation: of the half
            of the other pixels that does not choose σ; of all other pixels in rows of early versions.

    Shape:
        - sigmas: (S,)
        - train, test, choose, report: (D, S), a draw a row; choose is what the best σ is chosen by
    """

    sigmas: np.ndarray
    train: np.ndarray
    test: np.ndarray
    choose: np.ndarray
    report: np.ndarray
    reported: str

    @property
    def best(self) -> Interval:
        """The best σ for the pixels that choose it, geometric mean over draws."""
        return mean_interval([peak(self.sigmas, each) for each in self.choose], log=True)

    @property
    def best_place(self) -> int:
        """Index of the σ of the sweep with the best mean."""
        return int(self.choose.mean(0).argmax())

    @property
    def is_inside(self) -> bool:
        """Whether no draw has its best σ at an end of the sweep."""
        places = self.choose.argmax(1)
        return bool(((places > 0) & (places < len(self.sigmas) - 1)).all())


def read_sweep(rows: Sequence[Measurement], sigmas: Sequence[float]) -> Sweep:
    """The sweep of a study."""
    held_out = any(row["measure"] == "report_psnr" for row in rows)
    chosen, reported = ("choose_psnr", "report_psnr") if held_out else ("test_psnr", "test_psnr")

    def values(measure: str) -> np.ndarray:
        return np.stack([psnr_by_draw(rows, "gaussian", float(sigma), measure) for sigma in sigmas], 1)

    train, test, choose, report = map(values, ("train_psnr", "test_psnr", chosen, reported))
    return Sweep(np.array(sigmas, float), train, test, choose, report, reported)


def eigenvalues(rows: Sequence[Measurement], name: str, bias: float, kind: str) -> np.ndarray:
    """λ by frequency: (N/2,)."""
    found = select(rows, part="kernel", name=name, level=bias, measure=f"eigenvalue_{kind}")
    return np.array([row["value"] for row in found])


def log_slope(values: np.ndarray, first: int = SLOPE_FROM, last: int | None = None) -> float:
    """Slope of log λ against log k.

    By default from k = 3, because the linear part of a kernel adds to the first two, to a quarter of the number of
    points, because the frequencies above are raised by their aliases. Both reasons were found after the values had
    been seen, so the page gives the slope over all k too.

    Shape:
        - values: (N/2,), λ of k = 0 … N/2 − 1
    """
    k = np.arange(first, (len(values) // 2 if last is None else last) + 1)
    return float(np.polyfit(np.log(k), np.log(values[k]), 1)[0])


def odd_ratio(values: np.ndarray) -> float:
    """λ_3, λ_5 and λ_7 relative to the geometric mean of their even neighbours, averaged geometrically."""
    ratios = [values[k] / (values[k - 1] * values[k + 1]) ** 0.5 for k in (3, 5, 7) if k + 1 < len(values)]
    return float(np.exp(np.mean(np.log(ratios))))


def iterations_to_half(values: np.ndarray) -> np.ndarray:
    """Ln 2 / (ηλ_k) at η = 1 / (2 λ_max), for k ≥ 1."""
    return 2 * np.log(2) * values.max() / values[1:]


def gap(rows: Sequence[Measurement], name: str, amplitude: float) -> float:
    """Largest difference between measured and predicted residual over steps and frequencies."""
    measured, predicted = (
        np.array([row["value"] for row in select(rows, part="training", name=name, level=amplitude, measure=measure)])
        for measure in ("measured", "predicted")
    )
    return float(np.abs(measured - predicted).max())
