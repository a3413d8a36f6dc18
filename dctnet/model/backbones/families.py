"""The families of networks: where the stem of each ends, and how it is replaced."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from dctnet.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Family:
    """Where the stem of one family of networks is. Parts are named as in the networks.

    Args:
        name: For messages.
        modules: The modules of ``timm.models`` that define the networks.
        entry: The part that the entry replaces: the first convolution, or all of them.
        stem: Prefixes of the stem's weights, which do not fit a new entry.
        head: The layer that computes the logits.
        init: Initialises the weight of the entry, as the networks initialise their own stem.
        norm: The norm that ends the stem; ``.-1`` is the last part of a sequence. What lies between the entry and the
            norm is left out.
        stride: Reduction of what the stem passes on; None: the first one in timm's ``feature_info``.
        bypassed: Parts behind the norm that belong to the stem and are left out.
        bias: Whether the entry has a bias; a batch norm behind it makes one useless.
        stages: The first stages, or the container of all. Without them ``stride8`` is refused.
        merge: The part of a stage that halves the resolution and sets the width; without one, its first block does.
        block2: The block whose stride ``layer2_stride`` sets.
        least: The smallest RGB image whose last grid is not empty; 1 where convolutions are padded.
        sized: Whether a network is built for one size of the image.
    """

    name: str
    modules: tuple[str, ...]
    entry: str
    stem: tuple[str, ...]
    head: str
    init: Callable[[Tensor], Any]
    norm: str | None = None
    stride: int | None = None
    bypassed: tuple[str, ...] = ()
    bias: bool = True
    stages: tuple[str, ...] = ()
    merge: str | None = None
    block2: str | None = None
    least: int = 1
    sized: bool = False


_fan_out = partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu")
_truncated = partial(nn.init.trunc_normal_, std=0.02)
_uniform = partial(nn.init.kaiming_uniform_, a=5**0.5)  # as nn.Conv2d does without a request

# The norm behind a stem's convolution was fitted to other features, so its weights belong to the stem.
_RESNET = Family(
    name="ResNet, ResNeXt, SE-ResNet",
    modules=("resnet",),
    entry="conv1",
    stem=("conv1.", "bn1.", "maxpool."),
    head="fc",
    init=_fan_out,
    norm="bn1",
    stride=4,
    bypassed=("maxpool",),
    bias=False,
    stages=("layer1", "layer2"),
    block2="layer2.0",
)
_REGNET = Family(
    name="RegNet",
    modules=("regnet",),
    entry="stem.conv",
    stem=("stem.",),
    head="head.fc",
    init=_fan_out,
    norm="stem.bn",
    bias=False,
    stages=("s1", "s2"),
)
_EFFICIENTNET = Family(
    name="EfficientNet, MobileNet",
    modules=("efficientnet", "mobilenetv3"),
    entry="conv_stem",
    stem=("conv_stem.", "bn1."),
    head="classifier",
    init=_fan_out,
    norm="bn1",
    stride=2,
    bias=False,
    stages=("blocks",),
)
_CONVNEXT = Family(
    name="ConvNeXt",
    modules=("convnext",),
    entry="stem.0",
    stem=("stem.",),
    head="head.fc",
    init=_truncated,
    norm="stem.-1",
    stages=("stages",),
    merge="downsample",
    least=32,
)
_VIT = Family(
    name="ViT, DeiT",
    modules=("vision_transformer", "deit"),
    entry="patch_embed.proj",
    stem=("patch_embed.",),
    head="head",
    init=_uniform,
    sized=True,
)
_SWIN = Family(
    name="Swin, SwinV2",
    modules=("swin_transformer", "swin_transformer_v2"),
    entry="patch_embed.proj",
    stem=("patch_embed.",),
    head="head.fc",
    init=_uniform,
    norm="patch_embed.norm",
    stages=("layers",),
    merge="downsample",
    stride=4,
    sized=True,
)
_CSAT = Family(
    name="CSATv2",
    modules=("csatv2",),
    entry="stem_dct",
    stem=("stem_dct.",),
    head="head.fc",
    init=_truncated,
    least=64,
)
_FAMILIES = (_RESNET, _REGNET, _EFFICIENTNET, _CONVNEXT, _VIT, _SWIN, _CSAT)
_MOBILENET_V2 = replace(
    _EFFICIENTNET, entry="features.0.0", norm="features.0.1", stem=("features.0.",), stages=("features",)
)
_RESNETS = (
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "wide_resnet50_2",
)  # fmt: skip
TORCHVISION = {**dict.fromkeys(_RESNETS, _RESNET), "mobilenet_v2": _MOBILENET_V2}
OF_TIMM = "timm/"


def timm_name(name: str) -> str | None:
    """The name of a network within timm; None for one of torchvision."""
    return None if name in TORCHVISION else name.removeprefix(OF_TIMM)


def find_family(name: str) -> Family:
    """Returns the family of a network.

    Args:
        name: A network of torchvision in :data:`TORCHVISION`, or one of timm, with or without the tag of its weights.
            Where both libraries have the name, ``timm/NAME`` is timm's.

    Raises:
        UserError: Neither library has it, or its stem is not known. Gives the most similar name, or the families.
    """
    if name in TORCHVISION:
        return TORCHVISION[name]
    import timm  # takes a second

    inner = name.removeprefix(OF_TIMM)
    if not timm.is_model(inner):
        known = [*TORCHVISION, *timm.list_models()]
        hint = did_you_mean(inner, known)
        raise UserError(f"--model.backbone {name[:80]}: neither of torchvision nor of timm {timm.__version__}.{hint}")
    arch, _, tag = inner.partition(".")
    if tag and inner not in (tags := timm.list_models(f"{arch}.*", pretrained=True)):
        raise UserError(f"--model.backbone {name[:80]}: {arch} has no weights {tag[:40]!r}.{did_you_mean(inner, tags)}")
    module = timm.model_entrypoint(inner).__module__.rpartition(".")[2]
    for family in _FAMILIES:
        if module in family.modules:
            return family
    families = "; ".join(family.name for family in _FAMILIES)
    raise UserError(f"--model.backbone {name}: the stem of timm's {module} is not known; known families: {families}")
