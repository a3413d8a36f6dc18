"""Steps are the best on the samples, and say truthfully what they cost."""

import numpy as np
import pytest

from dctnet.data.packed.quantization import choose_quantization_steps


def quantised(values, step, levels):
    whole = np.rint(values / step)
    return np.clip(whole, -levels, levels) * step, np.abs(whole) > levels


def samples(kind, count=4000):
    draw = np.random.default_rng(3)
    return {
        "normal": draw.normal(0, 50, count),
        "laplace": draw.laplace(0, 4, count),
        "heavy": draw.standard_t(2, count) * 3,
        "outlier": np.append(draw.normal(0, 1, count), 1000),
        "uniform": draw.uniform(-900, 900, count),
    }[kind].astype(np.float32)


@pytest.mark.parametrize("levels", [127, 32767])
@pytest.mark.parametrize("kind", ["normal", "laplace", "heavy", "outlier", "uniform"])
def test_step_is_no_worse_than_any_other_tried(kind, levels):
    values = samples(kind).astype(np.float64)
    step = choose_quantization_steps(values[None], levels)[0][0]
    found = np.mean((quantised(values, step, levels)[0] - values) ** 2)
    reach = np.abs(values).max() / levels
    for other in reach * 0.8 ** np.arange(-4, 12):
        assert found <= np.mean((quantised(values, other, levels)[0] - values) ** 2) * (1 + 1e-4)
    # The candidates lie 20 % apart: one in between may be better, but not by much.
    for other in reach * np.geomspace(0.05, 2, 200):
        assert found <= np.mean((quantised(values, other, levels)[0] - values) ** 2) * 1.3


@pytest.mark.parametrize("kind", ["normal", "heavy", "outlier"])
def test_error_is_what_the_step_causes(kind):
    values = samples(kind)
    steps, error = choose_quantization_steps(values[None], 127)
    stored, beyond = quantised(values.astype(np.float64), steps[0], 127)
    rms = np.sqrt(np.mean((stored - values) ** 2)) / values.std()
    assert error["relative_rms"][0] == pytest.approx(rms, abs=2e-6)
    assert error["clipped"][0] == pytest.approx(beyond.mean(), abs=1e-8)


def test_clipping_a_rare_outlier_pays():
    values = np.append(np.random.default_rng(0).normal(0, 1, 40_000), 10)
    steps, error = choose_quantization_steps(values[None], 127)
    assert steps[0] < 10 / 127
    assert 0 < error["clipped"][0] < 1e-3


def test_each_channel_has_its_own_step_and_a_dead_one_has_one_too():
    both = np.stack([samples("normal"), np.zeros(4000, np.float32)])
    steps, error = choose_quantization_steps(both, 127)
    assert steps[0] == choose_quantization_steps(both[:1], 127)[0][0]
    assert steps[1] > 0
    assert error["relative_rms"][1] == 0


def test_steps_are_exact_in_single_precision():
    steps, _ = choose_quantization_steps(np.stack([samples("normal"), samples("heavy")]), 127)
    assert steps.astype(np.float32).tolist() == steps.tolist()
