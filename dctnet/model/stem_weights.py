"""Weights that follow the input: position embeddings of another grid, and the DCT stem of CSATv2 as an entry."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dctnet.frequency.dct import BLOCK
from dctnet.model.network import FrequencyNet


def adapt_positions(key: str, value: Tensor, own: Tensor, backbone: nn.Module) -> Tensor:
    """Resamples position embeddings to another grid, with timm's functions.

    Args:
        key: Name of the tensor.
        value: The weights that are taken.
        own: The tensor of the network.
        backbone: The network.

    Returns:
        A tensor like ``own`` for a position embedding of a ViT or Swin; ``value`` itself for all others.
    """
    if value.shape == own.shape or value.ndim != own.ndim or value.shape[-1] != own.shape[-1]:
        return value
    if key.endswith("pos_embed"):
        from timm.layers import resample_abs_pos_embed

        settings: Any = backbone
        prefix = 0 if settings.no_embed_class else settings.num_prefix_tokens
        side = math.isqrt(own.shape[1] - prefix)
        if math.isqrt(value.shape[1] - prefix) ** 2 != value.shape[1] - prefix:
            return value
        return resample_abs_pos_embed(value, [side, side], num_prefix_tokens=prefix)
    if key.endswith("relative_position_bias_table"):
        from timm.layers import resize_rel_pos_bias_table

        side = (math.isqrt(len(own)) + 1) // 2
        return resize_rel_pos_bias_table(value, (side, side), tuple(own.shape))
    return value


@dataclass(frozen=True)
class DctStem:
    """The stem of CSATv2 for some channels.

    Args:
        entry: Weight and bias of the entry, by their names in the backbone.
        mean: What the stem subtracts from each channel, (K,).
        std: What it divides by, (K,).
    """

    entry: dict[str, Tensor]
    mean: Tensor
    std: Tensor


def read_dct_stem(network: FrequencyNet, source: Mapping[str, Tensor]) -> DctStem | None:
    """Reads weights of timm's CSATv2 as those of the entry and the normalisation of a network's channels.

    The stem is a DCT of YCbCr, a fixed mean and variance for each coefficient, and a 1×1 convolution for each
    component. It differs from ours in the order of the coefficients (zigzag), and it has no level shift.

    Args:
        network: The network that the weights are for.
        source: Tensors of timm's network.

    Returns:
        None if the weights have no such stem, or if the network reads pixels or compands its channels.
    """
    name = network.family.entry
    parts = [f"{name}.conv_{component}" for component in ("y", "cb", "cr")]
    keys = [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    if network.channels is None or network.normalisation.companding != "none" or not source.keys() >= set(keys):
        return None
    from timm.models.csatv2 import LearnableDct2d

    stem: Any = LearnableDct2d(BLOCK)
    order = torch.tensor(stem.permutation).argsort()  # place of each row-major coefficient in the zigzag
    weight = torch.block_diag(*(source[f"{part}.weight"].flatten(1)[:, order] for part in parts))
    mean, std = stem.mean[:, order], stem.var[:, order].sqrt()
    mean[:, 0] -= 128 * BLOCK
    chosen = list(network.channels.indices)
    entry = {
        f"{name}.weight": weight[:, chosen, None, None],
        f"{name}.bias": torch.cat([source[f"{part}.bias"] for part in parts]),
    }
    return DctStem(entry, mean.flatten()[chosen], std.flatten()[chosen])
