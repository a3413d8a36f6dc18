"""Signals with a spectrum 1/f^α, fitted with mappings that fall as 1/f^p: which p interpolates best?"""

import torch

from dctnet.studies.laboratory.fourier_features.kernel import limit_kernel
from dctnet.studies.laboratory.fourier_features.mappings import map_series, series_weights
from dctnet.studies.laboratory.seeds import generator
from dctnet.studies.laboratory.study import Measurement

_FINER = 8  # test points for each training point
TIMES = (100, 1_000, 10_000)  # iterations, at η = 1 / (2 λ_max)


def draw_signals(alpha: float, points: int, count: int, seed: int) -> torch.Tensor:
    """Sums of waves 1 … points/2 − 1 with random normal amplitudes that fall as 1/f^α, on the finer grid.

    Shape:
        - output: (count, 8 · points), float64; every eighth value is at a training point
    """
    drawn = generator(seed, "signals")
    j = torch.arange(1, points // 2, dtype=torch.float64)
    parts = torch.complex(*torch.randn(2, count, len(j), generator=drawn, dtype=torch.float64))
    spectrum = torch.zeros(count, _FINER * points // 2 + 1, dtype=torch.complex128)
    spectrum[:, 1 : points // 2] = parts / j**alpha
    return torch.fft.irfft(spectrum, n=_FINER * points, norm="forward")


def interpolate(mapping: str, signals: torch.Tensor, points: int, bias: float, depth: int) -> dict[int, torch.Tensor]:
    """Error between the training points of networks of infinite width, relative to the variance of a signal.

    Args:
        mapping: As of :func:`~dctnet.studies.laboratory.fourier_features.mappings.series_weights`.
        signals: From :func:`draw_signals`.
        points: Number of training points.
        bias: Of the network.
        depth: Of the network.

    Returns:
        For each of ``TIMES`` (count,), from f(t) = K* K⁻¹ (I − (I − ηK)^t) y.
    """
    weights = series_weights(mapping, points // 2)
    place = torch.arange(_FINER * points, dtype=torch.float64) / (_FINER * points)
    fine = map_series(place, weights)
    known = fine[::_FINER]
    values, vectors = torch.linalg.eigh(limit_kernel(known, bias, depth))
    values = values.clamp(min=1e-12 * float(values[-1]))
    between = torch.arange(len(place)) % _FINER != 0
    across = limit_kernel(fine[between], bias, depth, known) @ vectors
    parts = signals[:, ::_FINER] @ vectors
    rates = 0.5 * values / values[-1]
    return {
        time: ((parts * ((1 - (1 - rates) ** time) / values)) @ across.T - signals[:, between]).square().mean(1)
        / signals.var(1, correction=0)
        for time in TIMES
    }  # fmt: skip


def signal_rows(
    alpha: float, mapping: str, points: int, bias: float, depth: int, count: int, seed: int
) -> list[Measurement]:
    """Rows of ``signal_error`` for each signal (k) and time (x)."""
    errors = interpolate(mapping, draw_signals(alpha, points, count, seed), points, bias, depth)
    return [
        {"part": "signals", "name": mapping, "level": alpha, "seed": seed, "measure": "signal_error", "k": number,
         "x": time, "value": round(float(value), 6)}
        for time, each in errors.items() for number, value in enumerate(each)
    ]  # fmt: skip
