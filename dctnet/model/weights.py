"""Pretrained weights of an RGB network or of another FrequencyNet, taken into a network by parts."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dctnet.errors import UserError
from dctnet.model.backbones.surgery import left_out
from dctnet.model.network import FrequencyNet
from dctnet.model.stem_weights import adapt_positions, read_dct_stem
from dctnet.model.weight_files import named_tensors

_COUNTER = "num_batches_tracked"  # of batch norms; files of old versions of torch do not have it
# Computed from the size of the image; timm no longer saves them.
_COMPUTED = ("relative_position_index", "attn_mask", "relative_coords_table")


def take_state(network: FrequencyNet, weights: str, content: dict[str, Any]) -> str:
    """Copies the weights of an RGB network into the layers of a network that they fit.

    The body must fit completely. The stem is taken if it fits, which is so for the RGB baseline; no RGB weight
    corresponds to a frequency. The head is taken if it has as many classes.

    Args:
        network: The network to fill, in place.
        weights: Name or file of the weights, for messages.
        content: A state dict, in any nest of dicts, and with any prefix of its names (``module.``, ``backbone.``, …).

    Returns:
        What was taken and what is new, in one line.

    Raises:
        UserError: The body is not that of the network's backbone, or the weights are those of several networks; or the
            network is frozen and its entry or gate would be new.
    """
    own, family = network.backbone.state_dict(), network.family
    body = {key for key in own if not key.startswith((*family.stem, f"{family.head}."))}
    source = _find_network(network, weights, dict(named_tensors(content)), body)
    parts = dict.fromkeys(_parts(network), "new") | {"body": "taken"}
    if stem := read_dct_stem(network, source):
        source |= stem.entry
        network.normalisation.take(list(range(len(stem.mean))), stem.mean, stem.std)
        parts |= {"normalisation": "adapted", "entry": "adapted"}
    keys = {part: {key for key in own if _part_of(f"backbone.{key}", network) == part} for part in ("entry", "head")}
    taken = {part for part in keys if _fits(own, source, keys[part])}
    wanted = body.union(*(keys[part] for part in taken))
    changed = [key for key in wanted if key in source and source[key].shape != own[key].shape]
    network.backbone.load_state_dict(
        {key: adapt_positions(key, source[key], own[key], network.backbone) for key in wanted if key in source},
        strict=False,
    )
    parts |= {part: "taken" for part in taken if parts[part] == "new"}
    parts |= {"positions": "adapted"} if changed else {}
    absent = left_out(network.backbone, family)
    parts |= {part: "left out" for part in absent if any(key.startswith(f"{part}.") for key in source)}
    return _report(network, weights, parts, complete=taken)


def _find_network(network: FrequencyNet, weights: str, found: dict[str, Tensor], body: set[str]) -> dict[str, Tensor]:
    """The tensors of one network in a file, by their names within the backbone."""
    own, name = network.backbone.state_dict(), network.backbone_name
    first = min(body)
    prefixes = sorted({k.removesuffix(first) for k in found if k == first or k.endswith(f".{first}")})
    if not prefixes:
        raise UserError(f"--model.weights {weights}: none of its {len(found)} tensors fits {name}")
    if len(prefixes) > 1:
        names = " and ".join(repr(prefix) for prefix in prefixes[:3])
        raise UserError(f"--model.weights {weights}: several networks, with the prefixes {names}; one is needed")
    source = {key.removeprefix(prefixes[0]): value for key, value in found.items() if key.startswith(prefixes[0])}
    roots = {key.partition(".")[0] for key in body}
    ignored = tuple(f"{part}." for part in left_out(network.backbone, network.family))
    wrong = [key for key in sorted(body) if key not in source and not key.endswith(_COUNTER)]
    unknown = [key for key in sorted(source) if key not in own and key.partition(".")[0] in roots]
    wrong += [key for key in unknown if not key.startswith(ignored) and not key.endswith(_COMPUTED)]
    wrong += [key for key in sorted(body & source.keys()) if not _alike(key, source[key], own[key], network)]
    if wrong:
        raise UserError(f"--model.weights {weights}: weights of another backbone than {name}: {wrong[0]} does not fit")
    return source


def _alike(key: str, value: Tensor, own: Tensor, network: FrequencyNet) -> bool:
    return adapt_positions(key, value, own, network.backbone).shape == own.shape


def _fits(own: dict[str, Tensor], source: dict[str, Tensor], keys: set[str]) -> bool:
    return all(k.endswith(_COUNTER) or (k in source and source[k].shape == own[k].shape) for k in keys)


@torch.no_grad()
def take_network(network: FrequencyNet, weights: str, donor: FrequencyNet) -> str:
    """Copies the weights of another network: entry, normalisation and gate by channel, the head by class.

    The body is taken. Channels that the donor does not have keep their new weights, and their normalisation is left to
    be fitted. Entry and normalisation are new if the two networks read different inputs, the gate if it is of another
    kind, the head if the classes differ.

    Args:
        network: The network to fill, in place.
        weights: Where the donor comes from, for messages.
        donor: A trained network.

    Returns:
        What was taken, what was adapted, and what is new, in one line.

    Raises:
        UserError: The backbones differ; or the network is frozen and its entry or gate would be new or incomplete.
    """
    if donor.backbone_name != network.backbone_name:
        raise UserError(
            f"--model.weights {weights}: a {donor.backbone_name}, not a {network.backbone_name}: "
            f"--model.backbone {donor.backbone_name}"
        )
    parts = dict.fromkeys(_parts(network), "new") | {"body": "taken"}
    own_channels, channels = _input_channels(network), _input_channels(donor)
    to, at = _shared(own_channels, channels)
    if network.enters == "stem" and donor.enters == "stride8":
        raise UserError(f"--model.weights {weights}: trained with --model.entry stride8, without the first stages")
    how = "taken" if own_channels == channels else f"{len(to)} of {len(own_channels)} channels taken"
    if _input_kind(donor) == _input_kind(network) and donor.enters == network.enters and to:
        parts["entry"] = how
        if donor.normalisation.fitted:
            parts["normalisation"] = how
        if network.gate is not None and _gate_kind(donor) == _gate_kind(network):
            parts["gate"] = how
    class_to, class_at = _shared(network.classes, donor.classes)
    if len(class_to) == len(network.classes) == len(donor.classes):
        parts["head"] = "taken"
    entry = f"backbone.{network.family.entry}.weight"
    given = donor.to(network.normalisation.mean.device).state_dict()
    for key, own in network.state_dict().items():
        part = _part_of(key, network)
        if parts[part] == "new" or part == "normalisation":
            continue
        if part == "gate":  # each dimension is that of the channels
            own[np.ix_(*[to] * own.ndim)] = given[key][np.ix_(*[at] * own.ndim)]
        elif key == entry:
            own[:, to] = given[key][:, at]
        elif part == "head":
            own[class_to] = given[key][class_at]
        else:
            value = adapt_positions(key, given[key], own, network.backbone)
            parts |= {"positions": "adapted"} if value is not given[key] else {}
            own.copy_(value)
    if parts["normalisation"] != "new":
        network.normalisation.take(to, given["normalisation.mean"][at], given["normalisation.std"][at])
    if donor.gate is not None and network.gate is None:
        parts["gate"] = "left out"
    whole = len(to) == len(own_channels)
    return _report(network, weights, parts, {part for part, state in parts.items() if whole and state != "new"})


def _report(network: FrequencyNet, weights: str, parts: dict[str, str], complete: set[str]) -> str:
    """Describes what was taken in one line.

    Args:
        network: The network.
        weights: Where the weights come from.
        parts: What was done, by part.
        complete: Parts without a new weight.

    Raises:
        UserError: The network is frozen, and a part other than the head is incomplete.
    """
    missing = [part for part in ("entry", "gate") if part in parts and part not in complete]
    if network.frozen and missing:
        raise UserError(
            f"--model.freeze backbone trains the head alone, but --model.weights {weights} does not have all weights "
            f"of the {missing[0]} of this network: leave --model.freeze out"
        )
    states: dict[str, list[str]] = {}
    for part, state in parts.items():
        states.setdefault(state, []).append(f"head ({len(network.classes)} classes)" if part == "head" else part)
    order = sorted(states, key=lambda state: (state != "taken", state in ("new", "left out")))
    return f"{weights}: " + "; ".join(f"{state}: {', '.join(states[state])}" for state in order)


def _parts(network: FrequencyNet) -> list[str]:
    """The parts of a network, in the order of computation."""
    return ["normalisation", *(["gate"] if network.gate is not None else []), "entry", "body", "head"]


def _part_of(key: str, network: FrequencyNet) -> str:
    """normalisation, gate, entry, body or head, by the name of a tensor of the network."""
    part, _, rest = key.partition(".")
    family = network.family
    if part != "backbone":
        return part
    return "entry" if rest.startswith(family.stem) else "head" if rest.startswith(f"{family.head}.") else "body"


def _shared(own: list[Any], given: list[Any]) -> tuple[list[int], list[int]]:
    """The places of shared elements in both lists."""
    place = {element: number for number, element in enumerate(given)}
    pairs = [(number, place[element]) for number, element in enumerate(own) if element in place]
    return [to for to, _ in pairs], [at for _, at in pairs]


def _input_channels(network: FrequencyNet) -> list[int]:
    return [0, 1, 2] if network.channels is None else list(network.channels.indices)


def _input_kind(network: FrequencyNet) -> tuple[Any, ...]:
    return network.channels is None, getattr(network.entry, "kernel_size", None)


def _gate_kind(network: FrequencyNet) -> tuple[Any, ...]:
    return type(network.gate), getattr(network.gate, "squeeze", None)
