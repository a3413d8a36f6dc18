"""Spectral bias: measures, order of learning, perturbation and label noise on functions with known answers."""

import math

import numpy as np
import pytest
import torch

from dctnet.errors import Stopped
from dctnet.studies.intervals import mean_interval
from dctnet.studies.laboratory.mlp import make_mlp, record_steps
from dctnet.studies.laboratory.page import REPORT
from dctnet.studies.laboratory.spectral_bias.command import SWEEPS, spectral_bias
from dctnet.studies.laboratory.spectral_bias.labels import learn_noisy, read_digits, wave
from dctnet.studies.laboratory.spectral_bias.perturbation import perturb
from dctnet.studies.laboratory.spectral_bias.results import (
    Curves,
    exponent,
    exponent_change,
    first_reach,
    order_of,
    rank_correlation,
)
from dctnet.studies.laboratory.spectral_bias.source import compare_iterations
from dctnet.studies.laboratory.spectral_bias.targets import learned, make_target
from dctnet.studies.laboratory.spectral_bias.training import LEARNING_RATES, Setting, learn
from dctnet.studies.laboratory.study import ROWS
from tests.commands import fails, read_csv, run
from tests.studies.laboratory.late_signal import LateSignal

K = [2, 4, 8]
TINY = {"frequencies": [1, 2, 3], "points": 16, "width": 8, "depth": 1, "steps": 20, "directions": 2, "label_noise": []}


def setting(**changes) -> Setting:
    base = {"activation": "relu", "depth": 2, "width": 64, "optimizer": "adam", "lr": 1e-2, "weight_decay": 0.0,
            "steps": 400, "amplitudes": "equal", "petals": None}  # fmt: skip
    return Setting(**base | changes)


def curves(speed: float, shift: float = 1, seeds: int = 3) -> Curves:
    """1 − exp(−t / (shift · k^speed)) for frequencies 1, 2, 4, 8."""
    x, k = np.array(record_steps(100_000, 300), float), np.array([1.0, 2, 4, 8])
    values = [1 - np.exp(-x[:, None] / (shift * 10 * k**speed * (1 + 0.01 * seed))) for seed in range(seeds)]
    return Curves(x, k, np.stack(values))


@pytest.mark.parametrize("petals", [None, 0, 4])
@pytest.mark.parametrize("amplitudes", ["equal", "rising"])
def test_both_measures_are_one_for_the_target_and_zero_for_nothing(petals, amplitudes):
    target = make_target(K, amplitudes, petals, 64, 0)
    for measure in learned(target.values[:, 0], target):
        torch.testing.assert_close(measure, torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0)
    for measure in learned(torch.zeros(64), target):
        assert measure.abs().max() < 1e-12


def test_a_wrong_phase_counts_as_learned_by_the_modulus_only():
    target = make_target(K, "equal", None, 64, 0)
    modulus, match = learned(target.values[:, 0].roll(4), target)  # half a period of k = 8
    torch.testing.assert_close(modulus, torch.ones(3, dtype=torch.float64), atol=1e-5, rtol=0)
    assert match[2] == pytest.approx(-1, abs=1e-5)
    shares = torch.rand(5, 64)
    assert (learned(shares, target)[1] <= learned(shares, target)[0] + 1e-9).all()


def test_rising_amplitudes_rise():
    target = make_target(K, "rising", None, 64, 0)
    torch.testing.assert_close(target.spectrum.abs() / 32, torch.tensor([1, 2, 3]).double() / 3)


def test_petals_are_the_curve_and_zero_petals_the_circle():
    z = torch.arange(64) / 64
    circle = make_target(K, "equal", 0, 64, 0).inputs
    torch.testing.assert_close(circle.norm(dim=1), torch.ones(64))
    five = make_target(K, "equal", 5, 64, 0).inputs
    torch.testing.assert_close(five.norm(dim=1), 1 + torch.sin(10 * math.pi * z) / 2)


def test_first_reach_is_the_time_of_an_exponential():
    half = curves(2).iterations(0.5)[0]
    np.testing.assert_allclose(half, 10 * math.log(2) * np.array([1, 4, 16, 64]), rtol=0.02)
    assert first_reach(np.array([0.0, 10]), np.array([[0, 0.6], [0.4, 1]]), 0.5).tolist()[0] == math.inf


