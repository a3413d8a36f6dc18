"""Torchvision backbones whose stem is replaced by an entry for frequency channels at 1/8 resolution."""

from dataclasses import dataclass
from typing import cast

import torchvision
from torch import nn

from dctnet.errors import UserError


@dataclass(frozen=True)
class Family:
    """How the stem of one family of networks is replaced. A new backbone is a name in one of :data:`FAMILIES`.

    Args:
        names: Torchvision's builders.
        entry: The convolution that is replaced by the entry.
        width: Channels that the stem passes on, which the entry has to produce.
        stem: Prefixes of the stem's weights, which do not fit a new entry.
        head: The part that computes the logits.
        bypassed: Parts of the stem that become identities.
        stage2: The block that halves the resolution for the first time, if its stride can be chosen.
    """

    names: tuple[str, ...]
    entry: str
    width: int
    stem: tuple[str, ...]
    head: str
    bypassed: tuple[str, ...] = ()
    stage2: str | None = None


_RESNETS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2",
)  # fmt: skip
FAMILIES = (
    # The batch norm behind the stem's convolution was fitted to other features, so it is not loaded either.
    Family(_RESNETS, "conv1", 64, ("conv1.", "bn1."), "fc", ("maxpool",), "layer2.0"),
    Family(("mobilenet_v2",), "features.0.0", 32, ("features.0.",), "classifier"),
)
FAMILY_OF = {name: family for family in FAMILIES for name in family.names}
BACKBONES = tuple(FAMILY_OF)


def build_backbone(name: str, num_channels: int, num_classes: int, layer2_stride: int = 2, patch: int = 1) -> nn.Module:
    """Builds a network that reads frequency channels instead of pixels.

    The stem (7×7 convolution and pooling; for MobileNetV2 the first 3×3 convolution) is replaced by a 1×1 convolution
    from the channels to the width of the stem's output. All other layers are torchvision's, so RGB weights fit them.

    Args:
        name: One of :data:`BACKBONES`.
        num_channels: Input channels, 1…192.
        num_classes: Output logits.
        layer2_stride: 2, or 1 as in the reference's released models, at 3.3 times the computation.
        patch: Kernel size and stride of the entry: 1 for frequency channels; 8 with three channels learns a patch
            embedding of pixels in place of the DCT.

    Returns:
        A module (N, num_channels, patch·H/8, patch·W/8) → (N, num_classes).

    Raises:
        UserError: ``layer2_stride`` is 1 for a network without a layer2.

    Source: Xu et al., "Learning in the Frequency Domain", CVPR 2020, section 3.2.
    """
    family = FAMILY_OF[name]
    network = build_rgb_backbone(name, num_classes)
    entry = nn.Conv2d(num_channels, family.width, patch, patch, bias=False)
    nn.init.kaiming_normal_(entry.weight, mode="fan_out", nonlinearity="relu")  # torchvision's initialisation
    network.set_submodule(family.entry, entry)
    for part in family.bypassed:
        network.set_submodule(part, nn.Identity())
    if layer2_stride != 2:
        if family.stage2 is None:
            raise UserError(f"--model.layer2_stride {layer2_stride} is for ResNets; {name} has no layer2")
        for module in network.get_submodule(family.stage2).modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (layer2_stride, layer2_stride)
    return network


def build_rgb_backbone(name: str, num_classes: int) -> nn.Module:
    """Builds torchvision's unchanged network: (N, 3, H, W) → (N, num_classes)."""
    return getattr(torchvision.models, name)(weights=None, num_classes=num_classes)


def entry_conv(network: nn.Module, name: str) -> nn.Conv2d:
    """Returns the convolution through which a backbone reads its input."""
    return cast(nn.Conv2d, network.get_submodule(FAMILY_OF[name].entry))
