"""Estimates match a straightforward bootstrap, and their intervals have the nominal coverage."""

import numpy as np
import pytest

from dctnet.errors import UserError
from dctnet.studies import bootstrap
from dctnet.studies.bootstrap import accuracy, difference
from tests.simulated_rows import draw_correct, make_arm


def slow_bootstrap(arms: list[list[str]], resamples: int) -> tuple[float, float]:
    """Resamples images, and the seeds of each arm, one sample at a time; percentage points."""
    rng = np.random.default_rng(7)
    arrays = [np.array([[c == "1" for c in line] for line in arm], float) for arm in arms]
    images = arrays[0].shape[1]
    found = []
    for _ in range(resamples):
        drawn = rng.integers(images, size=images)
        means = [arm[rng.integers(len(arm), size=len(arm))][:, drawn].mean() for arm in arrays]
        found.append(100 * (means[0] - means[1] if len(means) == 2 else means[0]))
    return tuple(np.percentile(found, [2.5, 97.5]))


@pytest.fixture
def two_arms():
    rng = np.random.default_rng(3)
    chance = rng.beta(2, 0.6, 300)
    return [draw_correct(rng, np.clip(chance + shift, 0, 1), 3, 0.02) for shift in (0.0, -0.05)]


def test_value_is_the_mean_over_seeds_and_images():
    found = accuracy(make_arm("a", ["1100", "1110"]))
    assert found.value == pytest.approx(62.5)
    assert (found.seeds, found.images) == (2, 4)
    assert found.low <= found.value <= found.high


def test_interval_of_an_accuracy_matches_a_straightforward_bootstrap(two_arms):
    found = accuracy(make_arm("a", two_arms[0]))
    # A percentile of 2,500 resamples has an error of about a tenth of the half-width.
    assert (found.low, found.high) == pytest.approx(slow_bootstrap(two_arms[:1], 2500), abs=0.35)


def test_interval_of_a_difference_matches_a_straightforward_bootstrap(two_arms):
    found = difference(make_arm("a", two_arms[0]), make_arm("b", two_arms[1]))
    assert (found.low, found.high) == pytest.approx(slow_bootstrap(two_arms, 2500), abs=0.5)


def test_images_with_equal_answers_keep_their_count(two_arms):
    """Each image three times: the same value, a third of the variance."""
    once, thrice = (accuracy(make_arm("a", [n * line for line in two_arms[0][:1]])) for n in (1, 3))
    assert thrice.value == pytest.approx(once.value)
    assert thrice.high - thrice.low == pytest.approx((once.high - once.low) / 3**0.5, rel=0.06)


def coverage(monkeypatch, simulate, truth: float, times: int) -> float:
    """Share of simulated benchmarks whose interval contains the true value, in percentage points."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    found = [simulate() for _ in range(times)]
    return np.mean([e.low <= truth <= e.high for e in found])


def test_coverage_is_nominal_with_one_seed(monkeypatch):
    rng = np.random.default_rng(0)
    share = coverage(monkeypatch, lambda: accuracy(make_arm("a", draw_correct(rng, np.full(200, 0.8), 1))), 80, 300)
    assert 0.92 <= share <= 0.98


def test_coverage_is_nominal_with_many_different_seeds(monkeypatch):
    rng = np.random.default_rng(1)

    def simulate():
        return accuracy(make_arm("a", draw_correct(rng, rng.beta(8, 2, 1000), 12, 0.03)))

    # Seeds 3 points apart and 1,000 images: standard errors of 0.9 and 0.5 points.
    assert 0.90 <= coverage(monkeypatch, simulate, 80, 200) <= 0.99


def test_coverage_of_a_difference_is_nominal_for_images_hard_for_both_arms(monkeypatch):
    rng = np.random.default_rng(2)

    def simulate():
        chance = rng.uniform(0.1, 0.9, 300)
        arms = [draw_correct(rng, chance + shift, 3) for shift in (0.0, -0.05)]
        return difference(make_arm("a", arms[0]), make_arm("b", arms[1]))

    assert coverage(monkeypatch, simulate, 5, 200) >= 0.93


def test_pairing_cancels_the_difficulty_of_images():
    rng = np.random.default_rng(4)
    chance = (rng.random(400) < 0.7).astype(float)  # both arms are right on the same images
    arms = [make_arm(name, draw_correct(rng, 0.96 * chance + 0.02, 1)) for name in "ab"]
    found, alone = difference(*arms), [accuracy(arm) for arm in arms]
    unpaired = sum(((e.high - e.low) / 2) ** 2 for e in alone) ** 0.5
    assert (found.high - found.low) / 2 < 0.5 * unpaired


def test_difference_of_an_arm_to_itself_is_zero_within_its_seeds(two_arms):
    rows = make_arm("a", two_arms[0])
    found = difference(rows, rows)
    assert found.value == 0
    # Seeds are resampled independently for both sides.
    assert found.low < 0 < found.high
    assert found.low == pytest.approx(-found.high, abs=0.2)
    one = difference(rows[:1], rows[:1])
    assert (one.value, one.low, one.high) == (0, 0, 0)


def test_difference_is_antisymmetric(two_arms):
    a, b = (make_arm(name, correct) for name, correct in zip("ab", two_arms, strict=True))
    there, back = difference(a, b), difference(b, a)
    assert there.value == pytest.approx(-back.value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=0.3)
    assert there.value == pytest.approx(accuracy(a).value - accuracy(b).value)


def test_an_image_unreadable_in_one_trial_is_left_out_of_all():
    found = accuracy(make_arm("a", ["11-0", "1100"]))
    assert (found.value, found.images) == (pytest.approx(100 * 4 / 6), 3)
    found = difference(make_arm("a", ["11-0", "1100"]), make_arm("b", ["-110", "0110"]))
    assert (found.value, found.images) == (pytest.approx(100 * (2 / 4 - 2 / 4)), 2)


def test_no_image_readable_in_all_trials_is_an_error():
    with pytest.raises(UserError, match="^a and b: no image could be read in all of their trials$"):
        difference(make_arm("a", ["1-"]), make_arm("b", ["-1"]))


def test_draws_are_the_unit_of_resampling():
    """Seeds of one draw share its selection: three draws with three seeds are three samples, not nine."""
    rng = np.random.default_rng(5)
    draws = [draw_correct(rng, np.full(1000, p), 3) for p in (0.6, 0.7, 0.8)]
    rows = [row for n, c in enumerate(draws) for row in make_arm(f"random-24-{n}", c, choose="random", draw=n)]
    together = accuracy(rows)
    assert together.value == pytest.approx(np.mean([accuracy(rows[i : i + 3]).value for i in (0, 3, 6)]))
    assert together.seeds == 3
    assert together.high - together.low > 15  # ±2 standard errors of 8 / √3 points
    as_if_nine = accuracy([r for n, c in enumerate(np.concatenate(draws)) for r in make_arm(f"{n}", [c])])
    assert together.high - together.low > 1.3 * (as_if_nine.high - as_if_nine.low)


def test_the_interval_is_deterministic(two_arms):
    assert accuracy(make_arm("a", two_arms[0])) == accuracy(make_arm("a", two_arms[0]))