def test_exponent_and_rank_correlation_recover_a_power_law():
    order = order_of(curves(2))
    assert order.exponent.value == pytest.approx(2, abs=0.05)
    assert order.correlation.value == pytest.approx(1)
    assert order.learned.value == 4
    assert rank_correlation(np.array([1, 2, 3]), np.array([5, math.inf, math.inf])) == pytest.approx(math.sqrt(3) / 2)
    assert math.isnan(rank_correlation(np.array([1, 2]), np.array([math.inf] * 2)))
    assert math.isnan(exponent(np.array([1, 2, 3]), np.array([1, 2, math.inf])))


def test_a_change_of_the_power_is_found_and_a_change_of_speed_is_none():
    change = exponent_change(curves(1), curves(2))
    assert change.sign == -1
    assert change.value == pytest.approx(-1, abs=0.05)
    assert abs(exponent_change(curves(2, shift=3), curves(2)).value) < 0.02
    assert exponent_change(curves(1, seeds=1), curves(2, seeds=1)).sign == 0
    assert exponent_change(curves(1, shift=1e5), curves(2)) is None


def test_interval_is_student_s():
    found = mean_interval([1.0, 2, 3])
    assert (found.value, found.low, found.high) == pytest.approx(
        (2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), rel=1e-4
    )
    assert mean_interval([1, 10, 100], log=True).value == pytest.approx(10)
    assert str(mean_interval([1234567.0])) == "1,230,000 (one seed)"


@pytest.mark.parametrize("optimizer", list(LEARNING_RATES))
@pytest.mark.parametrize("activation", SWEEPS["activation"])
def test_every_activation_and_optimizer_trains(activation, optimizer):
    target = make_target([1], "equal", 0, 16, 0)
    given = setting(activation=activation, optimizer=optimizer, steps=5, lr=None)
    _, rows = learn(target, given, 0, lambda: None)
    assert {row["measure"] for row in rows} == {"modulus", "match"}
    assert all(math.isfinite(row["value"]) for row in rows)


def test_a_low_frequency_is_learned_before_a_high_one():
    target = make_target([1, 6], "equal", 0, 32, 0)
    _, rows = learn(target, setting(), 0, lambda: None)
    match = {k: {r["x"]: r["value"] for r in rows if r["k"] == k and r["measure"] == "match"} for k in (1, 6)}
    times = [
        first_reach(np.array(list(each), float), np.array([list(each.values())]).T, 0.5)[0] for each in match.values()
    ]
    assert 2 * times[0] < times[1]
    assert match[1][400] > 0.9


def test_perturbation_keeps_the_network_and_grows_with_the_norm():
    target = make_target([1, 2], "equal", 0, 32, 0)
    network, _ = learn(target, setting(steps=200), 0, lambda: None)
    before = network(target.inputs)
    rows = perturb(network, target, [0, 1, 20], 20, 0, lambda: None)
    torch.testing.assert_close(network(target.inputs), before)
    match = [
        [row["value"] for row in rows if row["x"] == x and row["measure"] == "perturbed_match"] for x in (0, 1, 20)
    ]
    torch.testing.assert_close(
        torch.tensor(match[0]), learned(before.detach()[:, 0], target)[1].float(), atol=1e-5, rtol=0
    )
    assert match[0] > match[1] > match[2]


def test_label_noise_has_no_mean_and_unit_strength_at_any_frequency():
    images = torch.rand(50, 9)
    for frequency in (0.05, 0.2, 1.0):
        noise = wave(images, frequency)
        assert abs(float(noise.mean())) < 1e-5
        assert float(noise.square().mean()) == pytest.approx(1, abs=1e-3)


def test_learned_share_of_label_noise_goes_from_none_to_all():
    pytest.importorskip("sklearn")
    digits = read_digits(0)
    assert len(digits.train) + len(digits.test) == 357
    assert float(torch.cat([digits.train, digits.test]).norm(dim=1).mean()) == pytest.approx(9.2, rel=1e-4)
    rows = learn_noisy(digits, 0.2, setting(steps=150, lr=3e-3), 0, lambda: None)
    share = [row["value"] for row in rows if row["measure"] == "label_noise"]
    assert abs(share[0]) < 0.1
    assert share[-1] > 0.9
    assert {row["measure"] for row in learn_noisy(digits, 0, setting(steps=2), 0, lambda: None)} == {
        "label_error", "label_accuracy"
    }  # fmt: skip


