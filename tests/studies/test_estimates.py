"""Estimates match SciPy's intervals where it has them, and have the nominal coverage."""

import numpy as np
import pytest
from scipy import stats

from dctnet.errors import UserError
from dctnet.studies.estimates import accuracy, difference
from tests.simulated_rows import draw_correct, make_arm


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


def answers(lines: list[str]) -> np.ndarray:
    """Right (100) or wrong (0), shape (seeds, images)."""
    return np.array([[100 * (answer == "1") for answer in line] for line in lines])


def test_interval_of_one_seed_is_that_of_images(two_arms):
    one, other = (lines[:1] for lines in two_arms)
    found, expected = accuracy(make_arm("a", one)), stats.ttest_1samp(answers(one)[0], 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    found = difference(make_arm("a", one), make_arm("b", other))
    expected = stats.ttest_rel(answers(one)[0], answers(other)[0]).confidence_interval()
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_interval_of_seeds_alone_is_welch_s():
    """Each image is right in two of three seeds of one arm, and in one of three of the other: images do not differ."""
    one = ["1111" * 50, "1100" * 50, "0011" * 50]
    other = ["1000" * 50, "0100" * 50, "0011" * 50]
    found = difference(make_arm("a", one), make_arm("b", other))
    welch = stats.ttest_ind(answers(one).mean(1), answers(other).mean(1), equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx(tuple(welch))


def test_an_interval_ends_where_accuracies_end():
    found = accuracy(make_arm("a", ["1" * 19 + "0", "1" * 20, "1" * 10 + "0" * 10]))
    assert found.high == 100
    one = difference(make_arm("a", ["1"]), make_arm("b", ["0"]))
    assert (one.value, one.low, one.high) == (100, -100, 100)  # one image tells nothing


def test_images_with_equal_answers_keep_their_count(two_arms):
    """Each image three times: the same value, a third of the variance."""
    once, thrice = (accuracy(make_arm("a", [n * line for line in two_arms[0][:1]])) for n in (1, 3))
    assert thrice.value == pytest.approx(once.value)
    assert thrice.high - thrice.low == pytest.approx((once.high - once.low) / 3**0.5, rel=0.02)


def coverage(simulate, truth: float, times: int) -> float:
    """Share of simulated benchmarks whose interval contains the true value, in percentage points."""
    found = [simulate() for _ in range(times)]
    return np.mean([e.low <= truth <= e.high for e in found])


def test_coverage_is_nominal_with_one_seed():
    rng = np.random.default_rng(0)
    share = coverage(lambda: accuracy(make_arm("a", draw_correct(rng, np.full(1000, 0.8), 1))), 80, 600)
    assert 0.93 <= share <= 0.97


def test_coverage_is_nominal_with_many_different_seeds():
    rng = np.random.default_rng(1)

    def simulate():
        return accuracy(make_arm("a", draw_correct(rng, rng.beta(8, 2, 1000), 12, 0.03)))

    # Seeds 3 points apart and 1,000 images: standard errors of 0.9 and 0.5 points.
    assert 0.90 <= coverage(simulate, 80, 200) <= 0.99


def test_coverage_of_a_difference_is_nominal_for_images_hard_for_both_arms():
    rng = np.random.default_rng(2)

    def simulate():
        chance = rng.uniform(0.1, 0.9, 300)
        arms = [draw_correct(rng, chance + shift, 3) for shift in (0.0, -0.05)]
        return difference(make_arm("a", arms[0]), make_arm("b", arms[1]))

    assert coverage(simulate, 5, 200) >= 0.93


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
    # Seeds are independent on both sides.
    assert found.low < 0 < found.high
    assert found.low == pytest.approx(-found.high)
    one = difference(rows[:1], rows[:1])
    assert (one.value, one.low, one.high) == (0, 0, 0)


def test_difference_is_antisymmetric(two_arms):
    a, b = (make_arm(name, correct) for name, correct in zip("ab", two_arms, strict=True))
    there, back = difference(a, b), difference(b, a)
    assert there.value == pytest.approx(-back.value)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert there.value == pytest.approx(accuracy(a).value - accuracy(b).value)


def test_an_image_unreadable_in_one_trial_is_left_out_of_all():
    found = accuracy(make_arm("a", ["11-0", "1100"]))
    assert (found.value, found.images) == (pytest.approx(100 * 4 / 6), 3)
    found = difference(make_arm("a", ["11-0", "1100"]), make_arm("b", ["-110", "0110"]))
    assert (found.value, found.images) == (pytest.approx(100 * (2 / 4 - 2 / 4)), 2)


def test_no_image_readable_in_all_trials_is_an_error():
    with pytest.raises(UserError, match="^a and b: no image could be read in all of their trials$"):
        difference(make_arm("a", ["1-"]), make_arm("b", ["-1"]))


def test_draws_are_the_unit():
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
