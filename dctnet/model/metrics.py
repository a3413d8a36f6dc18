"""What is counted at evaluation beside accuracy, and what a network costs."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchmetrics import MeanMetric, Metric, SumMetric
from torchmetrics.classification import MulticlassAccuracy


def evaluation_metrics(num_classes: int) -> nn.ModuleDict:
    """Accuracy and loss over the images that could be read, and how many could and could not."""
    return nn.ModuleDict({
        "acc1": MulticlassAccuracy(num_classes, 1, "micro"),
        "acc5": MulticlassAccuracy(num_classes, min(5, num_classes), "micro"),
        "loss": MeanMetric(),
        "images": SumMetric(),
        "skipped": SumMetric(),
    })  # fmt: skip


def rank_of(logits: Tensor, target: Tensor) -> Tensor:
    """How many classes come before the right one; among equals (bfloat16 has them) the first comes first.

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
        num_channels: Channels that are gated.
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
        """``keep_probability`` (C,), ``num_kept`` () at evaluation, both means over the images, and ``images`` ()."""
        return {
            "keep_probability": self.probability / self.images,
            "num_kept": self.kept / self.images,
            "images": self.images,
        }


def count_gmac(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Multiply-accumulates of one forward pass, in 10⁹, counted by torch's FLOP counter.

    What runs before the network is not in it: the DCT takes 64 for each value that comes in, 0.0096 GMAC for 192
    channels at 224 px; a gate takes 0.00004.

    Args:
        network: What to run; left as it was.
        shape: Channels, height and width of one input.
    """
    training = network.training
    network.eval()
    weight = next(network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device))
    network.train(training)
    return counter.get_total_flops() / 2 / 1e9
