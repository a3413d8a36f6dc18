"""torchvision networks without their stem, for channels at 1/8 resolution."""

from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor, nn

from dctnet.errors import UserError, did_you_mean, did_you_mean_path, first_line
from dctnet.io.safe_torch import load_torch_file

BACKBONES = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2", "mobilenet_v2",
)  # fmt: skip


def build_backbone(name: str, num_channels: int, num_classes: int, layer2_stride: int = 2, patch: int = 1) -> nn.Module:
    """A network that reads frequency channels.

    The stem (7×7 convolution and pooling; for MobileNetV2 the first 3×3 convolution) gives way to a 1×1 convolution
    from the channels to the width that the stem handed over. All that follows is torchvision's, so RGB weights fit.

    Args:
        name: One of :data:`BACKBONES`.
        num_channels: Frequency channels that come in, 1…192.
        num_classes: Logits that go out.
        layer2_stride: 2, or 1 as the reference released it: 3.3 times the computation.
        patch: Side and stride of that convolution: 8, with three channels, learns from pixels what it likes instead of
            the DCT.

    Returns:
        (N, num_channels, patch·H/8, patch·W/8) → (N, num_classes).

    Raises:
        UserError: ``layer2_stride`` 1 for MobileNetV2, which has no layer2.

    Source: Xu et al., "Learning in the Frequency Domain", CVPR 2020, section 3.2.
    """
    network: Any = build_rgb_backbone(name, num_classes)
    if name == "mobilenet_v2":
        if layer2_stride != 2:
            raise UserError("--model.layer2_stride 1 is for ResNets; mobilenet_v2 has no layer2")
        network.features[0][0] = _entry(num_channels, 32, patch)
        return network
    network.conv1 = _entry(num_channels, 64, patch)
    network.maxpool = nn.Identity()
    for module in network.layer2[0].modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            module.stride = (layer2_stride, layer2_stride)
    return network


def entry_of(network: nn.Module) -> nn.Conv2d:
    """The convolution that a network of :func:`build_backbone` reads its input with."""
    return network.conv1 if hasattr(network, "conv1") else network.features[0][0]  # type: ignore[index,return-value]


def _entry(num_channels: int, width: int, patch: int) -> nn.Conv2d:
    entry = nn.Conv2d(num_channels, width, patch, patch, bias=False)
    nn.init.kaiming_normal_(entry.weight, mode="fan_out", nonlinearity="relu")  # as torchvision starts its convolutions
    return entry


def build_rgb_backbone(name: str, num_classes: int) -> nn.Module:
    """Torchvision's network as it is: (N, 3, H, W) → (N, num_classes)."""
    return getattr(torchvision.models, name)(weights=None, num_classes=num_classes)


def warm_start(network: nn.Module, name: str, weights: str) -> dict[str, list[str]]:
    """Loads RGB weights into whatever of a network they fit.

    Args:
        network: The network to fill, in place.
        name: Its backbone name, to look up torchvision's weights.
        weights: A name that torchvision knows (``IMAGENET1K_V1``), or a file with a state dict.

    Returns:
        Names of the tensors ``taken`` and of those ``left new`` (entry, head for other classes). None is adapted: the
        entry reads frequencies, to which no RGB weight corresponds.

    Raises:
        UserError: No such weights, a file that is no state dict, or one that fits nowhere.
    """
    source = _load_weights(name, weights)
    own = network.state_dict()
    # The 1×1 entry is new, so the stem's batch norm, fitted to other features, starts anew as well.
    entry = ("features.0.",) if name == "mobilenet_v2" else ("conv1.", "bn1.")
    same_entry = all(k in source and source[k].shape == v.shape for k, v in own.items() if k.startswith(entry))
    taken = {
        key: value
        for key, value in source.items()
        if key in own and own[key].shape == value.shape and (same_entry or not key.startswith(entry))
    }
    if not taken:
        raise UserError(f"--model.weights {weights}: none of its {len(source)} tensors fits {name}")
    network.load_state_dict(taken, strict=False)
    return {"taken": sorted(taken), "left new": sorted(own.keys() - taken.keys())}


def _load_weights(name: str, weights: str) -> dict[str, Tensor]:
    known = torchvision.models.get_model_weights(name)
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
    except Exception as error:  # torch raises nearly anything on a file that is not its own
        raise UserError(f"{weights}: not a weights file: {first_line(error)}") from error
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{weights}: wanted a state dict, tensors by name")
    return state
