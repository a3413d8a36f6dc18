"""Stops a training at the first NaN or infinity, and names the tensor; keeps it out of checkpoints."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from dctnet.errors import UserError


class FiniteCheck(pl.Callback):
    """Checks every step before the optimizer makes it.

    The module keeps the tensors of a step in ``step_outputs``, by name and in the order of computation. Under float16
    the gradient scaler handles gradients that overflow, so only these tensors are checked.
    """

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Raises UserError if an output of this step or a gradient is not finite."""
        outputs: dict[str, Tensor] = pl_module.step_outputs  # type: ignore[assignment]
        pl_module.step_outputs = {}  # type: ignore[assignment]
        scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if all_finite(outputs.values() if scaled else (p.grad for p in pl_module.parameters() if p.grad is not None)):
            return
        # In the order of computation, from the loss back to the input.
        named = reversed(list(pl_module.named_parameters()))
        gradients = {f"the gradient of {name}": p.grad for name, p in named if p.grad is not None}
        raise UserError(
            f"step {trainer.global_step + 1}: {first_nonfinite(outputs | gradients)}; the step is not made, and the "
            "last checkpoint is finite. A lower --model.lr or --trainer.gradient_clip_val may help"
        )


def refuse_nonfinite(checkpoint: dict[str, Any], step: int) -> None:
    """Checks a checkpoint before it is saved.

    Args:
        checkpoint: Its content.
        step: Steps trained, for the message.

    Raises:
        UserError: A weight or the optimizer's state is not finite.
    """
    moments = dict(named_tensors("the optimizer's", checkpoint.get("optimizer_states", [])))
    current = dict(named_tensors("the current", checkpoint.get("current_model_state", {})))  # beside their average
    if fault := first_nonfinite(checkpoint["state_dict"] | current | moments):
        raise UserError(f"step {step}: {fault}; not saved, the last checkpoint is finite")


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor holds NaN or infinity; synchronises with a GPU once."""
    found = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not found:
        return True
    # Norms take a tenth of the time of isfinite, but can overflow where all elements are finite.
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(found)])
    return bool(norms.isfinite().all()) or all(bool(tensor.isfinite().all()) for tensor in found)


def first_nonfinite(tensors: Mapping[str, Tensor]) -> str | None:
    """Describes the first tensor with NaN or infinity; None if all are finite.

    Args:
        tensors: Tensors by name, in the order of computation.
    """
    if all_finite(tensors.values()):
        return None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            kind = "NaN" if tensor.isnan().any() else "infinity"
            count = int((~tensor.isfinite()).sum())
            return f"{name} has {kind} ({count:,} of {tensor.numel():,} elements)"
    return None


def named_tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields all tensors in nested dicts and lists, each named by its path."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from named_tensors(f"{name} {key}", part)
