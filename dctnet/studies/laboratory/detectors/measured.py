"""One network of the study of detectors: its layers, its photographs, and the measurements of its units."""

import copy
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import torch

from dctnet.errors import UserError
from dctnet.studies.laboratory.detectors.closer_look import circuit_rows, example_rows, image_rows
from dctnet.studies.laboratory.detectors.layers import Field, Network
from dctnet.studies.laboratory.detectors.measured_layers import Layers, check_first_rank, choose_layers
from dctnet.studies.laboratory.detectors.polarity import admissible, canvas_for, shuffle_weights
from dctnet.studies.laboratory.detectors.results import POLARITY, SHUFFLED, Unit
from dctnet.studies.laboratory.detectors.screening import edge_rows, polarity_rows
from dctnet.studies.laboratory.opening import open_subject
from dctnet.studies.laboratory.photographs import Photographs, read_photographs
from dctnet.studies.laboratory.study import Measure, Measurement, Study

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
        self.layer, self.units, self.rank = layer, units, rank
        self.root, self.images, self.seed = root, images, seed
        if layer is not None:
            self.network.check(layer)
        check_first_rank(self.network, layer, rank)
        self.layers = Layers({}, [], {})
        self.shown: dict[str, list[Unit]] = {}  # by layer
        self.circuits: dict[str, list[Unit]] = {}

    def prepare(self, check_stop: Callable[[], None]) -> None:
        """Chooses the layers, measures their receptive fields, and reads the photographs.

        Raises:
            UserError: No layer can be measured, a unit does not exist, or the photographs cannot be read.
            Stopped: A signal came.
        """
        self.layers = choose_layers(self.network, self.layer, self.rank, check_stop)
        if self.layer is not None and self.units is not None:
            count = self._count_units(self.layer)
            if not all(0 <= unit < count for unit in self.units):
                raise UserError(f"--units {self.units}: {self.layer} has {count} units, from 0")
        assert len(self.photographs)  # read now, so that an error comes before the measurements

    @property
    def fields(self) -> dict[str, Field]:
        """Receptive fields of the layers that are measured."""
        return self.layers.fields

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
            found[f"{key}/edges"] = partial(edge_rows, self.network, self.label, layer, field, check_stop)
            for wavelength in wavelengths:
                ratios = admissible(wavelength, field)
                for measure, used in ((POLARITY, ratios), (SHUFFLED, [r for r in ratios if r in (2, 4)])):
                    if 4 in ratios or (used and measure == POLARITY):
                        found[f"{key}/{wavelength:g} px/{measure}"] = partial(
                            self._polarity, layer, wavelength, measure, used, check_stop
                        )
        return found

    def _polarity(
        self, layer: str, wavelength: float, measure: str, ratios: list[int], check_stop: Callable[[], None]
    ) -> list[Measurement]:
        module = self.shuffled if measure == SHUFFLED else None
        return polarity_rows(
            self.network, module, self.label, layer, self.fields[layer], wavelength, measure, ratios, check_stop
        )

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
            own, members = (self.network, self.label, layer), self.circuits[layer]
            found[f"{key}/examples"] = partial(
                example_rows, *own, self.fields[layer], units, members, self.photographs, study.check_stop
            )
            if layer in self.layers.ranks:
                found[f"{key}/circuit"] = partial(
                    circuit_rows, *own, members, self.layers.ranks[layer], self.photographs.planes
                )
            for unit in units if steps else []:
                found[f"{key}/{unit.channel}/image"] = partial(
                    image_rows, self.network, self.label, unit, self.fields[layer], study, steps, self.seed
                )
        return found
