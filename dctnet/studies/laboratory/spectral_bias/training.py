"""Learns a function by full-batch descent, and records each frequency."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dctnet.errors import UserError
from dctnet.studies.laboratory.mlp import Activation, make_mlp, record_steps
from dctnet.studies.laboratory.spectral_bias.targets import Target, learned
from dctnet.studies.laboratory.study import Measurement

Optimizer = Literal["adam", "sgd", "momentum", "rmsprop"]
# Rahaman et al. use Adam at 3e-4. Of the others, the rate of 1, 3, 10 … with which the default network learned most.
LEARNING_RATES = {"adam": 3e-4, "sgd": 0.1, "momentum": 0.01, "rmsprop": 3e-4}
_RECORDS = 120


@dataclass(frozen=True)
class Setting:
    """A network and how it is trained; the arms of a sweep differ in one of these, or in the target."""

    activation: Activation
    depth: int
    width: int
    optimizer: Optimizer
    lr: float | None
    weight_decay: float
    steps: int
    amplitudes: str
    petals: int | None

    @property
    def learning_rate(self) -> float:
        """``lr``, or the optimizer's own."""
        return LEARNING_RATES[self.optimizer] if self.lr is None else self.lr


def make_optimizer(setting: Setting, network: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a setting; weight decay is decoupled (AdamW) for Adam and an L2 penalty for the others."""
    common: dict[str, Any] = {"lr": setting.learning_rate, "weight_decay": setting.weight_decay}
    parameters = list(network.parameters())
    match setting.optimizer:
        case "adam":
            return torch.optim.AdamW(parameters, **common)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, **common)
        case _:
            return torch.optim.SGD(parameters, momentum=0.9 if setting.optimizer == "momentum" else 0, **common)


def descend(
    network: nn.Module, inputs: Tensor, values: Tensor, setting: Setting, check_stop: Callable[[], None]
) -> Iterator[tuple[int, Tensor]]:
    """Minimises the squared error; yields steps, equally spaced on a logarithmic scale, and the outputs (N,) there.

    Raises:
        UserError: The error is no longer finite.
    """
    optimizer, records = make_optimizer(setting, network), set(record_steps(setting.steps, _RECORDS))
    for step in range(setting.steps + 1):
        check_stop()
        outputs = network(inputs)
        error = nn.functional.mse_loss(outputs, values)
        if step in records:
            if not torch.isfinite(error):
                raise UserError(
                    f"{setting.optimizer} at --lr {setting.learning_rate:g}: diverged before step {step}; lower --lr"
                )
            yield step, outputs.detach()[:, 0]
        optimizer.zero_grad()
        error.backward()
        optimizer.step()


def learn(
    target: Target, setting: Setting, seed: int, check_stop: Callable[[], None]
) -> tuple[nn.Module, list[Measurement]]:
    """Trains a network on a target.

    Returns:
        The network, and rows of ``modulus`` and ``match`` with x = step.
    """
    network = make_mlp(target.inputs.shape[1], 1, setting.width, setting.depth, setting.activation, seed)
    rows: list[Measurement] = []
    for step, outputs in descend(network, target.inputs, target.values, setting, check_stop):
        rows += measure_rows("", step, outputs, target)
    return network, rows


def measure_rows(prefix: str, x: float, outputs: Tensor, target: Target) -> list[Measurement]:
    """Rows of both measures at one x; outputs (N,), or (D, N) to be averaged over D."""
    return [
        {"measure": prefix + name, "x": x, "k": int(k), "value": round(float(value), 6)}
        for name, values in zip(("modulus", "match"), learned(outputs, target), strict=True)
        for k, value in zip(target.frequencies, values.reshape(-1, len(target.frequencies)).mean(0), strict=True)
    ]
