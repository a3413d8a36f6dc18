"""A network of 14,000 weights in place of torchvision's ResNets, for tests of everything but the network.

A ResNet-18 makes checkpoints of 90 MB, which every fit writes and flushes several times.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torchvision
from torch import Tensor, nn

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2")
ROOT = Path(__file__).parents[1]


class Block(nn.Module):
    """One convolution that halves the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(64, 16, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)

    def forward(self, input: Tensor) -> Tensor:
        return self.bn1(self.conv1(input)).relu()


class SmallResNet(nn.Module):
    """Has the names and the 64 entry channels that replacing the stem relies on, and dropout, which draws numbers."""

    def __init__(self, weights: None = None, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer2 = nn.Sequential(Block())
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(16, num_classes)

    def forward(self, input: Tensor) -> Tensor:
        features = self.layer2(self.maxpool(self.bn1(self.conv1(input)).relu()))
        return self.fc(self.dropout(features.mean((2, 3))))


def install() -> None:
    """Replaces torchvision's ResNets in this process for good."""
    for name in NAMES:
        setattr(torchvision.models, name, SmallResNet)


@contextmanager
def small_backbones() -> Iterator[None]:
    """Replaces torchvision's ResNets in this process and, through tests/startup, in those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setattr(torchvision.models, name, SmallResNet)
        for folder in (ROOT, ROOT / "tests" / "startup"):
            patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield
