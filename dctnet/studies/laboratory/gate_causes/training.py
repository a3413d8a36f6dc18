"""Trains a small network behind a static gate, and measures each channel."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dctnet.frequency.dct import BLOCK
from dctnet.model.gates import sample_gate
from dctnet.model.network import FrequencyNet
from dctnet.model.sparsity import SparsityPenalty
from dctnet.studies.laboratory.gate_causes.arms import Arm, order_of
from dctnet.studies.laboratory.gate_causes.data import INDICES, KEEP, NUM_CHANNELS, ChannelData, Split
from dctnet.studies.laboratory.seeds import derive, generator
from dctnet.training.optimizers import build_optimizer

STEPS, _BATCH = 240, 64
_OPTIONS = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "warmup": 0.2, "gate_lr": 0.1}
_TAU = (1.0, 0.5)


@dataclass(frozen=True)
class Trained:
    """Result of a training; channels in the order of ``INDICES``.

    Shape:
        - keep_probability: (24,)
    """

    keep_probability: Tensor
    accuracy: float


def build_network(classes: int, side: int) -> FrequencyNet:
    """FrequencyNet with a static gate and the first stage of ResNet-18."""
    names = [str(number) for number in range(classes)]
    network = FrequencyNet(names, INDICES, BLOCK * side, gate="static", channels_last=False)
    for stage in ("layer2", "layer3", "layer4"):
        network.backbone.set_submodule(stage, nn.Identity())
    network.backbone.set_submodule("fc", nn.Linear(64, classes))
    return network


def fit_scale(network: FrequencyNet, train: Tensor, arm: Arm) -> None:
    """Fits the normalisation to a scale for each channel, or a common one.

    Shape:
        - train: (N, 24, blocks, blocks)
    """
    flat = train.double().transpose(0, 1).flatten(1)
    std = flat.std(1)
    if arm.scale == "common":
        std = std.square().mean().sqrt().expand_as(std)
    network.normalisation.fit(flat.mean(1).float(), std.float())


def forward(network: FrequencyNet, channels: Tensor, order: Tensor, training: bool) -> tuple[Tensor, Tensor]:
    """Logits and gate logits, as ``forward_gated``, but with the gate noise in the order of ``INDICES``."""
    normalised, inverse = network.normalisation(channels), order.argsort()
    assert network.gate is not None
    gate_logits = network.gate(normalised)
    mask = sample_gate(gate_logits[:, inverse], network.tau, training)[:, order]
    return network.backbone(normalised * mask[..., None, None]), gate_logits


def train_gate(data: ChannelData, arm: Arm, seed: int, check_stop: Callable[[], None], steps: int = STEPS) -> Trained:
    """Trains from scratch with a budget of half the channels.

    Args:
        data: Already changed for the arm.
        arm: Determines the scale and the order of the channels.
        seed: Of weights, batches and gate noise, which are those of the same seed in other arms.
        check_stop: Called before every step.
        steps: Length of the training.
    """
    batches_of = generator(seed, "batches")
    order = order_of(arm, generator(seed, "places"))
    train, val = data.train.channels[:, order], data.val.channels[:, order]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "weights"))
        network = build_network(data.classes, train.shape[-1])
        torch.manual_seed(derive(seed, "gate noise"))
        with torch.no_grad():
            network.entry.weight.copy_(network.entry.weight[:, order])
        fit_scale(network, train, arm)
        penalty = SparsityPenalty(NUM_CHANNELS, keep=KEEP)
        optimizer, schedule = build_optimizer(network.backbone, network.gate, _OPTIONS, steps)
        batches: Iterator[Tensor] = iter(())
        per_epoch = max(1, len(train) // _BATCH)  # full batches
        for step in range(steps):
            check_stop()
            if step % per_epoch == 0:
                batches = iter(torch.randperm(len(train), generator=batches_of).split(_BATCH))
            batch = next(batches)
            network.tau = _TAU[0] * (_TAU[1] / _TAU[0]) ** (step / steps)
            logits, gate_logits = forward(network, train[batch], order, True)
            penalty.update(float((gate_logits[0] > 0).sum()), step / steps)
            loss = F.cross_entropy(logits, data.train.targets[batch]) + penalty(gate_logits)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.inference_mode():
        logits, gate_logits = forward(network, val, order, False)
    accuracy = float((logits.argmax(1) == data.val.targets).double().mean())
    return Trained(gate_logits[0].detach().sigmoid()[order.argsort()], accuracy)


def smoothness(channels: Tensor) -> Tensor:
    """Correlation of neighbouring blocks within an image, mean of both axes: (N, C, H, W) to (C,)."""
    z = channels.double() - channels.double().mean((2, 3), keepdim=True)
    across, down = z[..., :-1] * z[..., 1:], z[..., :-1, :] * z[..., 1:, :]
    return (across.mean((0, 2, 3)) + down.mean((0, 2, 3))) / 2 / z.square().mean((0, 2, 3))


def probe_accuracy(train: Split, val: Split, classes: int) -> Tensor:
    """Validation accuracy of a linear classifier on each channel alone: (C,).

    Its features are the log energy of the map and, of 3 × 3 fields of it, mean and mean magnitude. Least squares with a
    ridge of 1 % of their variance.
    """
    x, held_out = _features(train.channels), _features(val.channels)
    mean, std = x.mean(1, keepdim=True), x.std(1, keepdim=True).clamp(min=1e-6)
    x, held_out = (F.pad((each - mean) / std, (0, 1), value=1.0) for each in (x, held_out))
    gram = x.mT @ x + 0.01 * len(train) * torch.eye(x.shape[-1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, x.mT @ F.one_hot(train.targets, classes).double())
    return ((held_out @ weights).argmax(-1) == val.targets).double().mean(1)


def _features(channels: Tensor) -> Tensor:
    """(N, C, H, W) to (C, N, 19)."""
    maps = channels.double()
    pooled = [F.adaptive_avg_pool2d(each, 3).flatten(2) for each in (maps, maps.abs())]
    energy = maps.square().mean((2, 3)).add(1e-6).log()[..., None]
    return torch.cat([energy, *pooled], -1).transpose(0, 1)
