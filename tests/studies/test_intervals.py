"""Intervals over seeds and images: their coverage in simulations, and what they do with few seeds."""

import math

import numpy as np
import pytest
from scipy import stats

from dctnet.studies.intervals import mean_interval, mean_of_answers, over_seeds_and_images, rank_correlation


def simulated(rng, seeds, images, by_seed, by_image, noise=1.0):
    """Answers with a true mean of 0: (seeds, images)."""
    return (
        by_seed * rng.normal(size=(seeds, 1))
        + by_image * rng.normal(size=(1, images))
        + noise * rng.normal(size=(seeds, images))
    )


# Seeds dominate; images dominate; both.
@pytest.mark.parametrize(("by_seed", "by_image"), [(1.0, 0.5), (0.05, 3.0), (0.2, 1.0)])
@pytest.mark.parametrize("difference", [False, True])
def test_intervals_of_three_seeds_cover_the_truth(by_seed, by_image, difference):
    rng, hits, repeats = np.random.default_rng(0), 0, 600
    for _ in range(repeats):
        images = by_image * rng.normal(size=(1, 100))
        arms = [simulated(rng, 3, 100, by_seed, 0) + images for _ in range(1 + difference)]
        found = mean_of_answers(*arms)
        hits += found.low <= 0 <= found.high
    assert hits / repeats >= 0.91


def test_an_interval_of_an_accuracy_ends_at_0_and_100_percent():
    found = mean_interval([97.0, 100.0, 99.0])
    assert found.high > 100
    assert (found.percent.value, found.percent.low, found.percent.high) == (found.value, found.low, 100)
    assert mean_interval([1.0, 0.0]).percent.low == 0
    assert math.isnan(mean_interval([50.0]).percent.low)


def test_few_seeds_widen_an_interval_as_student_s_t_does():
    """Without any difference of images, it is the interval over seeds."""
    values = np.array([1.0, 2.0, 4.0])
    found = over_seeds_and_images([values], 0.0, 100)
    expected = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_seed_has_an_interval_over_images():
    values = np.random.default_rng(0).normal(size=(1, 50))
    found = mean_of_answers(values)
    low, high = stats.t.interval(0.95, 49, values.mean(), values.std(ddof=1) / 50**0.5)
    assert (found.low, found.high, found.seeds) == pytest.approx((low, high, 1))


def test_images_are_paired_between_networks():
    rng = np.random.default_rng(0)
    hard = 10 * rng.normal(size=(1, 200))
    one, other = (simulated(rng, 3, 200, 0, 0) + hard for _ in range(2))
    paired = mean_of_answers(one, other)
    assert paired.high - paired.low < 1
    apart = mean_of_answers(one, other[:, ::-1])
    assert apart.high - apart.low > 3


def test_intervals_that_hold_together_are_wider_and_nothing_has_no_width():
    values = np.random.default_rng(0).normal(size=(3, 50))
    one, ten = mean_of_answers(values), mean_of_answers(values, comparisons=10)
    assert ten.low < one.low < one.value < one.high < ten.high
    same = mean_of_answers(np.zeros((3, 50)))
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_rank_correlation_is_that_of_scipy_and_takes_what_is_never_reached():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 20))
    assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
    assert rank_correlation([1, 2, 3, 4], [5, 6, math.inf, math.inf]) == pytest.approx(0.9487, abs=1e-4)
    assert math.isnan(rank_correlation([1, 2, 3], [4, 4, 4]))
