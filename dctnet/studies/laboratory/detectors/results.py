"""What the rows of the study say about each unit and each layer."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dctnet.studies.laboratory.detectors.polarity import LEAST_INDEX, is_detector
from dctnet.studies.laboratory.study import Measurement
from dctnet.studies.proportions import share_interval

COLUMNS = (
    "network",
    "layer",
    "channel",
    "measure",
    "wavelength",
    "ratio",
    "item",
    "value",
    "dprime",
    "orientation",
    "text",
)
POLARITY, SHUFFLED = "polarity", "polarity_shuffled"


def row(network: str, layer: str, measure: str, value: float, **others: Any) -> Measurement:
    """A row; columns that are not given are empty."""
    given = {"network": network, "layer": layer, "measure": measure, "value": value, **others}
    return {column: given.get(column, "") for column in COLUMNS}


@dataclass(frozen=True)
class Response:
    """Polarity of a unit at one wavelength and ratio; curve is the mean response to each direction."""

    index: float
    dprime: float
    orientation: int
    curve: list[float]


@dataclass
class Unit:
    """A unit of a layer.

    Args:
        network: Its network.
        layer: Its layer.
        channel: Its number in the layer.
        responses: By wavelength and ratio.
        plain: Largest mean response to the fine or the coarse texture alone, by wavelength.
        edge: Largest mean response to a luminance edge.
    """

    network: str
    layer: str
    channel: int
    responses: dict[tuple[float, int], Response] = field(default_factory=dict)
    plain: dict[float, float] = field(default_factory=dict)
    edge: float = math.nan

    @property
    def passed(self) -> list[float]:
        """The wavelengths at which the unit is a detector."""
        return [wavelength for wavelength in self.judged if self._passes(wavelength, 4, 2)]

    @property
    def passed_null(self) -> list[float]:
        """The wavelengths at which boundaries without a difference of frequency, ratio 1, pass the rule."""
        return [
            wavelength
            for wavelength in self.judged
            if (wavelength, 1) in self.responses and self._passes(wavelength, 1, 1)
        ]

    @property
    def judged(self) -> list[float]:
        """The wavelengths at which the receptive field is large enough for ratio 4."""
        return [wavelength for wavelength, ratio in self.responses if ratio == 4]

    @property
    def best(self) -> float:
        """Of the wavelengths that pass, or else of all that are judged, the one with the largest index at ratio 4."""
        return max(self.passed or self.judged, key=lambda wavelength: self.responses[wavelength, 4].index)

    @property
    def index(self) -> float:
        """Index at ratio 4 and the best wavelength."""
        return self.responses[self.best, 4].index

    @property
    def orientation(self) -> int:
        """Preferred direction at the best wavelength."""
        return self.responses[self.best, 4].orientation

    @property
    def preferred(self) -> float:
        """Mean response to the preferred direction at the best wavelength."""
        found = self.responses[self.best, 4]
        return found.curve[found.orientation]

    @property
    def exceeds_plain(self) -> bool:
        """Whether the preferred boundary excites the unit more than either texture alone, at the best wavelength."""
        return self.preferred > self.plain.get(self.best, math.inf)

    @property
    def keeps_at_8(self) -> bool | None:
        """Whether the index at ratio 8 and the best wavelength is still above 0.5; None if it was not measured."""
        found = self.responses.get((self.best, 8))
        return None if found is None else found.index > LEAST_INDEX[4]

    def _passes(self, wavelength: float, high: int, low: int) -> bool:
        four, two = self.responses[wavelength, high], self.responses[wavelength, low]
        return is_detector(four.index, two.index, four.dprime)


def read_units(rows: Iterable[Measurement], measure: str = POLARITY) -> list[Unit]:
    """The units of the rows, in their order.

    Args:
        rows: Of the study.
        measure: ``polarity``, or ``polarity_shuffled`` for the network with shuffled weights.
    """
    units: dict[tuple[Any, ...], Unit] = {}
    for each in rows:
        if each["measure"] not in (measure, "edge", "plain"):
            continue
        key = str(each["network"]), str(each["layer"]), int(each["channel"])
        unit = units.setdefault(key, Unit(*key))
        if each["measure"] == "edge":
            unit.edge = float(each["value"])
            continue
        if each["measure"] == "plain":
            unit.plain[float(each["wavelength"])] = float(each["value"])
            continue
        curve = [float(value) for value in str(each["text"]).split()]
        unit.responses[float(each["wavelength"]), int(each["ratio"])] = Response(
            float(each["value"]), float(each["dprime"]), int(each["orientation"]), curve
        )
    return [unit for unit in units.values() if unit.responses]


@dataclass(frozen=True)
class Count:
    """Detectors of a layer, beside what chance gives; 0 judged if its receptive field is too small for ratio 4."""

    network: str
    layer: str
    depth: float
    field: int
    judged: int
    found: int
    shuffled: int
    ratio1: int
    invariant: int  # detectors at two wavelengths or more
    exceeding: int  # detectors that respond more to the boundary than to either texture alone
    at_8: int  # detectors that were measured at ratio 8
    kept_at_8: int  # those of them whose index is still above 0.5 there

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the share of detectors, as if the units were a random sample."""
        return share_interval(self.found, self.judged)


def count_layers(rows: list[Measurement]) -> list[Count]:
    """Counts of each layer of each network, in order of the rows."""
    real, shuffled = read_units(rows), read_units(rows, SHUFFLED)
    counts = []
    for each in rows:
        if each["measure"] != "field":
            continue
        here = (each["network"], each["layer"])
        units = [unit for unit in real if (unit.network, unit.layer) == here and unit.judged]
        null = [unit for unit in shuffled if (unit.network, unit.layer) == here and unit.judged]
        counts.append(
            Count(
                str(each["network"]),
                str(each["layer"]),
                float(each["item"]),
                int(each["value"]),
                len(units),
                sum(bool(unit.passed) for unit in units),
                sum(bool(unit.passed) for unit in null),
                sum(bool(unit.passed_null) for unit in units),
                sum(len(unit.passed) > 1 for unit in units),
                sum(unit.exceeds_plain for unit in units if unit.passed),
                sum(unit.keeps_at_8 is not None for unit in units if unit.passed),
                sum(unit.keeps_at_8 is True for unit in units if unit.passed),
            )
        )
    return counts


def share_text(count: int, total: int) -> str:
    """``5 of 128 units (3.9 %, 95 % interval 1.7 to 8.8 %)``."""
    low, high = share_interval(count, total)
    return (
        f"{count} of {total} units ({100 * count / total:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
    )
