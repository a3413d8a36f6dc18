"""Finds what is NaN or infinite, and where it began."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor holds NaN or infinity; on a GPU it waits once, for one number."""
    found = [tensor.detach() for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    if not found:
        return True
    # The largest number would do as well, for ten times the time; but a square overflows sooner than the number.
    norms = torch.stack([norm.float() for norm in torch._foreach_norm(found)])
    return bool(norms.isfinite().all()) or all(bool(tensor.isfinite().all()) for tensor in found)


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """Says which tensor is the first that is not finite, and in what way; None if all are.

    Args:
        tensors: By name, in the order in which they were computed.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            wrong = "NaN" if tensor.isnan().any() else "infinity"
            count = int((~tensor.isfinite()).sum())
            return f"{name} has {wrong} ({count:,} of {tensor.numel():,} numbers)"
    return None
