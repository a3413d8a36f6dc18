"""One network of the study of detectors: its layers, its photographs, and the measurements of its units."""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor

from dctnet.errors import UserError
from dctnet.io.atomic import atomic_write
from dctnet.studies.laboratory.detectors import circuit, pictures
from dctnet.studies.laboratory.detectors.layers import Field, Network
from dctnet.studies.laboratory.detectors.polarity import (
    admissible,
    canvas_for,
    polarity,
    respond,
    shuffle_weights,
    tuning,
)
from dctnet.studies.laboratory.detectors.results import POLARITY, SHUFFLED, Unit, row
from dctnet.studies.laboratory.detectors.stimuli import boundaries, edges, textures
from dctnet.studies.laboratory.photographs import Photographs, read_photographs
from dctnet.studies.laboratory.study import Measure, Measurement, Study
from dctnet.studies.laboratory.subject import open_subject

IMAGES = "images"  # folder of the images made for units
_VISUALISATIONS = 3  # a unit
_CALIBRATION = 64  # photographs for the batch norms of a network with shuffled weights


class Measured:
    """One network of the study: its layers, its photographs and its measurements.

    Args:
        net: As on the command line.
        layer: The layer to measure; None for all residual blocks that fit the image.
        units: Channels of this layer to look at closer; None for the strongest.
        rank: Largest rank of a factorisation; None for 4 or less.
        root: Photographs.
        images: Number of them.
        seed: Of their selection and of shuffling.
        options: Weights, mean, standard deviation and image size.
    """

    def __init__(
        self, net: str, layer: str | None, units: list[int] | None, rank: int | None, root: str | None, images: int,
        seed: int, options: tuple[Any, ...],
    ) -> None:  # fmt: skip
        self.network = Network(open_subject(net, *options))
        self.subject = self.network.subject
        self.label = self.subject.name.removesuffix("/version_0/last.ckpt").replace("/", "-")
        self.root, self.images, self.seed = root, images, seed
        if layer is not None:
            self.network.check(layer)
        self.fields, self.left_out = self._choose_layers(layer)
        self.ranks: dict[str, int] = {}
        for name in self.fields:
            if (conv := self.network.conv_before(name)) is not None:
                self.ranks[name] = circuit.choose_rank(rank, self.network.conv(conv), f"{conv}, in front of {name},")
        self.units = units
        if layer is not None and units is not None:
            count = self._count_units(layer)
            if not all(0 <= unit < count for unit in units):
                raise UserError(f"--units {units}: {layer} has {count} units, from 0")
        self.shown: dict[str, list[Unit]] = {}  # by layer
        self.circuits: dict[str, list[Unit]] = {}

    def _choose_layers(self, layer: str | None) -> tuple[dict[str, Field], list[str]]:
        """Receptive fields of the layers to measure, and the names of those that are left out."""
        fields: dict[str, Field] = {}
        names = [layer] if layer is not None else self.network.blocks
        for place, name in enumerate(names):
            field = self.network.field(name)
            if field is None and layer is not None:
                raise UserError(f"--layer {layer}: its units see the whole image; there is no position inside")
            if field is None or (layer is None and field.size > self.subject.image_size):
                if not fields:
                    raise UserError(
                        f"{self.subject.name}: no layer whose receptive field fits its image; give a --layer"
                    )
                return fields, names[place:]  # later blocks see more
            fields[name] = field
        return fields, []

    def _count_units(self, layer: str) -> int:
        size = canvas_for(self.fields[layer]).size
        with torch.inference_mode():
            planes = torch.full((1, 3, size, size), 128.0)
            return self.network.read([layer])(self.network.input(planes))[layer].shape[1]

    @cached_property
    def photographs(self) -> Photographs:
        """Photographs of the validation set."""
        return read_photographs(self.subject, self.root, "val", self.images, self.seed)

    @cached_property
    def shuffled(self) -> torch.nn.Module:
        """The traced module with shuffled weights."""
        module = copy.deepcopy(self.network.module)
        inputs = [self.network.input(batch) for batch in self.photographs.planes[:_CALIBRATION].split(16)]
        shuffle_weights(module, inputs, torch.Generator().manual_seed(self.seed))
        return module

    def screening(self, wavelengths: Sequence[float], check_stop: Callable[[], None]) -> dict[str, Measure]:
        """The measurements of all units of the layers."""
        found: dict[str, Measure] = {}
        for layer, field in self.fields.items():
            key = f"{self.label}/{layer}"
            found[f"{key}/edges"] = partial(self._edges, layer, field, check_stop)
            for wavelength in wavelengths:
                ratios = admissible(wavelength, field)
                for measure, used in ((POLARITY, ratios), (SHUFFLED, [r for r in ratios if r in (2, 4)])):
                    if 4 in ratios or (used and measure == POLARITY):
                        found[f"{key}/{wavelength:g} px/{measure}"] = partial(
                            self._polarity, layer, wavelength, measure, used, check_stop
                        )
        return found

    def _edges(self, layer: str, field: Field, check_stop: Callable[[], None]) -> list[Measurement]:
        canvas, read = canvas_for(field), self.network.read([layer])
        responses = respond(
            self.network, read, layer, edges(canvas.size, canvas.center, canvas.jump), canvas, check_stop
        )
        value, orientation = tuning(responses).max(0)
        depth = self.network.depth(layer)
        rows = [row(self.label, layer, "field", field.size, item=depth, text=f"jump {field.jump}, start {field.start}")]
        pairs = zip(value.tolist(), orientation.tolist(), strict=True)
        return rows + [
            row(self.label, layer, "edge", v, channel=channel, orientation=o) for channel, (v, o) in enumerate(pairs)
        ]

    def _polarity(
        self, layer: str, wavelength: float, measure: str, ratios: list[int], check_stop: Callable[[], None]
    ) -> list[Measurement]:
        canvas = canvas_for(self.fields[layer])
        read = self.network.read([layer], self.shuffled if measure == SHUFFLED else None)
        responses = {
            ratio: respond(
                self.network, read, layer, boundaries(wavelength, ratio, canvas.size, canvas.center, canvas.jump),
                canvas, check_stop,
            )
            for ratio in ratios
        }  # fmt: skip
        rows = []
        if measure == POLARITY:  # and the response to either texture alone
            alone = [
                tuning(respond(self.network, read, layer, textures(each, canvas.size), canvas, check_stop)).amax(0)
                for each in (wavelength, wavelength * min(4, ratios[-1]))
            ]
            rows = [
                row(self.label, layer, "plain", value, channel=channel, wavelength=wavelength)
                for channel, value in enumerate(torch.maximum(*alone).tolist())
            ]
        for ratio, each in responses.items():
            # The direction is that of ratio 4; ratio 1 has no fine side, and shows what chance gives.
            found = polarity(each, responses.get(4) if ratio > 1 else None)
            curves = tuning(each).T.tolist()
            rows += [
                row(
                    self.label, layer, measure, float(found.index[channel]), channel=channel, wavelength=wavelength,
                    ratio=ratio, dprime=float(found.dprime[channel]), orientation=int(found.orientation[channel]),
                    text=" ".join(f"{value:.5g}" for value in curve),
                )
                for channel, curve in enumerate(curves)
            ]  # fmt: skip
        return rows

    def choose(self, units: list[Unit], show: int) -> None:
        """Chooses the units that are looked at closer: the strongest detectors, or else those that come closest."""
        own = [unit for unit in units if unit.network == self.label and unit.judged]
        if self.units is not None:
            chosen = [unit for unit in own if unit.channel in self.units]
        else:
            found = [unit for unit in own if unit.passed]
            # A network without detectors shows what comes closest.
            chosen = sorted(found or own, key=lambda unit: (-len(unit.passed), -unit.index))[:show]
        self.shown = {layer: [unit for unit in chosen if unit.layer == layer] for layer in self.fields}
        self.shown = {layer: units for layer, units in self.shown.items() if units}
        # The circuit is that of all detectors of a layer, also of those that are not shown.
        self.circuits = {
            layer: [u for u in own if u.layer == layer and u.passed] if self.units is None else []
            for layer in self.shown
        }
        self.circuits = {layer: found or self.shown[layer] for layer, found in self.circuits.items()}

    def closer_look(self, study: Study, steps: int) -> dict[str, Measure]:
        """The measurements of the chosen units and of their layers."""
        found: dict[str, Measure] = {}
        for layer, units in self.shown.items():
            key = f"{self.label}/{layer}"
            found[f"{key}/examples"] = partial(self._examples, layer, units, study.check_stop)
            if layer in self.ranks:
                found[f"{key}/circuit"] = partial(self._circuit, layer, self.circuits[layer])
            for unit in units if steps else []:
                found[f"{key}/{unit.channel}/image"] = partial(self._image, unit, study, steps)
        return found

    def _examples(self, layer: str, units: list[Unit], check_stop: Callable[[], None]) -> list[Measurement]:
        channels = [unit.channel for unit in units]
        photographs = self.photographs
        found, activity = pictures.best_examples(
            self.network, layer, channels, photographs.planes, self.fields[layer], check_stop
        )
        rows = [
            row(
                self.label, layer, "example", each.activation, channel=channel, item=rank,
                text=f"{each.y},{each.x},{quote(photographs.paths[each.image], errors='surrogateescape')}",
            )
            for channel, examples in found.items()
            for rank, each in enumerate(examples, 1)
        ]  # fmt: skip
        members = self.circuits[layer]
        use = circuit.downstream(
            self.network, layer, [u.channel for u in members], [u.orientation for u in members], activity
        )
        if use is None:
            return rows
        rows += [
            row(self.label, layer, "use", share, channel=unit, item=rank, text=name)
            for rank, (name, unit, share) in enumerate(use.units, 1)
        ]
        rows.append(row(self.label, layer, "use_mean", use.mean_share))
        rows.append(row(self.label, layer, "same_sign_null", use.same_sign_null))
        if use.same_sign is not None:
            rows.append(row(self.label, layer, "same_sign", use.same_sign, item=use.pairs))
        return rows

    def _circuit(self, layer: str, units: list[Unit]) -> list[Measurement]:
        conv = self.network.conv_before(layer)
        assert conv is not None
        activity = circuit.input_activity(self.network, layer, conv, self.photographs.planes).mean(0)
        channels = [unit.channel for unit in units]
        weights = circuit.expand_weights(self.network, conv, channels, activity)
        curves = circuit.input_tuning(self.network, layer, conv, 2 * max(circuit.WAVELENGTHS))
        rows = []
        for rank in range(1, self.ranks[layer] + 1):
            factors = circuit.factorise(weights, rank)
            rows.append(row(self.label, layer, "nmf", factors.explained, item=rank, text=conv))
            rows.append(row(self.label, layer, "nmf_bound", factors.bound, item=rank, text=conv))
            if rank != 2:
                continue
            factor_curves = curves.double() @ factors.channels
            factor_curves = factor_curves / factor_curves.amax(0).clamp(min=1e-12)
            order = circuit.log_center(factor_curves).argsort().tolist()  # fine first
            centers = circuit.log_center(factor_curves)[order].tolist()
            rows += [row(self.label, layer, "factor_center", c, item=n, text="octaves") for n, c in enumerate(centers)]
            rows += [
                row(self.label, layer, "factor_tuning", float(factor_curves[w, f]), wavelength=wavelength, item=n)
                for w, wavelength in enumerate(circuit.WAVELENGTHS)
                for n, f in enumerate(order)
            ]
            for n, f in enumerate(order):
                top = factors.channels[:, f].topk(min(circuit.INPUTS, len(factors.channels)))
                pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
                rows += [row(self.label, layer, "factor_input", w, channel=c, item=n, text=conv) for c, w in pairs]
            maps = factors.maps[:, order]
            similar = circuit.correlation(maps).tolist()
            for channel, value, pair in zip(channels, similar, maps, strict=True):
                rows.append(row(self.label, layer, "map_correlation", value, channel=channel))
                rows += [
                    row(
                        self.label, layer, "map", float(each.abs().max()), channel=channel, item=n,
                        text=" ".join(f"{v:.5g}" for v in each.flatten().tolist()),
                    )
                    for n, each in enumerate(pair)
                ]  # fmt: skip
        return rows

    def _image(self, unit: Unit, study: Study, steps: int) -> list[Measurement]:
        made = pictures.visualise(
            self.network, unit.layer, unit.channel, self.fields[unit.layer], steps, _VISUALISATIONS, self.seed,
            study.check_stop,
        )  # fmt: skip
        name = f"{self.label}-{unit.layer}-{unit.channel}.png"
        atomic_write(study.out / IMAGES / name, _png(made))
        return [row(self.label, unit.layer, "image", len(made), channel=unit.channel, text=f"{IMAGES}/{name}")]


def _png(images: Tensor) -> bytes:
    """Images (N, 3, S, S), 0 … 1, side by side."""
    from torchvision.io import encode_png

    strip = torch.cat(list(images), -1)
    return bytes(encode_png((255 * strip).round().to(torch.uint8)).numpy())
