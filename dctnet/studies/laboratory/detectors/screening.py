"""Responses of all units of a layer to boundaries, edges and plain textures, as rows."""

from collections.abc import Callable

import torch
from torch import nn

from dctnet.studies.laboratory.detectors.layers import Field, Network
from dctnet.studies.laboratory.detectors.polarity import canvas_for, polarity, respond, tuning
from dctnet.studies.laboratory.detectors.results import POLARITY, row
from dctnet.studies.laboratory.detectors.stimuli import boundaries, edges, textures
from dctnet.studies.laboratory.study import Measurement


def edge_rows(
    network: Network, label: str, layer: str, field: Field, check_stop: Callable[[], None]
) -> list[Measurement]:
    """Receptive field and depth of a layer, and the response of each unit to luminance edges."""
    canvas, read = canvas_for(field), network.read([layer])
    responses = respond(network, read, layer, edges(canvas.size, canvas.center, canvas.jump), canvas, check_stop)
    value, orientation = tuning(responses).max(0)
    depth = network.depth(layer)
    rows = [row(label, layer, "field", field.size, item=depth, text=f"jump {field.jump}, start {field.start}")]
    pairs = zip(value.tolist(), orientation.tolist(), strict=True)
    return rows + [row(label, layer, "edge", v, channel=channel, orientation=o) for channel, (v, o) in enumerate(pairs)]


def polarity_rows(
    network: Network, module: nn.Module | None, label: str, layer: str, field: Field, wavelength: float, measure: str,
    ratios: list[int], check_stop: Callable[[], None],
) -> list[Measurement]:  # fmt: skip
    """Polarity of each unit at one wavelength, by ratio.

    Args:
        network: The network.
        module: A copy of the traced module with other weights; None for its own.
        label: Of the network.
        layer: Of the units.
        field: Its receptive field.
        wavelength: Of the fine texture.
        measure: ``polarity``, with the response to plain textures, or ``polarity_shuffled``.
        ratios: Of the coarse wavelength to the fine one.
        check_stop: Called before each batch.
    """
    canvas = canvas_for(field)
    read = network.read([layer], module)
    responses = {
        ratio: respond(
            network, read, layer, boundaries(wavelength, ratio, canvas.size, canvas.center, canvas.jump),
            canvas, check_stop,
        )
        for ratio in ratios
    }  # fmt: skip
    rows = []
    if measure == POLARITY:  # and the response to either texture alone
        alone = [
            tuning(respond(network, read, layer, textures(each, canvas.size), canvas, check_stop)).amax(0)
            for each in (wavelength, wavelength * min(4, ratios[-1]))
        ]
        rows = [
            row(label, layer, "plain", value, channel=channel, wavelength=wavelength)
            for channel, value in enumerate(torch.maximum(*alone).tolist())
        ]
    for ratio, each in responses.items():
        # The direction is that of ratio 4; ratio 1 has no fine side, and shows what chance gives.
        found = polarity(each, responses.get(4) if ratio > 1 else None)
        curves = tuning(each).T.tolist()
        rows += [
            row(
                label, layer, measure, float(found.index[channel]), channel=channel, wavelength=wavelength,
                ratio=ratio, dprime=float(found.dprime[channel]), orientation=int(found.orientation[channel]),
                text=" ".join(f"{value:.5g}" for value in curve),
            )
            for channel, curve in enumerate(curves)
        ]  # fmt: skip
    return rows
