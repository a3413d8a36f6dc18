"""Examples, circuits and images of single units, as rows."""

from collections.abc import Callable
from urllib.parse import quote

import torch
from torch import Tensor

from dctnet.io.atomic import atomic_write
from dctnet.studies.laboratory.detectors import circuit, pictures
from dctnet.studies.laboratory.detectors.layers import Field, Network
from dctnet.studies.laboratory.detectors.results import Unit, row
from dctnet.studies.laboratory.photographs import Photographs
from dctnet.studies.laboratory.study import Measurement, Study

IMAGES = "images"  # folder of the images made for units
_VISUALISATIONS = 3  # a unit


def example_rows(
    network: Network, label: str, layer: str, field: Field, units: list[Unit], members: list[Unit],
    photographs: Photographs, check_stop: Callable[[], None],
) -> list[Measurement]:  # fmt: skip
    """The places in photographs that excite units most, and the use of the circuit's units in the layer behind."""
    found, activity = pictures.best_examples(
        network, layer, [unit.channel for unit in units], photographs.planes, field, check_stop
    )
    rows = [
        row(
            label, layer, "example", each.activation, channel=channel, item=rank,
            text=f"{each.y},{each.x},{quote(photographs.paths[each.image], errors='surrogateescape')}",
        )
        for channel, examples in found.items()
        for rank, each in enumerate(examples, 1)
    ]  # fmt: skip
    use = circuit.downstream(network, layer, [u.channel for u in members], [u.orientation for u in members], activity)
    if use is None:
        return rows
    rows += [
        row(label, layer, "use", share, channel=unit, item=rank, text=name)
        for rank, (name, unit, share) in enumerate(use.units, 1)
    ]
    rows.append(row(label, layer, "use_mean", use.mean_share))
    rows.append(row(label, layer, "same_sign_null", use.same_sign_null))
    if use.same_sign is not None:
        rows.append(row(label, layer, "same_sign", use.same_sign, item=use.pairs))
    return rows


def circuit_rows(
    network: Network, label: str, layer: str, units: list[Unit], largest_rank: int, planes: Tensor
) -> list[Measurement]:
    """Factorisations of the input weights of some units, tuning and strongest inputs of two factors, and their maps."""
    conv = network.conv_before(layer)
    assert conv is not None
    activity = circuit.input_activity(network, layer, conv, planes).mean(0)
    channels = [unit.channel for unit in units]
    weights = circuit.expand_weights(network, conv, channels, activity)
    curves = circuit.input_tuning(network, layer, conv, 2 * max(circuit.WAVELENGTHS))
    rows = []
    for rank in range(1, largest_rank + 1):
        factors = circuit.factorise(weights, rank)
        rows.append(row(label, layer, "nmf", factors.explained, item=rank, text=conv))
        rows.append(row(label, layer, "nmf_bound", factors.bound, item=rank, text=conv))
        if rank != 2:
            continue
        factor_curves = curves.double() @ factors.channels
        factor_curves = factor_curves / factor_curves.amax(0).clamp(min=1e-12)
        order = circuit.log_center(factor_curves).argsort().tolist()  # fine first
        centers = circuit.log_center(factor_curves)[order].tolist()
        rows += [row(label, layer, "factor_center", c, item=n, text="octaves") for n, c in enumerate(centers)]
        rows += [
            row(label, layer, "factor_tuning", float(factor_curves[w, f]), wavelength=wavelength, item=n)
            for w, wavelength in enumerate(circuit.WAVELENGTHS)
            for n, f in enumerate(order)
        ]
        for n, f in enumerate(order):
            top = factors.channels[:, f].topk(min(circuit.INPUTS, len(factors.channels)))
            pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            rows += [row(label, layer, "factor_input", w, channel=c, item=n, text=conv) for c, w in pairs]
        maps = factors.maps[:, order]
        similar = circuit.correlation(maps).tolist()
        for channel, value, pair in zip(channels, similar, maps, strict=True):
            rows.append(row(label, layer, "map_correlation", value, channel=channel))
            rows += [
                row(
                    label, layer, "map", float(each.abs().max()), channel=channel, item=n,
                    text=" ".join(f"{v:.5g}" for v in each.flatten().tolist()),
                )
                for n, each in enumerate(pair)
            ]  # fmt: skip
    return rows


def image_rows(
    network: Network, label: str, unit: Unit, field: Field, study: Study, steps: int, seed: int
) -> list[Measurement]:
    """Images made for a unit, which are written into the study's folder."""
    made = pictures.visualise(
        network, unit.layer, unit.channel, field, steps, _VISUALISATIONS, seed,
        study.check_stop,
    )  # fmt: skip
    name = f"{label}-{unit.layer}-{unit.channel}.png"
    atomic_write(study.out / IMAGES / name, _png(made))
    return [row(label, unit.layer, "image", len(made), channel=unit.channel, text=f"{IMAGES}/{name}")]


def _png(images: Tensor) -> bytes:
    """Images (N, 3, S, S), 0 … 1, side by side."""
    from torchvision.io import encode_png

    strip = torch.cat(list(images), -1)
    return bytes(encode_png((255 * strip).round().to(torch.uint8)).numpy())
