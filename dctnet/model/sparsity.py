"""What pushes gates shut: the paper's penalty, or a budget of channels to aim at."""

import math

import torch
from torch import Tensor, nn


def ramp(progress: float, start: float, end: float) -> float:
    """0 before ``start``, 1 after ``end``, half a cosine between; all are shares of the training, 0…1."""
    if progress <= start:
        return 0.0
    if progress >= end:
        return 1.0
    return 0.5 - 0.5 * math.cos(math.pi * (progress - start) / (end - start))


class SparsityPenalty(nn.Module):
    """λ·ΣF, with λ either given or steered so that K channels are left.

    F is taken in expectation, ΣP(keep): the same mean as the paper's sampled F, without its noise. With a budget, λ
    follows the difference between the count and a target that sinks from all channels to K between
    ``warmup`` and 60 % of the training. At rest it is the price that exactly K channels are worth. In the last 40 %
    what is left of P(keep) of the dropped channels is penalised too, so that each gate takes a side.

    Args:
        num_channels: Channels that are gated.
        weight: λ, loss per kept channel; with a budget, where λ starts.
        keep: The budget K, or None.
        warmup: Share of the training in which the gates are left alone.

    Source: Xu et al., CVPR 2020, equation 3.
    """

    # λ gains INTEGRAL × the excess over a whole training, however many steps that has, and finds the price;
    # PROPORTIONAL × the excess damps the swing around it, and pays for reopening where too many are shut. The excess is
    # a logarithm: 6 channels too many are little beside 150 and half too much beside 12.
    INTEGRAL, PROPORTIONAL, SETTLED = 0.1, 0.06, 0.6
    # Loss per dropped channel that is still drawn now and then, once the count is settled: one that nothing speaks for
    # or against would else stay at the probability where λ left it, and training see what evaluation does not.
    BINARIZE = 0.01

    weight: Tensor
    penalty: Tensor
    binarize_penalty: Tensor
    done: Tensor

    def __init__(self, num_channels: int, weight: float, keep: int | None, warmup: float) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.keep = keep
        self.warmup = warmup
        # λ; what a kept channel and a dropped one in doubt cost in this step; the share of the training λ has seen.
        self.register_buffer("weight", torch.tensor(float(weight)))
        self.register_buffer("penalty", torch.tensor(0.0), persistent=False)
        self.register_buffer("binarize_penalty", torch.tensor(0.0), persistent=False)
        self.register_buffer("done", torch.tensor(0.0))

    def target(self, progress: float) -> float:
        """Channels that should be left at this share of the training; needs a budget."""
        assert self.keep is not None
        return self.num_channels + (self.keep - self.num_channels) * ramp(progress, self.warmup, self.SETTLED)

    def steer(self, kept: float, progress: float) -> None:
        """Sets the price for one step, and with a budget moves λ.

        Args:
            kept: Mean number of channels that evaluation would keep now, over all ranks, so that each steers alike.
            progress: Share of the training done, 0…1.
        """
        self.binarize_penalty.fill_(self.BINARIZE * ramp(progress, self.SETTLED, 1.0))
        if self.keep is None:
            self.penalty.copy_(self.weight * ramp(progress, self.warmup, 2 * self.warmup))
            return
        excess = math.log(max(kept, 0.5) / self.target(progress))
        self.weight.add_(self.INTEGRAL * excess * (progress - float(self.done))).clamp_(min=0)
        self.penalty.copy_(self.weight + self.PROPORTIONAL * excess)
        self.done.fill_(progress)

    def forward(self, gate_logits: Tensor) -> Tensor:
        """The penalty for log-odds of keeping, mean over the images.

        Shape:
            - gate_logits: (N, C)
            - output: ()
        """
        probability = gate_logits.sigmoid()
        undecided = probability * (gate_logits < 0)
        return (self.penalty * probability + self.binarize_penalty * undecided).sum(1).mean()
