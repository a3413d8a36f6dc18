"""A network whose frequencies are known: trained on the planted textures, of which it must use 12 channels."""

import functools

import numpy as np
import torch
from torch import Tensor, nn

from dctnet.data import planted
from dctnet.frequency.channels import NUM_CHANNELS, planes_to_channels
from dctnet.frequency.selections import named_channels
from dctnet.studies.laboratory.photographs import Photographs
from dctnet.studies.laboratory.subject import Subject


class LogPower(nn.Module):
    """Classifies channels (N, 192, H, W) by the logarithm of the power of each."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean, self.std = mean, std
        self.linear = nn.Linear(NUM_CHANNELS, planted.NUM_CLASSES)

    def forward(self, channels: Tensor) -> Tensor:
        return self.linear((self.features(channels) - self.mean) / self.std)

    @staticmethod
    def features(channels: Tensor) -> Tensor:
        return channels.square().mean((-2, -1)).add(4).log()


def planes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Planted images of each class: planes (N, 3, 96, 96) and targets."""
    signs = planted.class_signs(planted.NUM_CLASSES, len(planted.TRUTH))
    targets = torch.arange(planted.NUM_CLASSES).repeat(count)
    images = [planted._synthesize(signs[t], np.random.default_rng((seed, i))) for i, t in enumerate(targets.tolist())]
    return torch.from_numpy(np.stack(images)).float(), targets


@functools.cache
def planted_subject() -> tuple[Subject, Photographs]:
    """The trained network and 80 other images."""
    inputs, targets = planes(80, 0)
    features = LogPower.features(planes_to_channels(inputs))
    network = LogPower(features.mean(0), features.std(0))
    standard = (features - network.mean) / network.std
    nn.init.zeros_(network.linear.weight)  # no random weights: the same network in any order of the tests
    nn.init.zeros_(network.linear.bias)
    optimizer = torch.optim.AdamW(network.linear.parameters(), lr=0.02, weight_decay=3.0)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.linear(standard), targets).backward()
        optimizer.step()
    images, wanted = planes(10, 1)
    subject = Subject("planted", network, planted.SIDE, named_channels("all"), [f"class{i}" for i in range(8)])
    return subject, Photographs(images, wanted, [f"{i}.jpg" for i in range(len(images))])
