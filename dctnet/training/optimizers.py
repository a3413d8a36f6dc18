"""Optimizers of the network and of the gate, stepped as one, with their learning rate schedule."""

import math
from collections.abc import Mapping
from typing import Any, cast

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from dctnet.errors import UserError

# The order of the layers of torchvision's ResNets and MobileNetV2, as timm's networks have it in group_matcher(). What
# matches nothing is the head.
_TORCHVISION_LAYERS = {
    "stem": r"^conv1|^bn1|^features\.0\.",
    "blocks": [(r"^layer(\d+)\.(\d+)", None), (r"^features\.(\d+)", None)],
}


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
    backbone: nn.Module, gate: nn.Module | None, options: Mapping[str, Any], total: int, entry: str | None = None
) -> tuple[Optimizer, LambdaLR]:
    """Builds the optimizer of a training and its schedule.

    The backbone gets SGD (Nesterov), AdamW or LAMB with warm-up and cosine decay; with layer decay, earlier layers have
    lower rates. Weights with two dimensions or more decay; biases, norms and what timm's network names in
    ``no_weight_decay()`` do not. The gate gets Adam at a constant learning rate. Frozen parameters are left out.

    Args:
        backbone: The backbone.
        gate: The gate, if there is one.
        options: ``optimizer``, ``lr``, ``momentum``, ``weight_decay``, ``layer_decay``, ``warmup`` and ``gate_lr``.
        total: Steps of the whole training.
        entry: Name of the layer that reads the channels, which learns at the head's rate, because RGB weights do
            not have it.

    Raises:
        UserError: The order of the backbone's layers is not known.
    """
    decay = options.get("layer_decay")
    rates = layer_rates(backbone, decay) if decay else {}
    if entry is not None:
        rates |= {name: 1.0 for name in rates if name.startswith(f"{entry}.")}
    optimizer = _optimizer(_groups(backbone, options, rates), options)
    warmup = int(options["warmup"] * total)
    factors = [lambda step: warmup_cosine(step, warmup, total)] * len(optimizer.param_groups)
    if gate is not None and any(p.requires_grad for p in gate.parameters()):
        optimizer = JointOptimizer(optimizer, Adam(gate.parameters(), lr=options["gate_lr"]))
        factors += [lambda step: 1.0]
    return optimizer, LambdaLR(optimizer, factors)


def _groups(backbone: nn.Module, options: Mapping[str, Any], rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameter groups: with and without weight decay, and of these one for each of the rates."""
    exempt = cast(Any, backbone).no_weight_decay() if hasattr(backbone, "no_weight_decay") else ()
    # Both groups exist even if they are empty: the states of earlier checkpoints have two.
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {
        (rate, decays): [] for rate in sorted({*rates.values()} or {1.0}) for decays in (True, False)
    }
    for name, parameter in backbone.named_parameters():
        if parameter.requires_grad:
            groups[rates.get(name, 1.0), parameter.ndim > 1 and name not in exempt].append(parameter)
    lr, weight_decay = options["lr"], options["weight_decay"]
    return [
        {"params": found, "lr": lr * rate, "weight_decay": weight_decay if decays else 0.0}
        for (rate, decays), found in groups.items()
    ]


def layer_rates(backbone: nn.Module, decay: float) -> dict[str, float]:
    """Learning rate of each parameter as a share of the head's: ``decay`` to the power of the layers up to the head.

    Raises:
        UserError: The order of the layers is not known.

    Source: Bao et al., "BEiT", ICLR 2022.
    """
    from timm.models import group_parameters  # takes a second

    known = hasattr(backbone, "group_matcher")
    layer_of = group_parameters(
        backbone, cast(Any, backbone).group_matcher() if known else _TORCHVISION_LAYERS, reverse=True
    )
    head = max(layer_of.values())
    if not head:
        raise UserError(
            f"--model.layer_decay {decay}: the order of the layers of {type(backbone).__name__} is not known"
        )
    return {name: decay ** (head - layer) for name, layer in layer_of.items()}


def _optimizer(groups: list[dict[str, Any]], options: Mapping[str, Any]) -> Optimizer:
    lr, momentum = options["lr"], options["momentum"]
    if options["optimizer"] == "adamw":
        return AdamW(groups, lr=lr)
    if options["optimizer"] == "lamb":
        from timm.optim import Lamb

        return Lamb(groups, lr=lr)
    # On a CPU the fused kernel takes less time and gives the same bits.
    fused = all(p.device.type == "cpu" for group in groups for p in group["params"]) or None
    optimizer = SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
    # Else a gradient scaler leaves the unscaling to the fused kernel, and Lightning refuses to clip gradients.
    optimizer._step_supports_amp_scaling = False
    return optimizer
