"""Channel gates: learn which frequency channels to keep, for all images or for each image."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The reference initialises its two logits with 0.1 (off) and 2 (on), which keeps 87 %.
_INITIAL_LOGIT = 1.9


class StaticGate(nn.Module):
    """One learned logit a channel, the same for all images.

    Args:
        num_channels: Channels to gate.

    Shape:
        - channels: (N, C, H, W)
        - output: (N, C), log-odds of keeping
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full((num_channels,), _INITIAL_LOGIT))

    def forward(self, channels: Tensor) -> Tensor:
        """Repeats the logits for each image; the Gumbel noise added by :func:`sample_gate` differs between images."""
        return self.logits.expand(channels.shape[0], -1)


class DynamicGate(nn.Module):
    """Predicts a logit a channel from a summary of all channels of the image, as squeeze-and-excitation does.

    Args:
        num_channels: Channels to gate.
        squeeze: The summary of a channel: ``energy``, the log of its mean square; or ``mean`` as in the paper, which is
            close to zero for AC channels and carries little information.

    Shape:
        - channels: (N, C, H, W), normalised
        - output: (N, C), log-odds of keeping

    Source: Xu et al., CVPR 2020, section 3.3; Hu et al., "Squeeze-and-excitation networks", CVPR 2018.
    """

    def __init__(self, num_channels: int, squeeze: Literal["energy", "mean"] = "energy") -> None:
        super().__init__()
        self.squeeze = squeeze
        self.mix = nn.Linear(num_channels, num_channels, bias=False)
        self.norm = nn.BatchNorm1d(num_channels)
        # The paper's grouped 1×1 convolution has two outputs a channel; only their difference matters.
        self.scale = nn.Parameter(torch.zeros(num_channels))
        self.bias = nn.Parameter(torch.full((num_channels,), _INITIAL_LOGIT))

    def forward(self, channels: Tensor) -> Tensor:
        """Summarises each channel, mixes the summaries, and scales them to one logit a channel."""
        if self.squeeze == "energy":
            squeezed = channels.float().square().mean((2, 3)).add(1e-6).log()
        else:
            squeezed = channels.float().mean((2, 3))
        return self.scale * F.relu(self.norm(self.mix(squeezed))) + self.bias


def sample_gate(gate_logits: Tensor, tau: float, training: bool) -> Tensor:
    """Turns logits into a mask of zeros and ones.

    Training samples the mask by Gumbel-softmax, hard in the forward pass with the gradient of the soft sample.
    Evaluation is deterministic: channels with a keep probability above one half are kept.

    Args:
        gate_logits: Log-odds of keeping.
        tau: Temperature of the soft sample.
        training: Whether to sample.

    Shape:
        - gate_logits: (N, C)
        - output: (N, C)

    Source: Jang et al., "Categorical reparameterization with Gumbel-softmax", ICLR 2017.
    """
    if not training:
        return (gate_logits > 0).to(gate_logits.dtype)
    pair = torch.stack([torch.zeros_like(gate_logits), gate_logits], dim=-1)
    return F.gumbel_softmax(pair, tau=tau, hard=True)[..., 1]
