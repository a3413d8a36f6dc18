"""Quantization steps: the best of the candidates, and the error that they report."""

import numpy as np
import pytest

from dctnet.data.packed.quantization import choose_quantization_steps


def quantize(values, step, levels):
    whole = np.rint(values / step)
    return np.clip(whole, -levels, levels) * step, np.abs(whole) > levels


def samples(kind, count=4000):
    rng = np.random.default_rng(3)
    return {
        "normal": rng.normal(0, 50, count),
        "heavy": rng.standard_t(2, count) * 3,
        "outlier": np.append(rng.normal(0, 1, count - 1), 1000),
        "uniform": rng.uniform(-900, 900, count),
    }[kind].astype(np.float32)


@pytest.mark.parametrize("levels", [127, 32767])
@pytest.mark.parametrize("kind", ["normal", "heavy", "outlier", "uniform"])
def test_step_has_the_least_error_and_reports_it(kind, levels):
    values = samples(kind).astype(np.float64)
    steps, reported = choose_quantization_steps(values[None], levels)
    stored, beyond = quantize(values, steps[0], levels)
    error = np.mean((stored - values) ** 2)
    assert reported["relative_rms"][0] == pytest.approx(error**0.5 / values.std(), abs=2e-6)
    assert reported["clipped"][0] == pytest.approx(beyond.mean(), abs=1e-8)
    largest = np.abs(values).max() / levels
    for other in largest * 0.8 ** np.arange(-4, 12):
        assert error <= np.mean((quantize(values, other, levels)[0] - values) ** 2) * (1 + 1e-4)
    # The candidates are 20 % apart: a step between two of them can be better, but not by much.
    for other in largest * np.geomspace(0.05, 2, 200):
        assert error <= np.mean((quantize(values, other, levels)[0] - values) ** 2) * 1.3


def test_rare_outlier_is_clipped():
    values = np.append(np.random.default_rng(0).normal(0, 1, 40_000), 10)
    steps, error = choose_quantization_steps(values[None], 127)
    assert steps[0] < 10 / 127
    assert 0 < error["clipped"][0] < 1e-3


def test_each_channel_has_its_own_float32_step_even_if_it_is_constant():
    steps, error = choose_quantization_steps(np.stack([samples("normal"), np.zeros(4000, np.float32)]), 127)
    assert steps[0] == choose_quantization_steps(samples("normal")[None], 127)[0][0]
    assert steps[1] > 0
    assert error["relative_rms"][1] == 0
    assert steps.astype(np.float32).tolist() == steps.tolist()
