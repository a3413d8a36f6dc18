"""Builds networks that read frequency channels, and their counterparts on pixels."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast

import torch
import torchvision
from torch import nn

from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK
from dctnet.model.backbones.families import TORCHVISION, Family, find_family, timm_name
from dctnet.model.backbones.surgery import check_stem, enter_at_8, enter_behind_stem, keep_resolution, stem_stride

Entry = Literal["stem", "stride8"]
_TORCHVISION_SIZE = 224


@dataclass(frozen=True)
class Geometry:
    """Sizes of images in pixels.

    Args:
        native: At this size the layers see the same grids as those of the RGB network at the size that it was made for.
        least: The smallest size.
        step: All sizes are multiples of it.
    """

    native: int
    least: int
    step: int

    def check(self, name: str, image_size: int) -> None:
        """Raises UserError if a network cannot read images of a size; names the nearest right one."""
        nearest = max(self.least, round(image_size / self.step) * self.step)
        if image_size % self.step or image_size < self.least:
            raise UserError(
                f"--data.image_size {image_size}: {name} needs a multiple of {self.step}, at least {self.least}; "
                f"the nearest is {nearest}"
            )


@lru_cache
def geometry(name: str, entry: Entry | None = "stem") -> Geometry:
    """Returns the sizes of images that a network can read.

    Args:
        name: As in :func:`~dctnet.model.backbones.families.find_family`.
        entry: Where the channels enter; None for the network on pixels with its own stem.

    Raises:
        UserError: As :func:`~dctnet.model.backbones.families.find_family`; the stem has a stride that 8×8 blocks do not
            have.
    """
    family = find_family(name)
    own, stride, blurred = _TORCHVISION_SIZE, family.stride, False
    if (inner := timm_name(name)) is not None:
        import timm

        with torch.device("meta"):
            network = timm.create_model(inner)
        own, stride = cast(Any, network).default_cfg["input_size"][-1], stem_stride(network, family)
        # An anti-aliasing pool rounds odd grids down, the shortcut beside it rounds them up.
        parts = network.named_modules()
        blurred = any(path.endswith(".aa") and not isinstance(part, nn.Identity) for path, part in parts)
    assert stride is not None
    if entry is not None and stride % BLOCK and BLOCK % stride:
        raise UserError(f"--model.backbone {name}: its patches of {stride} px are not made of blocks of {BLOCK} px")
    scale = max(1, BLOCK // stride) if entry == "stem" else 1
    step = math.lcm(BLOCK, stride)
    if blurred:
        step = math.lcm(step, 32 * scale)
    return Geometry(own * scale, math.ceil(family.least * scale / step) * step, step)


def build_backbone(
    name: str,
    num_channels: int,
    num_classes: int,
    layer2_stride: int = 2,
    patch: int = 1,
    entry: Entry = "stem",
    image_size: int = 224,
) -> nn.Module:
    """Builds a network that reads frequency channels instead of pixels.

    The stem is replaced by a 1×1 convolution from the channels to the width of the stem's output; for a ViT, by one of
    as many blocks as its patch has. All other layers are those of the library, so RGB weights fit them.

    Args:
        name: As in :func:`~dctnet.model.backbones.families.find_family`.
        num_channels: Input channels, 1…192.
        num_classes: Output logits.
        layer2_stride: 2; or 1 for ResNets, as in the reference's released models, at 3.3 times the computation.
        patch: Pixels or channels a block: 1 for frequency channels; 8 with three channels learns a patch embedding of
            pixels in place of the DCT.
        entry: ``stem``: the channels replace what the stem passes on, as if the image had twice the pixels (ResNet:
            stride 4). ``stride8``: they enter where the network itself has come down to 1/8; the stages in front are
            left out, and the first one behind keeps the resolution.
        image_size: Side of the image in source pixels, for position embeddings and attention windows.

    Returns:
        A module (N, num_channels, patch·H/8, patch·W/8) → (N, num_classes).

    Raises:
        UserError: The network is not known, or one of the options does not apply to it.

    Source: Xu et al., "Learning in the Frequency Domain", CVPR 2020, section 3.2; ``stride8``: Gueguen et al., "Faster
    Neural Networks Straight from JPEG", NeurIPS 2018.
    """
    family = find_family(name)
    _check_options(name, family, layer2_stride, patch, entry)
    geometry(name, entry).check(name, image_size)
    # Attention windows and position embeddings are those of the grid that the entry passes on: behind a stem of stride
    # 4 it is that of an RGB image of half the size.
    doubled = family.sized and entry == "stem" and family.stride is not None
    network = build_rgb_backbone(name, num_classes, image_size // 2 if doubled else image_size)
    check_stem(network, family, name)
    blocks = max(1, stem_stride(network, family) // BLOCK) if entry == "stem" else 1
    (enter_at_8 if entry == "stride8" else enter_behind_stem)(network, family, num_channels, blocks * patch)
    if layer2_stride != 2:
        keep_resolution(network.get_submodule(cast(str, family.block2)))
    return network


def _check_options(name: str, family: Family, layer2_stride: int, patch: int, entry: str) -> None:
    if layer2_stride != 2 and family.block2 is None:
        raise UserError(f"--model.layer2_stride {layer2_stride} is for ResNets; {name} has no layer2")
    if layer2_stride != 2 and entry == "stride8":
        raise UserError(
            f"--model.layer2_stride {layer2_stride}: with --model.entry stride8 layer2 keeps the resolution"
        )
    if entry == "stride8" and not family.stages:
        raise UserError(f"--model.entry stride8: the stem of {name} comes down to 1/8 or below by itself; give stem")
    if patch != 1 and family.sized and family.stride is None:
        raise UserError(f"--model.stem patchify: {name} embeds patches of pixels by itself; give torchvision or own")


def build_rgb_backbone(name: str, num_classes: int, image_size: int = 224) -> nn.Module:
    """Builds the unchanged network: (N, 3, H, W) → (N, num_classes); ``image_size`` is for position embeddings."""
    if name in TORCHVISION:
        return getattr(torchvision.models, name)(weights=None, num_classes=num_classes)
    import timm

    options: dict[str, Any] = {"img_size": image_size, "dynamic_img_size": True} if find_family(name).sized else {}
    return timm.create_model(cast(str, timm_name(name)), num_classes=num_classes, **options)
