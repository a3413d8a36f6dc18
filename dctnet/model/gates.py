"""Channel gates: which frequency channels to keep, for all images or for each."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# The reference starts its two logits at 0.1 (off) and 2 (on): 87 % on.
_INITIAL_LOGIT = 1.9


class StaticGate(nn.Module):
    """One learned log-odds a channel, the same for all images.

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
        """The log-odds, repeated for each image: the noise that is added later differs between images."""
        return self.logits.expand(channels.shape[0], -1)


class DynamicGate(nn.Module):
    """Log-odds of each channel from what all channels of the image hold.

    Args:
        num_channels: Channels to gate.
        squeeze: ``energy``, the log of the mean square; or ``mean`` as in the paper, which for AC is nearly zero and
            says little.

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
        # The grouped 1×1 convolution of the paper, reduced to the difference of its two outputs.
        self.scale = nn.Parameter(torch.zeros(num_channels))
        self.bias = nn.Parameter(torch.full((num_channels,), _INITIAL_LOGIT))

    def forward(self, channels: Tensor) -> Tensor:
        """Squeezes the image to a number a channel, mixes them, and gives each channel its log-odds."""
        if self.squeeze == "energy":
            squeezed = channels.float().square().mean((2, 3)).add(1e-6).log()
        else:
            squeezed = channels.float().mean((2, 3))
        return self.scale * F.relu(self.norm(self.mix(squeezed))) + self.bias


def sample_gate(gate_logits: Tensor, tau: float, training: bool) -> Tensor:
    """Turns log-odds into a mask of zeros and ones.

    Training draws it by Gumbel-softmax, hard forward with the soft gradient; evaluation keeps what is likelier kept
    than not, without noise.

    Args:
        gate_logits: Log-odds of keeping.
        tau: Temperature of the soft gradient.
        training: Draw, or decide.

    Shape:
        - gate_logits: (N, C)
        - output: (N, C)

    Source: Jang et al., "Categorical reparameterization with Gumbel-softmax", ICLR 2017.
    """
    if not training:
        return (gate_logits > 0).to(gate_logits.dtype)
    pair = torch.stack([torch.zeros_like(gate_logits), gate_logits], dim=-1)
    return F.gumbel_softmax(pair, tau=tau, hard=True)[..., 1]
