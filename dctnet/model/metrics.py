"""Evaluation metrics, gate statistics, and the compute of a network."""

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics import MeanMetric, Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy


def evaluation_metrics(num_classes: int) -> nn.ModuleDict:
    """Top-1 and top-5 accuracy and loss over the readable images, and the numbers of readable and skipped images."""
    return nn.ModuleDict({
        "acc1": MulticlassAccuracy(num_classes, 1, "micro"),
        "acc5": MulticlassAccuracy(num_classes, min(5, num_classes), "micro"),
        "loss": MeanMetric(),
        "images": SumMetric(),
        "skipped": SumMetric(),
    })  # fmt: skip


def target_rank(logits: Tensor, target: Tensor) -> Tensor:
    """Counts the classes that are ranked before the target; among equal logits the lower class index is first.

    Shape:
        - logits: (N, classes)
        - target: (N,)
        - output: (N,)
    """
    own = logits.gather(1, target[:, None])
    earlier = torch.arange(logits.shape[1], device=target.device) < target[:, None]
    return ((logits > own) | (logits == own) & earlier).sum(1)


class GateStatistics(Metric):
    """Keep probability of each channel and number of kept channels, over images and ranks.

    Args:
        num_channels: Gated channels.
    """

    probability: Tensor
    kept: Tensor
    images: Tensor

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.add_state("probability", torch.zeros(num_channels), dist_reduce_fx="sum")
        self.add_state("kept", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, gate_logits: Tensor) -> None:
        """Adds a batch of log-odds (N, C)."""
        self.probability += gate_logits.float().sigmoid().sum(0)
        self.kept += (gate_logits > 0).sum()
        self.images += gate_logits.shape[0]

    def compute(self) -> dict[str, Tensor]:
        """Returns ``keep_probability`` (C,) and ``num_kept`` (), both means over the images, and ``images`` ()."""
        return {
            "keep_probability": self.probability / self.images,
            "num_kept": self.kept / self.images,
            "images": self.images,
        }


def count_gmac(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Counts the multiply-accumulates of one forward pass with torch's FLOP counter, in 10⁹.

    Steps in front of the network are not included: the DCT takes 64 a value, 0.0096 GMAC for 192 channels at 224 px; a
    gate takes 0.00004.

    Args:
        network: The network, unchanged afterwards.
        shape: Channels, height and width of one input.
    """
    modes = [(part, part.training) for part in network.modules()]  # of a frozen network, those of the head differ
    network.eval()
    weight = next(network.parameters())
    # The counter does not know the fused attention of CPUs; as matrix products it counts all attention.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device))
    for part, training in modes:
        part.training = training
    return counter.get_total_flops() / 2 / 1e9
