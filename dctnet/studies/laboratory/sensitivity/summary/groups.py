"""Studies of one network with several seeds, and their answers, band by band in cycles per image."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dctnet.errors import UserError
from dctnet.studies.laboratory.sensitivity.answers import COLUMNS, right_of
from dctnet.studies.laboratory.sensitivity.report.text import rows_of
from dctnet.studies.laboratory.study import Measurement, read_study

_SEED = re.compile(r"(.+)-s\d+")
_REFERENCE = "rgb"  # how the name of the network begins with which the others are compared


@dataclass(frozen=True, order=True)
class Span:
    """Frequencies in cycles per image, so that images of different sizes can be compared."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3g}–{self.high:.3g}" if self.low else f"below {self.high:.3g}"


@dataclass(frozen=True)
class Group:
    """The studies of one network with several seeds.

    Args:
        name: Of the folders, without the seed.
        size: Of the images, in pixels.
        studies: The rows of each seed.
        options: Of the studies, without the network.
    """

    name: str
    size: int
    studies: list[list[Measurement]]
    options: Mapping[str, Any]

    def answers(self, part: str, item: str, level: float | None = None) -> np.ndarray:
        """100 for a right answer, 0 for a wrong one, so that a mean is an accuracy in percent: (seeds, images)."""
        chosen = [
            next(row for row in rows_of(rows, part) if row["item"] == item and level in (None, row["level"]))
            for rows in self.studies
        ]
        return 100 * np.array([right_of(row) for row in chosen])

    def changes(self, part: str, item: str, level: float | None = None, clean: str = "all") -> np.ndarray:
        """Answers minus those of the same network to the same images unchanged, in points: (seeds, images)."""
        return self.answers(part, item, level) - self.answers("clean", clean)

    @property
    def bands(self) -> dict[Span, str]:
        """Name of each band in the rows, the lowest first."""
        names = [str(row["item"]) for row in rows_of(self.studies[0], "removed")]
        return {self._span(name): name for name in names}

    def _span(self, name: str) -> Span:
        ends = [self.size * _exact(end) for end in re.findall(r"[\d.]+", name)]
        if name.startswith("below"):
            return Span(0.0, ends[0])
        # The highest band of an image also has the corners of its spectrum.
        return Span(ends[0] if ends else 0.0, self.size / 2) if len(ends) < 2 else Span(ends[0], ends[1])

    @property
    def seeds(self) -> str:
        """Their number in words."""
        return "one seed" if len(self.studies) == 1 else f"{len(self.studies)} seeds"

    @property
    def selection(self) -> str:
        """How the photographs were chosen."""
        chosen = {name: self.options.get(name) for name in ("root", "split", "images", "seed")}
        return ", ".join(f"{name} {value}" for name, value in chosen.items() if value is not None)

    @property
    def photographs(self) -> set[str]:
        """What is known of the photographs: a digest of their names, nothing in rows of early versions."""
        return {row["item"] for rows in self.studies for row in rows_of(rows, "photographs")}


def _exact(text: str) -> float:
    """A number of three digits, or the power of two that is written so: 0.0312 is 1/32."""
    value = float(text)
    power = 2.0 ** round(math.log2(value)) if value else 0.0
    return power if f"{power:.3g}" == text else value


def read_groups(folders: Sequence[Path]) -> list[Group]:
    """Reads studies; those whose folders differ only in ``-sN`` at the end are one group.

    The first group is the one that the others are compared with: a network on RGB, if its name says so.

    Raises:
        UserError: A folder is damaged or its study was stopped too early, the studies of a group differ in more than
            the network's weights, or the photographs differ.
    """
    studies = {folder: read_study(folder, COLUMNS) for folder in folders}
    for folder, (_, rows) in studies.items():
        if not (rows_of(rows, "attention") or rows_of(rows, "no_attention")):  # the last rows that the page reads
            raise UserError(f"{folder}: an unfinished study; repeat its command, or move it out of {folder.parent}")
    groups = []
    by_name = itertools.groupby(sorted(studies, key=lambda each: (_group(each), each.name)), _group)
    for name, members in by_name:
        chosen = list(members)
        options = [{**studies[each][0]["options"], "net": None} for each in chosen]
        if different := next((each for each, own in zip(chosen, options, strict=True) if own != options[0]), None):
            raise UserError(f"{different}: measured with other options than {chosen[0]}; give it another name")
        groups.append(Group(name, options[0]["image_size"], [studies[each][1] for each in chosen], options[0]))
    _check_photographs(groups)
    return sorted(groups, key=lambda group: not group.name.startswith(_REFERENCE))


def _group(folder: Path) -> str:
    match = _SEED.fullmatch(folder.name)
    return match[1] if match else folder.name


def _check_photographs(groups: Sequence[Group]) -> None:
    """Answers are compared image by image, which is only right if the images are the same."""
    counts = {len(row["right"]) for group in groups for rows in group.studies for row in rows_of(rows, "removed")}
    digests = set().union(*(group.photographs for group in groups))
    if len(counts) > 1 or len(digests) > 1:
        names = " and ".join(group.name for group in groups)
        raise UserError(
            f"{names}: measured on different photographs; give all of them the same --data.root, --split, --images "
            "and --seed"
        )
