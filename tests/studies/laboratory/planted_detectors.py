"""A network on RGB with high–low frequency detectors, and with units that are none, whose truth is known."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ORIENTATIONS = 8
CONTROLS = ["isotropic"] * 3 + ["edge"] * 4 + ["oriented"] * 4 + ["bar"] * 4
DETECTOR = [True] * ORIENTATIONS + [False] * len(CONTROLS)
KERNEL, BLUR, WINDOW = 15, 9, 15  # of the three convolutions
FIELD = KERNEL + BLUR + WINDOW - 2


def gaussian(size: int, sigma: float) -> Tensor:
    line = torch.exp(-(torch.arange(size) - size // 2).float().square() / (2 * sigma**2))
    return torch.outer(line, line) / line.sum() ** 2


def axes(size: int, angle: float) -> Tensor:
    line = torch.arange(size).float() - size // 2
    return line[None] * math.cos(angle) - line[:, None] * math.sin(angle)


def filters() -> Tensor:
    """Filters of luminance: fine and coarse band in both signs, edges, stripes, bars; mean 0."""
    delta = F.pad(torch.ones(1, 1), (KERNEL // 2,) * 4)
    fine = delta - gaussian(KERNEL, 0.6)
    coarse = gaussian(KERNEL, 1.8) - gaussian(KERNEL, 3.5)
    bands = [fine, -fine, 2 * coarse, -2 * coarse]
    envelope = gaussian(KERNEL, 2.5)
    for make in (torch.sin, torch.cos):  # edges, stripes
        for n in range(4):
            bands.append(
                envelope * make(2 * math.pi / (12 if make is torch.sin else 6) * axes(KERNEL, n * math.pi / 4))
            )
    bands += [torch.exp(-axes(KERNEL, n * math.pi / 4).square() / 3) * envelope for n in range(4)]
    stack = torch.stack(bands)
    return stack - stack.mean((-2, -1), keepdim=True)


class Planted(nn.Module):
    """Bands → local energy of each → detectors and controls; ``pool`` and ``fc`` make logits for three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.relu1 = nn.Conv2d(3, 16, KERNEL, padding=KERNEL // 2), nn.ReLU()
        self.conv2, self.relu2 = nn.Conv2d(16, 14, BLUR, padding=BLUR // 2, bias=False), nn.ReLU()
        units = len(DETECTOR)
        self.conv3, self.relu3 = nn.Conv2d(14, units, WINDOW, padding=WINDOW // 2), nn.ReLU()
        self.conv4, self.relu4 = nn.Conv2d(units, 24, 1), nn.ReLU()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(24, 3)
        with torch.no_grad():
            for each in (self.conv1, self.conv2, self.conv3):
                each.weight.zero_()
                if each.bias is not None:
                    each.bias.zero_()
            self.conv1.weight.copy_((filters() / 3)[:, None].expand(-1, 3, -1, -1))
            blur = gaussian(BLUR, 2)
            for band in range(2):
                self.conv2.weight[band, 2 * band : 2 * band + 2] = blur
            for n in range(12):
                self.conv2.weight[2 + n, 4 + n, BLUR // 2, BLUR // 2] = 1
            window = gaussian(WINDOW, 4)
            for n in range(ORIENTATIONS):
                side = torch.sign(axes(WINDOW, 2 * math.pi * n / ORIENTATIONS).round(decimals=3))
                self.conv3.weight[n, 0], self.conv3.weight[n, 1] = window * side, -window * side
                self.conv3.bias[n] = -0.02
            for n, pair in enumerate(((1, 0), (0, 1), (1, 1)), ORIENTATIONS):
                self.conv3.weight[n, 0], self.conv3.weight[n, 1] = pair[0] * window, pair[1] * window
            for n in range(12):
                self.conv3.weight[ORIENTATIONS + 3 + n, 2 + n, WINDOW // 2, WINDOW // 2] = 1
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.conv1(x))
        x = self.relu2(self.conv2(x))
        x = self.relu3(self.conv3(x))
        x = self.relu4(self.conv4(x))
        return self.fc(self.pool(x).flatten(1))


def planted() -> nn.Module:
    """The factory, for --net."""
    torch.manual_seed(0)
    return Planted()


class Branching(nn.Module):
    """A network that torch.fx cannot trace, because its way depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).mean((-2, -1))
        return self.fc(x) if x.sum() > 0 else self.fc(-x)


def branching() -> nn.Module:
    """The factory, for --net."""
    return Branching().eval()
