"""Optimizers of the network and of the gate, stepped as one, with their learning rate schedule."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR


class JointOptimizer(Optimizer):
    """Several optimizers behind the interface of one.

    A gate does not learn under the network's SGD, because its gradients are a thousand times smaller. With a single
    optimizer, Lightning keeps automatic optimization: step counting, clipping, accumulation and resuming.

    Args:
        optimizers: Optimizers of disjoint parameters; their param_groups are shared, not copied.
    """

    def __init__(self, *optimizers: Optimizer) -> None:
        self.optimizers = optimizers
        super().__init__([group for o in optimizers for group in o.param_groups], {})

    def step(self, closure: Any = None) -> Any:
        """Evaluates the closure once, then steps each optimizer."""
        loss = closure() if closure is not None else None
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Returns the state dicts of all optimizers, in order."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores all optimizers and shares their new param_groups."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.param_groups = [group for o in self.optimizers for group in o.param_groups]


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Learning rate factor: rises from 1/25 to 1 over ``warmup`` steps, then falls to 0 along half a cosine."""
    if step < warmup:
        return 1 / 25 + (1 - 1 / 25) * step / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup)))


def build_optimizer(
    backbone: nn.Module, gate: nn.Module | None, options: Mapping[str, Any], total: int
) -> tuple[Optimizer, LambdaLR]:
    """Builds the optimizer of a training and its schedule.

    The backbone gets SGD (Nesterov) or AdamW with warm-up and cosine decay; weights with two dimensions or more decay,
    biases and norms do not. The gate gets Adam at a constant learning rate. Frozen parameters are left out.

    Args:
        backbone: The backbone.
        gate: The gate, if there is one.
        options: ``optimizer``, ``lr``, ``momentum``, ``weight_decay``, ``warmup`` and ``gate_lr``.
        total: Steps of the whole training.
    """
    parameters = [p for p in backbone.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options["weight_decay"]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer: Optimizer
    if options["optimizer"] == "adamw":
        optimizer = AdamW(groups, lr=options["lr"])
    else:
        momentum = options["momentum"]
        optimizer = SGD(groups, lr=options["lr"], momentum=momentum, nesterov=momentum > 0)
    warmup = int(options["warmup"] * total)
    factors = [lambda step: warmup_cosine(step, warmup, total)] * len(groups)
    if gate is not None and any(p.requires_grad for p in gate.parameters()):
        optimizer = JointOptimizer(optimizer, Adam(gate.parameters(), lr=options["gate_lr"]))
        factors += [lambda step: 1.0]
    return optimizer, LambdaLR(optimizer, factors)
