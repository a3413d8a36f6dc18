"""The network's optimiser and the gate's, stepped as one, and their schedule."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer


class JointOptimizer(Optimizer):
    """Several optimisers behind the interface of one.

    A gate does not select under the network's SGD: its gradients are a thousand times smaller. Lightning steps one
    optimiser by itself, and counts steps, clips, accumulates and resumes with it; two would put all that in our hands.

    Args:
        optimizers: Optimisers over disjoint parameters; their param_groups are shared, not copied.
    """

    def __init__(self, *optimizers: Optimizer) -> None:
        self.optimizers = optimizers
        super().__init__([group for o in optimizers for group in o.param_groups], {})

    def step(self, closure: Any = None) -> Any:
        """Evaluates the closure once, then steps each optimiser."""
        loss = closure() if closure is not None else None
        for optimizer in self.optimizers:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The state dicts of the parts, in order."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the parts, and shares their new param_groups."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.param_groups = [group for o in self.optimizers for group in o.param_groups]


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Factor on the learning rate: from 1/25 up to 1 over ``warmup`` steps, then half a cosine down to 0."""
    if step < warmup:
        return 1 / 25 + (1 - 1 / 25) * step / warmup
    return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup)))


def network_optimizer(network: nn.Module, options: Mapping[str, Any]) -> Optimizer:
    """SGD (Nesterov) or AdamW; weights of two dimensions or more decay, biases and norms do not.

    Args:
        network: What is optimised.
        options: ``optimizer``, ``lr``, ``momentum`` and ``weight_decay`` of the classifier.
    """
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": options["weight_decay"]},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if options["optimizer"] == "adamw":
        return AdamW(groups, lr=options["lr"])
    return SGD(groups, lr=options["lr"], momentum=options["momentum"], nesterov=options["momentum"] > 0)
