"""The sparsity penalty, and the controller that meets a budget."""

import pytest
import torch

from dctnet.model.sparsity import SparsityPenalty, ramp


def test_ramp_rises_from_0_to_1():
    assert [ramp(p, 0.2, 0.6) for p in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([0, 0, 0.5, 1, 1])


def test_penalty_is_lambda_times_the_expected_count_after_warm_up():
    penalty = SparsityPenalty(192, 0.005, None, warmup=0.1)
    gate_logits = torch.randn(3, 192)
    expected = float(gate_logits.sigmoid().sum(1).mean())
    penalty.update(40.0, 0.05)
    assert float(penalty(gate_logits)) == 0
    penalty.update(40.0, 0.5)
    assert float(penalty(gate_logits)) == pytest.approx(0.005 * expected)


def test_undecided_dropped_channels_are_penalised_at_the_end():
    penalty = SparsityPenalty(192, 0.0, None, warmup=0.1)
    undecided, decided = torch.full((1, 192), -0.1), torch.full((1, 192), -9.0)
    penalty.update(192.0, 0.6)
    assert float(penalty(undecided)) == 0
    penalty.update(192.0, 1.0)
    assert float(penalty(undecided)) > 100 * float(penalty(decided))
    assert float(penalty(torch.full((1, 192), 0.1))) == 0  # kept channels pay λ only


def train(steps: int, lr: float, keep: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Trains gates of channels whose gain for the loss spans three orders of magnitude, with noisy gradients."""
    torch.manual_seed(seed)
    worth = torch.exp(torch.randn(192) * 1.3 - 6.5)
    logits = torch.full((192,), 1.9, requires_grad=True)
    penalty, optimizer = SparsityPenalty(192, 0.0, keep, warmup=0.1), torch.optim.Adam([logits], lr)
    for step in range(steps):
        probability = logits.sigmoid()
        gain = (worth * torch.exp(torch.randn(192)) + 0.01 * torch.randn(192)) * probability
        penalty.update(float((logits > 0).sum()), step / steps)
        loss = penalty(logits[None]) - gain.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return logits.detach(), worth


@pytest.mark.parametrize(("steps", "lr"), [(300, 0.05), (1200, 0.02)])
@pytest.mark.parametrize("keep", [6, 24, 64])
def test_budget_is_met_by_the_channels_with_the_largest_gain(steps, lr, keep):
    logits, worth = train(steps, lr, keep, seed=0)
    kept = logits > 0
    assert abs(int(kept.sum()) - keep) <= 2
    # Noise decides about channels at the border.
    assert kept[worth.topk(keep).indices].float().mean() >= 0.8


def test_gates_become_binary():
    probability = train(1200, 0.02, 24, seed=0)[0].sigmoid()
    assert ((probability < 0.05) | (probability > 0.95)).float().mean() >= 0.9


def test_lambda_depends_on_the_fraction_of_training_not_on_the_number_of_steps():
    short, long = (SparsityPenalty(192, 0.0, 24, warmup=0.1) for _ in range(2))
    for penalty, steps in ((short, 10), (long, 1000)):
        for step in range(steps + 1):
            penalty.update(100.0, 0.6 + 0.4 * step / steps)
    assert float(short.weight) == pytest.approx(float(long.weight), rel=0.01)
