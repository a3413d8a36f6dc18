"""The training loss: torch's without weights; with weights, the same for class indices and soft targets."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dctnet.training.loss import ClassificationLoss

WEIGHTS = torch.tensor([0.4, 2.5, 1.0, 0.0])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 4, generator=generator), torch.arange(12) % 3


def weighted(smoothing: float) -> ClassificationLoss:
    loss = ClassificationLoss(smoothing)
    loss.class_weights = WEIGHTS
    return loss


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_weights_the_bits_are_those_of_torch(batch, smoothing, soft):
    logits, target = batch
    target = F.one_hot(target, 4).float().roll(1, 0).lerp(F.one_hot(target, 4).float(), 0.3) if soft else target
    expected = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, target)
    assert torch.equal(ClassificationLoss(smoothing)(logits, target), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_with_weights_it_is_the_sum_of_its_definition(batch, smoothing):
    logits, target = batch
    soft = F.one_hot(target, 4).double() * (1 - smoothing) + smoothing / 4
    log = logits.double().log_softmax(1)
    total = sum(-WEIGHTS[c].double() * soft[i, c] * log[i, c] for i in range(12) for c in range(4))
    assert weighted(smoothing)(logits, target).item() == pytest.approx(total.item() / 12, rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_indices_are_one_hot_targets_and_mixed_targets_are_linear(batch, smoothing):
    logits, target = batch
    loss, one_hot = weighted(smoothing), F.one_hot(target, 4).float()
    assert torch.allclose(loss(logits, target), loss(logits, one_hot))
    mixed = loss(logits, 0.3 * one_hot + 0.7 * one_hot.roll(1, 0))
    assert torch.allclose(mixed, 0.3 * loss(logits, one_hot) + 0.7 * loss(logits, one_hot.roll(1, 0)))


def test_the_mean_over_two_ranks_is_the_loss_of_the_whole_batch(batch):
    logits, target = batch
    order = target.argsort()  # the ranks get other classes
    halves = [weighted(0.1)(logits[part], target[part]) for part in order.split(6)]
    assert torch.allclose(sum(halves) / 2, weighted(0.1)(logits, target))


def test_weights_are_not_saved():
    assert not weighted(0.1).state_dict()
