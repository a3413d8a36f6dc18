"""dctnet lab detectors: does a network have high–low frequency detectors, and how are they computed and used?"""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor

from dctnet.errors import UserError
from dctnet.io.atomic import atomic_write
from dctnet.signals import SignalRecorder
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
from dctnet.studies.laboratory.detectors.report import write_report
from dctnet.studies.laboratory.detectors.results import COLUMNS, POLARITY, SHUFFLED, Unit, read_units, row
from dctnet.studies.laboratory.detectors.stimuli import boundaries, edges, textures
from dctnet.studies.laboratory.photographs import Photographs, read_photographs
from dctnet.studies.laboratory.study import Measure, Measurement, Study
from dctnet.studies.laboratory.subject import open_subject

DATA_OPTIONS = ("root",)
IMAGES = "images"  # folder of the images made for units
_VISUALISATIONS = 3  # a unit
_CALIBRATION = 64  # photographs for the batch norms of a network with shuffled weights


def detectors(
    net: str | list[str],
    out: str = "checkpoints/detectors",
    root: str | None = None,
    weights: str | None = None,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    image_size: int | None = None,
    layer: str | None = None,
    units: list[int] | None = None,
    wavelengths: list[float] = [4, 6, 8, 12],  # noqa: B006 — read only, and shown by --help
    images: int = 256,
    rank: int | None = None,
    steps: int = 128,
    show: int = 6,
    seed: int = 0,
    signals: SignalRecorder | None = None,
) -> None:
    """Finds high–low frequency detectors: units that respond to a fine texture on one side of a coarse one.

    Measured are the outputs of the residual blocks whose receptive field is not larger than the network's image (of a
    network without residual blocks, those of the activation functions). Every unit is shown boundaries between two
    textures in 16 directions; it is a detector at a wavelength if its polarity index is above 0.5 at a ratio of 4 and
    above 0.2 at 2, with d' above 3. Beside the count stand those of the network with shuffled weights, and of ratio 1.
    The strongest detectors are then studied one by one; of a network without any, the units that come closest.

    Args:
        net: A checkpoint of dctnet fit, torchvision:NAME, timm:NAME or MODULE:FACTORY; several to compare: '[A, B]'.
        out: Folder of the results.
        root: Photographs, as for fit. Default: those of the network's training.
        weights: State dict of a network that is not of dctnet.
        mean: Of R, G, B, in units of 0 … 1, for a network that is not of dctnet. Default: ImageNet's.
        std: Likewise.
        image_size: Side of its images in pixels. Default: 224.
        layer: Name of the one layer to measure.
        units: Channels of this layer to study one by one.
        wavelengths: Of the fine texture, in pixels.
        images: Photographs of the validation set, for mean activities and examples.
        rank: Largest number of factors of a circuit. Default: 4, or the number of input units if there are fewer.
        steps: Of gradient ascent for an image that excites a unit; 0 makes none.
        show: Units of each network to study one by one.
        seed: Of shuffling, photographs and images.
        signals: Stops the study.

    Raises:
        UserError: An option is invalid, a network cannot be opened or traced, or a layer does not exist.
    """
    nets = [net] if isinstance(net, str) else list(net)
    _check(nets, wavelengths, images, steps, show, layer, units)
    circuit.load_nmf()
    opened = [Measured(name, layer, units, rank, root, images, seed, (weights, mean, std, image_size)) for name in nets]
    files = [path for path in [*nets, weights] if path is not None and Path(path).is_file()]
    options = {
        "net": nets, "root": root, "mean": mean, "std": std, "image_size": image_size, "layer": layer, "units": units,
        "wavelengths": wavelengths, "images": images, "rank": rank, "steps": steps, "show": show, "seed": seed,
    }  # fmt: skip
    study = Study("detectors", out, COLUMNS, options, files, signals)
    study.run({k: v for each in opened for k, v in each.screening(wavelengths, study.check_stop).items()})
    for each in opened:
        each.choose(read_units(study.rows), show)
    (study.out / IMAGES).mkdir(exist_ok=True)
    study.run({k: v for each in opened for k, v in each.closer_look(study, steps).items()})
    print(write_report(study, {each.label: each for each in opened}, _command(nets, out, options)))


def _check(
    nets: list[str], wavelengths: list[float], images: int, steps: int, show: int, layer: str | None, units: Any
) -> None:
    if not nets or len(set(nets)) < len(nets):
        raise UserError(f"NET: expected one network or several different ones, got {nets}")
    if not wavelengths or min(wavelengths) < 3 or len(set(wavelengths)) < len(wavelengths):
        raise UserError(
            f"--wavelengths must be different numbers of pixels, at least 3, because finer textures alias; "
            f"got {wavelengths}"
        )
    for option, value, least in (("images", images, 1), ("steps", steps, 0), ("show", show, 1)):
        if value < least:
            raise UserError(f"--{option} must be at least {least}, got {value}")
    if units is not None and layer is None:
        raise UserError("--units are channels of one layer: give it as --layer")


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
        self, net: str, layer: str | None, units: list[int] | None, rank: int | None, root: str | None, images: int, seed: int,
        options: tuple[Any, ...],
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
        if self.units is not None and not all(0 <= unit < responses.shape[-1] for unit in self.units):
            raise UserError(f"--units {self.units}: {layer} has {responses.shape[-1]} units, from 0")
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


def _command(nets: list[str], out: str, options: dict[str, Any]) -> str:
    first = nets[0] if len(nets) == 1 else f"'[{', '.join(nets)}]'"
    defaults = {"wavelengths": [4, 6, 8, 12], "images": 256, "steps": 128, "show": 6, "seed": 0}
    given = {k: v for k, v in options.items() if k != "net" and v is not None and v != defaults.get(k)}
    names = {"root": "data.root"}
    return " ".join(
        ["dctnet lab detectors", first, "--out", out, *(f"--{names.get(k, k)} {v}" for k, v in given.items())]
    )
