"""Fully connected networks on coordinates or small images."""

import itertools
import math
from typing import Literal

import torch
from torch import Tensor, nn

from dctnet.studies.laboratory.seeds import derive

Activation = Literal["relu", "tanh", "sigmoid", "gelu", "sin"]


class Sine(nn.Module):
    """The sine of each value."""

    def forward(self, x: Tensor) -> Tensor:
        """Computes the sines."""
        return torch.sin(x)


_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "sin": Sine}


def make_mlp(inputs: int, outputs: int, width: int, depth: int, activation: Activation, seed: int) -> nn.Sequential:
    """A network with ``depth`` hidden layers and a linear output, with PyTorch's initial weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "weights"))
        sizes = [inputs, *[width] * depth]
        hidden = [
            layer
            for fan_in, fan_out in itertools.pairwise(sizes)
            for layer in (nn.Linear(fan_in, fan_out), _ACTIVATIONS[activation]())
        ]
        return nn.Sequential(*hidden, nn.Linear(sizes[-1], outputs))


def record_steps(steps: int, count: int) -> list[int]:
    """Up to ``count`` different steps from 1 to ``steps``, equally spaced on a logarithmic scale, and 0."""
    spaced = {round(math.exp(math.log(steps) * i / (count - 1))) for i in range(count)}
    return [0, *sorted(spaced)]
