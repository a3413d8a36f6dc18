"""Replaces the stem of a network by an entry for channels, at the stem's own stride or at 1/8."""

import copy
from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK
from dctnet.model.backbones.families import Family


def stem_stride(network: nn.Module, family: Family) -> int:
    """Reduction of what the stem of an unchanged network passes on: 2, 4 or 8; the patch of a ViT."""
    return family.stride or cast(list, network.feature_info)[0]["reduction"]


def check_stem(network: nn.Module, family: Family, name: str) -> None:
    """Raises UserError if an unchanged network has another stem or another head than its family."""
    parts = dict(network.named_modules())
    first = parts.get(family.entry)
    if family.sized:
        known = isinstance(first, nn.Conv2d) and type(parts["patch_embed"]).__name__ == "PatchEmbed"
    else:
        known = first is not None and (family.norm is None or _norm_path(network, family) in parts)
    if not known or "head_dist" in parts:
        what = "two heads" if known else "another stem"
        raise UserError(f"--model.backbone {name}: it has {what}, unlike other networks of {family.name}")


def enter_behind_stem(network: nn.Module, family: Family, num_channels: int, patch: int) -> None:
    """Replaces the stem by an entry that produces what the stem passes on.

    Args:
        network: An unchanged network; changed in place.
        family: Its family.
        num_channels: Input channels.
        patch: Kernel size and stride of the entry.
    """
    if family.norm is None:
        width = cast(list, network.feature_info)[0]["num_chs"]
    else:
        width = _width(network.get_submodule(_norm_path(network, family)))
    _replace_stem(network, family, num_channels, width, patch)


def enter_at_8(network: nn.Module, family: Family, num_channels: int, patch: int) -> None:
    """Replaces the stem and the stages in front of 1/8, whose first stage then keeps the resolution.

    Raises:
        UserError: No stage begins at 1/8, or it halves the resolution in a way that cannot be switched off.
    """
    reduction = stem_stride(network, family)
    for path in _stages(network, family):
        stage = network.get_submodule(path)
        reduction *= 2 if _halves(stage, family) else 1
        if reduction == BLOCK:
            break
        network.set_submodule(path, nn.Identity())
    else:
        raise UserError(f"--model.entry stride8: no stage of this network, of {family.name}, begins at 1/8; give stem")
    if family.merge:
        merge = stage.get_submodule(family.merge)
        width = [m for m in merge.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1].weight.shape[0]
        stage.set_submodule(family.merge, nn.Identity())
    else:
        width = next(module.in_channels for module in stage.modules() if isinstance(module, nn.Conv2d))
        keep_resolution(stage)
    _replace_stem(network, family, num_channels, width, patch)


def left_out(network: nn.Module, family: Family) -> list[str]:
    """The parts that an entry at 1/8 has made identities: stages, and a merge."""
    paths = list(_stages(network, family))
    paths += [f"{path}.{family.merge}" for path in paths[1:] if family.merge]
    parts = dict(network.named_modules())
    return [path for path in paths if isinstance(parts.get(path), nn.Identity)]


def keep_resolution(stage: nn.Module) -> None:
    """Sets the stride of a stage or block to 1.

    Raises:
        UserError: It has a layer with a stride that is neither a convolution nor a pool.
    """
    for path, module in _strided(stage):
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
        elif not list(module.parameters()):  # a pool, or a blur in front of it
            stage.set_submodule(path, nn.Identity())
        else:
            raise UserError(f"--model.entry stride8: the stride of {type(module).__name__} cannot be changed")


def _stages(network: nn.Module, family: Family) -> Iterator[str]:
    """Paths of the first stages, from the stem on."""
    if len(family.stages) > 1:
        yield from family.stages
    for container in family.stages if len(family.stages) == 1 else ():
        paths = [f"{container}.{name}" for name, _ in network.get_submodule(container).named_children()]
        yield from (path for path in paths if not f"{path}.".startswith(family.stem))


def _halves(stage: nn.Module, family: Family) -> bool:
    if family.merge:
        return not isinstance(stage.get_submodule(family.merge), nn.Identity)
    return bool(_strided(stage))


def _strided(stage: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers of a stage with stride 2, convolutions and pools, and their paths."""
    layers = [(path, part) for path, part in stage.named_modules() if not list(part.children())]
    return [(path, layer) for path, layer in layers if getattr(layer, "stride", 1) in (2, (2, 2))]


def _replace_stem(network: nn.Module, family: Family, num_channels: int, width: int, patch: int) -> None:
    entry = nn.Conv2d(num_channels, width, patch, patch, bias=family.bias)
    family.init(entry.weight)
    if entry.bias is not None:
        nn.init.zeros_(entry.bias)
    network.set_submodule(family.entry, entry)
    if family.sized:
        embed = cast(Any, network.get_submodule(family.entry.rpartition(".")[0]))
        embed.patch_size = (patch, patch)  # it checks that the input has a multiple
    for path in family.bypassed:
        network.set_submodule(path, nn.Identity())
    if family.norm is None:
        return
    path = _norm_path(network, family)
    norm = network.get_submodule(path)
    for between in _between(network, family.entry, path):
        network.set_submodule(between, nn.Identity())
    if _width(norm) != width:
        network.set_submodule(path, _resized(norm, width))


def _norm_path(network: nn.Module, family: Family) -> str:
    parent, _, name = cast(str, family.norm).rpartition(".")
    return (
        f"{parent}.{len(list(network.get_submodule(parent).children())) - 1}"
        if name == "-1"
        else cast(str, family.norm)
    )


def _between(network: nn.Module, first: str, last: str) -> list[str]:
    """Paths of the parts between two parts with the same parent."""
    parent = first.rpartition(".")[0]
    names = [name for name, _ in network.get_submodule(parent).named_children()]
    places = [names.index(path.rpartition(".")[2]) for path in (first, last)]
    return [f"{parent}.{name}".lstrip(".") for name in names[places[0] + 1 : places[1]]]


def _width(norm: nn.Module) -> int:
    return cast(Tensor, norm.weight).shape[0]


def _resized(norm: nn.Module, width: int) -> nn.Module:
    """A new norm of another width; all elements of a new norm's weights and statistics are equal."""
    resized: Any = copy.deepcopy(norm)
    for key, value in norm.named_parameters():
        resized.register_parameter(key, nn.Parameter(value.detach()[:1].repeat(width)))
    for key, statistic in norm.named_buffers():
        if statistic.ndim:
            resized.register_buffer(key, statistic[:1].repeat(width))
    for name in ("num_features", "num_channels"):
        if hasattr(norm, name):
            setattr(resized, name, width)
    if hasattr(norm, "normalized_shape"):
        resized.normalized_shape = (width,)
    return resized
