"""The network under study: one of dctnet, torchvision, timm or the user, as a function of YCbCr planes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dctnet.data.preprocess import Preprocess
from dctnet.frequency.channels import ChannelSet, PlanesToChannels, channels_to_planes
from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.frequency.selections import named_channels
from dctnet.model.gates import DynamicGate
from dctnet.model.network import FrequencyNet


@dataclass(frozen=True)
class Origin:
    """Where the photographs of a network come from, if its checkpoint says so."""

    root: str
    options: dict[str, Any]  # of the data of the training


class Subject(nn.Module):
    """A trained classifier in evaluation mode, as a function of planes.

    All interventions change planes or the 192 channels computed from them, so that networks on pixels and on channels
    can be compared.

    Args:
        name: For pages and messages.
        network: Logits from channels or from RGB.
        image_size: Side of the planes in pixels.
        channel_set: The channels that the network reads; None for RGB.
        classes: Class names in the order of the logits; None if unknown.
        normalise: Mean and standard deviation of R, G, B in units of 0 … 1, applied before the network; None for a
            network of dctnet, which has its own normalisation and reads 0 … 255.
        crop_fraction: Side of the central square of a photograph as a share of its short side.
        origin: Data of the training.

    Shape:
        - planes: (N, 3, S, S), Y, Cb, Cr, 0 … 255, float32; S = image_size
        - output: (N, classes)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        network: nn.Module,
        image_size: int,
        channel_set: ChannelSet | None = None,
        classes: Sequence[str] | None = None,
        normalise: tuple[Sequence[float], Sequence[float]] | None = None,
        crop_fraction: float = 0.875,
        origin: Origin | None = None,
    ) -> None:
        super().__init__()
        self.name, self.network, self.image_size, self.channel_set = name, network, image_size, channel_set
        self.classes = None if classes is None else list(classes)
        self.crop_fraction, self.origin = crop_fraction, origin
        self.to_channels = None if channel_set is None else PlanesToChannels(channel_set)
        mean, std = normalise or ((0, 0, 0), (1 / 255, 1 / 255, 1 / 255))
        self.register_buffer("mean", 255 * torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std)[:, None, None], persistent=False)
        self.eval().requires_grad_(False)

    def input(self, planes: Tensor) -> Tensor:
        """The input of the network: channels (N, K, S/8, S/8), or normalised RGB (N, 3, S, S)."""
        if self.to_channels is not None:
            return self.to_channels(planes)
        return (ycbcr_to_rgb(planes) - self.mean) / self.std

    def forward(self, planes: Tensor) -> Tensor:
        """Computes logits."""
        return self.network(self.input(planes))

    def from_channels(self, channels: Tensor, kept: Tensor | None = None) -> Tensor:
        """Computes logits from all 192 channels, which a network on pixels reads as the image that they describe.

        Args:
            channels: (N, 192, S/8, S/8).
            kept: Which channels the gate keeps, (N, K), instead of its own choice; from :meth:`kept_channels`.
        """
        if self.channel_set is None:
            return self(channels_to_planes(channels))
        selected = channels[:, list(self.channel_set.indices)]
        if kept is None:
            return self.network(selected)
        assert isinstance(self.network, FrequencyNet)
        return self.network.backbone(self.network.normalisation(selected) * kept[..., None, None])

    def kept_channels(self, channels: Tensor) -> Tensor | None:
        """Which channels a gate that decides image by image keeps, (N, K); None without such a gate."""
        network = self.network
        if isinstance(network, FrequencyNet) and isinstance(network.gate, DynamicGate) and self.channel_set is not None:
            return network.kept_channels(channels[:, list(self.channel_set.indices)])
        return None

    @property
    def kind(self) -> Literal["channels", "rgb"]:
        """What the network reads."""
        return "rgb" if self.channel_set is None else "channels"

    @property
    def preprocess(self) -> Preprocess:
        """Reads a photograph with the evaluation crop: all 192 channels for a network on channels, else RGB."""
        return Preprocess(named_channels("all"), self.image_size, self.crop_fraction, self.kind)