def test_source_s_iterations_agree_only_where_they_can_be_told():
    x = np.array(record_steps(20_000, 200), float)
    k = np.array([5.0, 10, 20, 50])
    values = np.stack([1 - np.exp(-x[:, None] / (s * np.array([200, 3000, 100, 1e9]))) for s in (0.9, 1, 1.1)])
    table, _ = compare_iterations(Curves(x, k, values))
    assert [row[-1].split(":")[0] for row in table.rows] == ["agrees", "agrees", "differs", "cannot be told"]


def arguments(out, **changes) -> list[str]:
    options = {**TINY, "seeds": 2, "out": out, **changes}
    return ["lab", "spectral-bias", *(f"--{key}={value}" for key, value in options.items())]


def test_command_writes_rows_and_page(tmp_path):
    pytest.importorskip("sklearn")
    assert run(*arguments(tmp_path / "out", label_noise=[0.2])) == 0
    units = {row["unit"] for row in read_csv(tmp_path / "out" / ROWS)}
    assert units == {f"base/seed {n}" for n in (0, 1)} | {f"labels/{k}/seed {n}" for k in ("0", "0.2") for n in (0, 1)}
    page = (tmp_path / "out" / REPORT).read_text()
    assert "<svg" in page
    assert "Noise on labels" in page


@pytest.mark.parametrize("sweep", list(SWEEPS))
def test_every_factor_can_be_swept(tmp_path, sweep):
    values = {"depth": "[1,2]", "width": "[8,4]"}.get(sweep)
    extra = {} if values is None else {"values": values}
    assert run(*arguments(tmp_path / "out", sweep=sweep, seeds=1, steps=5, directions=0, **extra)) == 0
    arms = {row["arm"] for row in read_csv(tmp_path / "out" / ROWS)}
    assert len(arms) >= 2
    assert all(arm.startswith(sweep) for arm in arms)
    assert f"Does {sweep} change the order?" in (tmp_path / "out" / REPORT).read_text()


def test_stopped_study_goes_on_to_the_same_rows(tmp_path):
    spectral_bias(**TINY, seeds=2, out=str(tmp_path / "whole"))
    with pytest.raises(Stopped, match="1 of 2 units"):
        spectral_bias(**TINY, seeds=2, out=str(tmp_path / "parts"), signals=LateSignal(45))
    spectral_bias(**TINY, seeds=2, out=str(tmp_path / "parts"))
    assert (tmp_path / "parts" / ROWS).read_bytes() == (tmp_path / "whole" / ROWS).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frequencies": [1, 8]}, "below half of --points"),
        ({"frequencies": [1, 1]}, "different"),
        ({"frequencies": []}, "--frequencies"),
        ({"steps": -1}, "--steps must be at least 2"),
        ({"width": 0}, "--width must be at least 1"),
        ({"petals": -1}, "--petals"),
        ({"lr": 0}, "--lr"),
        ({"lr": 1e30, "optimizer": "sgd"}, "diverged"),
        ({"weight_decay": "nan"}, "--weight_decay"),
        ({"norms": [1, 2]}, "must contain 0"),
        ({"norms": [0, -1]}, "--norms"),
        ({"label_noise": [0]}, "--label_noise"),
        ({"label_noise": [0.2, 0.2000001]}, "same first six digits"),
        ({"sweep": "activation", "values": "[relu,tan]"}, "Did you mean 'tanh'"),
        ({"sweep": "depth", "values": "[1,x]"}, "must be a number"),
        ({"sweep": "depth", "values": "[1,1]"}, "two different values"),
        ({"values": "[relu,tanh]"}, "Give --sweep"),
        ({"activation": "rely"}, "activation"),
    ],
)
def test_mistakes_are_one_line(tmp_path, capsys, changes, message):
    assert message in fails(capsys, *arguments(tmp_path / "out", **changes))


def test_networks_of_a_seed_are_the_same_and_leave_the_global_generator_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one, two = (make_mlp(1, 1, 4, 2, "tanh", 3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
