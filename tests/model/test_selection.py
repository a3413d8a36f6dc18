"""Gates trained with a classifier keep the channels that the class depends on, as many as the budget."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dctnet.model.gates import DynamicGate, StaticGate, sample_gate
from dctnet.model.metrics import GateStatistics
from dctnet.model.sparsity import SparsityPenalty
from dctnet.training.optimizers import JointOptimizer

CHANNELS, TRUTH, CLASSES, STEPS = 48, (1, 8, 13, 21, 30, 42), 4, 600


def sample(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise channels; in those of TRUTH the mean depends on the class."""
    target = torch.randint(CLASSES, (count,))
    codes = torch.tensor([[1, 1, 1, -1, -1, -1], [1, -1, -1, 1, 1, -1], [-1, 1, -1, 1, -1, 1], [-1, -1, 1, -1, 1, 1]])
    channels = torch.randn(count, CHANNELS, 2, 2)
    channels[:, list(TRUTH)] += 0.5 * codes[target].float()[..., None, None]
    return channels, target


def select(gate: nn.Module, keep: int | None = None, weight: float = 0.0) -> dict[str, torch.Tensor]:
    """Trains a gate in front of a linear classifier, and returns the gate's statistics at evaluation."""
    network, penalty = nn.Linear(CHANNELS, CLASSES), SparsityPenalty(CHANNELS, weight, keep, warmup=0.1)
    optimizer = JointOptimizer(
        torch.optim.SGD(network.parameters(), 0.1, 0.9), torch.optim.Adam(gate.parameters(), 0.02)
    )
    for step in range(STEPS):
        channels, target = sample(64)
        logits = gate(channels)
        mask = sample_gate(logits, tau=1.0, training=True)
        penalty.update(float((logits > 0).sum(1).float().mean()), step / STEPS)
        loss = F.cross_entropy(network((channels * mask[..., None, None]).mean((2, 3))), target)
        optimizer.zero_grad()
        (loss + penalty(logits)).backward()
        optimizer.step()
    statistics = GateStatistics(CHANNELS)
    with torch.no_grad():
        statistics.update(gate.eval()(sample(512)[0]))
    return statistics.compute()


@pytest.mark.parametrize("kind", [StaticGate, DynamicGate])
def test_gate_keeps_the_informative_channels_of_a_budget(kind):
    torch.manual_seed(0)
    found = select(kind(CHANNELS), keep=len(TRUTH))
    assert abs(float(found["num_kept"]) - len(TRUTH)) <= 2
    assert set(found["keep_probability"].topk(len(TRUTH)).indices.tolist()) == set(TRUTH)


def test_keep_probabilities_of_a_static_gate_are_near_0_or_1():
    torch.manual_seed(0)
    probability = select(StaticGate(CHANNELS), keep=len(TRUTH))["keep_probability"]
    assert ((probability < 0.05) | (probability > 0.95)).float().mean() >= 0.9


def test_kept_channels_decrease_with_the_sparsity_weight():
    counts = []
    for weight in (0.0, 0.003, 0.02, 0.3):
        torch.manual_seed(0)
        counts.append(float(select(StaticGate(CHANNELS), weight=weight)["num_kept"]))
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 40
    assert counts[-1] <= 3


def test_statistics_are_summed_over_batches():
    logits = torch.randn(10, 4)
    once, twice = GateStatistics(4), GateStatistics(4)
    once.update(logits)
    twice.update(logits[:3])
    twice.update(logits[3:])
    assert torch.allclose(once.compute()["keep_probability"], logits.sigmoid().mean(0))
    assert torch.allclose(once.compute()["keep_probability"], twice.compute()["keep_probability"])
    assert once.compute()["num_kept"] == twice.compute()["num_kept"] == (logits > 0).sum(1).float().mean()
