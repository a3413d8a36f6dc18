"""Finds what is NaN or infinite, and where it began."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

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
    if all_finite(tensors.values()):  # many times faster than one by one
        return None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            wrong = "NaN" if tensor.isnan().any() else "infinity"
            count = int((~tensor.isfinite()).sum())
            return f"{name} has {wrong} ({count:,} of {tensor.numel():,} numbers)"
    return None


def named_tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """All tensors of nested dicts and lists, each by the way to it."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from named_tensors(f"{name} {key}", part)
