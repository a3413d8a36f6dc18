"""The loss that closes gates: the paper's penalty, or a budget of channels."""

import math

import torch
from torch import Tensor, nn


def ramp(progress: float, start: float, end: float) -> float:
    """Rises from 0 at ``start`` to 1 at ``end`` along half a cosine; all arguments are fractions of training, 0…1."""
    if progress <= start:
        return 0.0
    if progress >= end:
        return 1.0
    return 0.5 - 0.5 * math.cos(math.pi * (progress - start) / (end - start))


class SparsityPenalty(nn.Module):
    """λ·ΣF with a fixed λ, or with λ controlled so that K channels are kept.

    F is replaced by its expectation, the keep probability: same mean as the paper's sampled F, without its noise.

    With a budget K, a proportional-integral controller sets λ: the target falls from all channels to K between
    ``warmup`` and 60 % of training, and λ follows the difference between the number of kept channels and the target.
    In the last 40 % the remaining keep probability of dropped channels is penalised too, so that gates become binary.

    Args:
        num_channels: Gated channels.
        weight: λ, loss per kept channel; with a budget, the initial λ.
        keep: The budget K, or None for a fixed λ.
        warmup: Fraction of training without a penalty.

    Attributes:
        weight: λ now; saved with the checkpoint.
        penalty: Loss per kept channel in this step.
        binarize_penalty: Loss per dropped channel and unit of keep probability in this step.
        done: Fraction of training that λ has been updated for; saved with the checkpoint.

    Source: Xu et al., CVPR 2020, equation 3.
    """

    # Controller gains. INTEGRAL is per whole training, independent of the number of steps; PROPORTIONAL damps the
    # oscillation and reopens gates when too many are closed. The error is a log ratio, because 6 channels too many are
    # little of 150 and half too much of 12.
    INTEGRAL, PROPORTIONAL, SETTLED = 0.1, 0.06, 0.6
    # Without this loss a channel with no effect on the classification would stay at the probability that λ left it
    # with, and training would see channels that evaluation drops.
    BINARIZE = 0.01

    weight: Tensor
    penalty: Tensor
    binarize_penalty: Tensor
    done: Tensor

    def __init__(self, num_channels: int, weight: float = 0.0, keep: int | None = None, warmup: float = 0.1) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.keep = keep
        self.warmup = warmup
        self.register_buffer("weight", torch.tensor(float(weight)))
        self.register_buffer("penalty", torch.tensor(0.0), persistent=False)
        self.register_buffer("binarize_penalty", torch.tensor(0.0), persistent=False)
        self.register_buffer("done", torch.tensor(0.0))

    def target(self, progress: float) -> float:
        """Returns the number of channels to keep at this fraction of training; requires a budget."""
        assert self.keep is not None
        return self.num_channels + (self.keep - self.num_channels) * ramp(progress, self.warmup, self.SETTLED)

    def update(self, num_kept: float, progress: float) -> None:
        """Sets the penalties of one step and, with a budget, updates λ.

        Args:
            num_kept: Mean number of channels that evaluation would keep now, over the images of all ranks.
            progress: Fraction of training done, 0…1.
        """
        self.binarize_penalty.fill_(self.BINARIZE * ramp(progress, self.SETTLED, 1.0))
        if self.keep is None:
            self.penalty.copy_(self.weight * ramp(progress, self.warmup, 2 * self.warmup))
            return
        excess = math.log(max(num_kept, 0.5) / self.target(progress))
        self.weight.add_(self.INTEGRAL * excess * (progress - float(self.done))).clamp_(min=0)
        self.penalty.copy_(self.weight + self.PROPORTIONAL * excess)
        self.done.fill_(progress)

    def forward(self, gate_logits: Tensor) -> Tensor:
        """Computes the penalty, mean over the images.

        Shape:
            - gate_logits: (N, C), log-odds of keeping
            - output: ()
        """
        probability = gate_logits.sigmoid()
        dropped = probability * (gate_logits < 0)
        return (self.penalty * probability + self.binarize_penalty * dropped).sum(1).mean()
