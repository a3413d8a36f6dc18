"""Torchvision backbones whose stem is replaced by an entry for frequency channels at 1/8 resolution."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torchvision
from torch import Tensor, nn

from dctnet.errors import UserError, did_you_mean, did_you_mean_path, first_line
from dctnet.io.safe_torch import load_torch_file


@dataclass(frozen=True)
class Family:
    """How the stem of one family of networks is replaced. A new backbone is a name in one of :data:`FAMILIES`.

    Args:
        names: Torchvision's builders.
        entry: The convolution that is replaced by the entry.
        width: Channels that the stem passes on, which the entry has to produce.
        stem: Prefixes of the stem's weights, which do not fit a new entry.
        bypassed: Parts of the stem that become identities.
        stage2: The block that halves the resolution for the first time, if its stride can be chosen.
    """

    names: tuple[str, ...]
    entry: str
    width: int
    stem: tuple[str, ...]
    bypassed: tuple[str, ...] = ()
    stage2: str | None = None


_RESNETS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2",
)  # fmt: skip
FAMILIES = (
    # The batch norm behind the stem's convolution was fitted to other features, so it is not loaded either.
    Family(_RESNETS, "conv1", 64, ("conv1.", "bn1."), ("maxpool",), "layer2.0"),
    Family(("mobilenet_v2",), "features.0.0", 32, ("features.0.",)),
)
_FAMILY_OF = {name: family for family in FAMILIES for name in family.names}
BACKBONES = tuple(_FAMILY_OF)


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
    family = _FAMILY_OF[name]
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
    """Returns the convolution through which a network of :func:`build_backbone` reads its input."""
    return cast(nn.Conv2d, network.get_submodule(_FAMILY_OF[name].entry))


def load_rgb_weights(network: nn.Module, name: str, weights: str) -> dict[str, list[str]]:
    """Copies pretrained RGB weights into the layers of a network that they fit, in place.

    Args:
        network: The network to fill.
        name: Its backbone name.
        weights: The name of torchvision weights (``IMAGENET1K_V1``), or a file with a state dict.

    Returns:
        Names of the tensors ``loaded`` and ``not loaded``: the entry, and the head for other classes. No tensor is
        adapted, because no RGB weight corresponds to a frequency.

    Raises:
        UserError: There are no such weights, the file is no state dict, or no tensor fits.
    """
    source = _read_weights(name, weights)
    own = network.state_dict()
    stem = _FAMILY_OF[name].stem
    # True for the RGB baseline, whose stem is unchanged.
    stem_fits = all(k in source and source[k].shape == v.shape for k, v in own.items() if k.startswith(stem))
    fitting = {
        key: value
        for key, value in source.items()
        if key in own and own[key].shape == value.shape and (stem_fits or not key.startswith(stem))
    }
    if not fitting:
        raise UserError(f"--model.weights {weights}: none of its {len(source)} tensors fits {name}")
    network.load_state_dict(fitting, strict=False)
    return {"loaded": sorted(fitting), "not loaded": sorted(own.keys() - fitting.keys())}


def _read_weights(name: str, weights: str) -> dict[str, Tensor]:
    known: Any = torchvision.models.get_model_weights(name)
    if weights in known.__members__:
        try:
            return known[weights].get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise UserError(f"--model.weights {weights} could not be downloaded: {first_line(error)}") from error
    if not Path(weights).is_file():
        hint = did_you_mean(weights, known.__members__) or did_you_mean_path(weights)
        raise UserError(f"--model.weights {weights}: neither a file nor one of {', '.join(known.__members__)}.{hint}")
    try:
        state = load_torch_file(weights)
    except Exception as error:  # torch raises many types of exception on files of other programs
        raise UserError(f"{weights}: not a weights file: {first_line(error)}") from error
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{weights}: not a state dict; expected tensors by name")
    return state
