"""A training by gradient descent, and what the kernel at its beginning predicts of it, frequency by frequency."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dctnet.studies.laboratory.fourier_features.kernel import (
    Parameters,
    fourier_modes,
    jacobian_kernel,
    outputs_of,
)
from dctnet.studies.laboratory.mlp import record_steps


@dataclass(frozen=True)
class Dynamics:
    """The part of each frequency that is not yet learned, 1 at the beginning.

    Shape:
        - steps: (T,)
        - measured, predicted: (T, K)
    """

    steps: list[int]
    measured: Tensor
    predicted: Tensor

    @property
    def gap(self) -> float:
        """Largest difference over all steps and frequencies."""
        return float((self.measured - self.predicted).abs().max())


def train_and_predict(
    parameters: Parameters,
    x: Tensor,
    bias: float,
    frequencies: Sequence[int],
    amplitude: float,
    steps: int,
    check_stop: Callable[[], None],
) -> Dynamics:
    """Trains a network on a sum of cosines at equally spaced points.

    The network's output at the beginning is subtracted, so that the first residual is the target. With the step
    η = 1 / (2 λ_max), descent on a linear model is u(t) = (I − ηK)^t u(0), which is u(0) exp(−ηKt) for small η.

    Args:
        parameters: Of the network at the beginning.
        x: Mapped points, (N, inputs), float32.
        bias: β of the network.
        frequencies: Of the cosines, 0 … N/2 − 1; each has its own phase.
        amplitude: Of each cosine.
        steps: Number of steps of gradient descent on ½ Σ (f − y)².
        check_stop: Is called at each step.
    """
    points = len(x)
    modes = fourier_modes(points, frequencies)
    # Golden-ratio phases: the cosines have no common maximum.
    phases = torch.exp(2j * math.pi * 0.618 * torch.tensor(list(frequencies), dtype=torch.float64))
    target = amplitude * math.sqrt(points) * (modes * phases[:, None]).sum(0).real
    kernel = jacobian_kernel(parameters, x, bias)
    values, vectors = torch.linalg.eigh(kernel)
    rate = 0.5 / float(values[-1])
    start = modes.conj() @ -target.to(modes.dtype)

    def share(residual: Tensor) -> Tensor:
        return ((modes.conj() @ residual.to(modes.dtype)) / start).real

    records = record_steps(steps, 80)
    decayed = [vectors @ ((1 - rate * values) ** step * (vectors.T @ -target)) for step in records]
    moving = {name: value.clone().requires_grad_(True) for name, value in parameters.items()}
    measured, wanted = [], set(records)
    with torch.no_grad():
        first = outputs_of(parameters, x, bias)
    for step in range(steps + 1):
        check_stop()
        residual = outputs_of(moving, x, bias) - first - target.float()
        if step in wanted:
            measured.append(share(residual.detach()))
        gradients = torch.autograd.grad(residual.square().sum() / 2, list(moving.values()))
        with torch.no_grad():
            for value, gradient in zip(moving.values(), gradients, strict=True):
                value -= rate * gradient
    return Dynamics(records, torch.stack(measured), torch.stack([share(each) for each in decayed]))
