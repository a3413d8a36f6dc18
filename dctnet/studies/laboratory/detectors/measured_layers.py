"""The layers of a network that are measured, with their receptive fields, and the ranks of their circuits."""

from collections.abc import Callable
from dataclasses import dataclass

from tqdm import tqdm

from dctnet.errors import UserError
from dctnet.studies.laboratory.detectors.circuit import choose_rank
from dctnet.studies.laboratory.detectors.layers import Field, Network


@dataclass(frozen=True)
class Layers:
    """The layers that are measured.

    Args:
        fields: Receptive field of each.
        left_out: Names of the layers whose field is larger than the image.
        ranks: Largest rank of the factorisation of each layer that has a circuit, that is a spatial convolution right
            in front of it. A bottleneck block, which ends with a 1×1 convolution, has none.
    """

    fields: dict[str, Field]
    left_out: list[str]
    ranks: dict[str, int]


def choose_layers(network: Network, layer: str | None, rank: int | None, check_stop: Callable[[], None]) -> Layers:
    """Measures receptive fields, with a progress bar.

    Args:
        network: The network.
        layer: The one layer to measure; None for all blocks that fit the image.
        rank: Largest rank of a factorisation; None for 4, or fewer if there are fewer inputs.
        check_stop: Called again and again while a field is measured.

    Raises:
        UserError: The rank is too large for a layer, a layer has no positions, or none fits the image.
        Stopped: A signal came.
    """
    names = _names(network, layer)
    fields: dict[str, Field] = {}
    ranks: dict[str, int] = {}
    for place, name in enumerate(tqdm(names, desc="receptive fields", unit="layer", leave=False, disable=None)):
        # The rank needs no measurement, so a wrong one is refused at once.
        if (chosen := _rank(network, name, rank)) is not None:
            ranks[name] = chosen
        field = network.field(name, check_stop)
        if field is None and layer is not None:
            raise UserError(f"--layer {layer}: its units see the whole image; there is no position inside")
        if field is None or (layer is None and field.size > network.subject.image_size):
            if not fields:
                raise UserError(
                    f"{network.subject.name}: no layer whose receptive field fits its image; give a --layer"
                )
            return Layers(fields, names[place:], ranks)  # later blocks see more
        fields[name] = field
    return Layers(fields, [], ranks)


def check_first_rank(network: Network, layer: str | None, rank: int | None) -> None:
    """Raises UserError for a rank that the first layer does not have: before any network of a study is measured.

    Later layers, which have more inputs as a rule, may see more than the image, and are then left out.
    """
    for name in _names(network, layer)[:1]:
        _rank(network, name, rank)


def _names(network: Network, layer: str | None) -> list[str]:
    return [layer] if layer is not None else list(network.blocks)


def _rank(network: Network, name: str, rank: int | None) -> int | None:
    conv = network.conv_before(name)
    return None if conv is None else choose_rank(rank, network.conv(conv), f"{conv}, in front of {name},")
