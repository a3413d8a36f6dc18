"""One page across the sensitivity studies of several networks, with intervals over their seeds."""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from dctnet.errors import UserError
from dctnet.studies.laboratory.intervals import minus
from dctnet.studies.laboratory.page import Section, Table, write_sections
from dctnet.studies.laboratory.sensitivity.answers import COLUMNS, RESAMPLES
from dctnet.studies.laboratory.sensitivity.bands import half_accuracy_noise
from dctnet.studies.laboratory.sensitivity.channels import CODINGS
from dctnet.studies.laboratory.sensitivity.report.text import clean_accuracy, rank_correlation, rows_of
from dctnet.studies.laboratory.study import Measurement, read_study
from dctnet.studies.page.page import STYLES, Numbers, Plot, add_legend, new_figure

_RMS = 0.08  # of the noise that is compared
_SEED = re.compile(r"(.+)-s\d+")


@dataclass(frozen=True)
class Group:
    """The studies of one network with several seeds."""

    name: str
    size: int  # of the images, in pixels
    studies: list[list[Measurement]]  # the rows of each

    def answers(self, part: str, item: str, level: float | None = None) -> np.ndarray:
        """Right (1) or wrong (0), shape (seeds, images)."""
        chosen = [
            next(row for row in rows_of(rows, part) if row["item"] == item and level in (None, row["level"]))
            for rows in self.studies
        ]
        return np.array([[char == "r" for char in row["right"]] for row in chosen], float)

    def change(self, part: str, item: str, level: float | None = None, clean: str = "all") -> "Interval":
        """Change of the accuracy, paired by network and image."""
        return bootstrap(self.answers(part, item, level) - self.answers("clean", clean))

    def accuracy(self, part: str, item: str, level: float | None = None) -> "Interval":
        """Accuracy on changed images."""
        return bootstrap(self.answers(part, item, level))

    def bands(self) -> list[tuple[str, float, str]]:
        """Name of each band, lowest first, its lower end in cycles per image, and a label in these."""
        names = [row["item"] for row in rows_of(self.studies[0], "removed")]
        return [(name, self._lower(name), self._label(name)) for name in names]

    def _lower(self, name: str) -> float:
        return 0.0 if name.startswith("below") else self.size * float(re.findall(r"[\d.]+", name)[0])

    def _label(self, name: str) -> str:
        ends = [f"{self.size * float(end):.0f}" for end in re.findall(r"[\d.]+", name)]
        return {"b": f"< {ends[0]}", "f": f"≥ {ends[0]}"}.get(name[0], "–".join(ends))


@dataclass(frozen=True)
class Interval:
    """A mean with the ends of its 95 % interval, in percent or points."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return minus(f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]")


def bootstrap(values: np.ndarray) -> Interval:
    """Mean over seeds and images, both of which are resampled.

    Shape:
        - values: (seeds, images)
    """
    rng = np.random.default_rng(0)
    found = np.empty(RESAMPLES)
    for place in range(RESAMPLES):
        images = rng.integers(values.shape[1], size=values.shape[1])
        found[place] = values[rng.integers(len(values), size=len(values))][:, images].mean()
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(100 * float(values.mean()), 100 * low, 100 * high)


def read_groups(folders: Sequence[Path]) -> list[Group]:
    """Reads studies; those whose folders differ only in ``-sN`` at the end are one group.

    Raises:
        UserError: A folder is damaged or its study was stopped too early, or the studies of a group differ in more than
            the network's weights.
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
        groups.append(Group(name, options[0]["image_size"], [studies[each][1] for each in chosen]))
    return groups


def _group(folder: Path) -> str:
    match = _SEED.fullmatch(folder.name)
    return match[1] if match else folder.name


def write_summary(out: Path, folders: Sequence[Path]) -> Path:
    """Writes ``summary.html``, whose path is returned, from the sensitivity studies in some folders."""
    groups = read_groups(folders)
    names = ", ".join(f"{group.name} ({_seeds(group)}, {group.size} px)" for group in groups)
    return write_sections(
        out / "summary.html",
        "Which frequencies do networks use?",
        f"The same measurements on {names}. Frequencies are in cycles per image, so that networks on images of "
        "different sizes can be compared. Each study has a page of its own, which explains what was done.",
        _words(groups),
        [_bands(groups), _noise(groups), _codings(groups), _layers(groups)],
        {"intervals": f"95 %, from {RESAMPLES:,} bootstrap samples of images and seeds"},
    )


def _seeds(group: Group) -> str:
    return "one seed" if len(group.studies) == 1 else f"{len(group.studies)} seeds"


def _words(groups: Sequence[Group]) -> list[str]:
    told = []
    for group in groups:
        changes = {label: group.change("removed", name) for name, _, label in group.bands()}
        worst = min(changes, key=lambda label: changes[label].value)
        told.append(
            f"{group.name}, {group.accuracy('clean', 'all')} %: removing {worst} cycles per image costs most, "
            f"{changes[worst]} points; random DCT signs {group.change('coding', 'dct_signs', clean='channels')}, "
            f"magnitudes of another image {group.change('coding', 'dct_magnitudes', clean='channels')} points."
        )
    return told


def _curves(name: str, groups: Sequence[Group], ylabel: str, measure: Callable[[Group, str], Interval]) -> Plot:
    """A line per group over its bands."""
    found = {
        group.name: [(lower, label, measure(group, band)) for band, lower, label in group.bands()] for group in groups
    }
    places = sorted({lower for each in found.values() for lower, _, _ in each})
    labels = {lower: label for each in found.values() for lower, label, _ in each}

    def draw() -> Figure:
        figure = new_figure(240)
        axes = figure.subplots()
        for number, (group, each) in enumerate(found.items()):
            style = STYLES[number % len(STYLES)]
            x = [places.index(lower) + 0.06 * number for lower, _, _ in each]
            values = np.array([[i.value, i.value - i.low, i.high - i.value] for _, _, i in each])
            axes.errorbar(x, values[:, 0], values[:, 1:].T, capsize=3, label=group, **style)
        axes.set_xticks(range(len(places)), [labels[lower] for lower in places])
        axes.set(xlabel="band, cycles per image", ylabel=ylabel)
        add_legend(figure, axes.get_legend_handles_labels()[0])
        return figure

    numbers: Numbers = [["network", "band", "value", "low", "high"]]
    numbers += [[group, label, i.value, i.low, i.high] for group, each in found.items() for _, label, i in each]
    return Plot(name, f"{ylabel} by band and network.", draw, numbers)


def _bands(groups: Sequence[Group]) -> Section:
    removed = _curves(
        "removed", groups, "change of accuracy, points", lambda group, band: group.change("removed", band)
    )
    only = _curves("only", groups, "accuracy, %", lambda group, band: group.accuracy("only", band))
    return Section(
        "Bands",
        [],
        [(removed, "Change of the accuracy without each band."), (only, "Accuracy with only each band and the mean.")],
    )


def _noise(groups: Sequence[Group]) -> Section:
    rows = [
        [group.name, *(_halving(rows, band) for band in _items(group))] for group in groups for rows in group.studies
    ]
    widest = max((_items(group) for group in groups), key=len)
    return Section(
        "Noise",
        [],
        [
            (
                _curves(
                    "noise",
                    groups,
                    "change of accuracy, points",
                    lambda g, band: g.change("noise", band, _RMS, "noise"),
                ),
                f"Change of the accuracy with noise of RMS {_RMS:g} in each band.",
            )
        ],
        [
            Table(
                "Noise that halves the accuracy, RMS, of each seed",
                ["Network", *widest],
                [_pad(r, len(widest)) for r in rows],
            )
        ],
    )


def _items(group: Group) -> list[str]:
    return [name for name, _, _ in group.bands()]


def _pad(row: list[str], width: int) -> list[str]:
    return [*row, *[""] * (width + 1 - len(row))]


def _halving(rows: Sequence[Measurement], band: str) -> str:
    levels = {row["level"]: row["accuracy"] for row in rows_of(rows, "noise") if row["item"] == band}
    found = half_accuracy_noise(levels, clean_accuracy(rows, "noise"))
    return "below all" if found is None else f"{found:.3f}" if math.isfinite(found) else "above all"


def _codings(groups: Sequence[Group]) -> Section:
    rows = [
        [text, *((i.value, str(i)) for i in (group.change("coding", name, clean="channels") for group in groups))]
        for name, text in CODINGS.items()
    ]
    table = Table("Change of the accuracy, points", ["Destroyed", *(group.name for group in groups)], rows)
    return Section(
        "Signs and magnitudes", ["Change of the accuracy without signs, magnitudes, phases or amplitudes."], (), [table]
    )


def _layers(groups: Sequence[Group]) -> Section:
    rows = []
    for group in groups:
        for rows_of_seed in group.studies:
            trained = rows_of(rows_of_seed, "layers")
            trend = rank_correlation([row["level"] for row in trained], [row["value"] for row in trained])
            attention = [row for row in rows_of(rows_of_seed, "attention") if row["item"] == "difference"]
            value = (
                minus(f"{attention[0]['value']:+.2f} [{attention[0]['low']:+.2f}, {attention[0]['high']:+.2f}]")
                if attention
                else "–"
            )
            rows.append([group.name, trend, value])
    return Section(
        "Layers and attention",
        [
            "Rank correlation over layers of depth and share of high frequencies in the feature maps, and of "
            "attention and gradient energy of the same image minus that of other images; a row for each seed."
        ],
        (),
        [
            Table(
                "Layers and attention of each seed",
                ["Network", "Depth and high frequencies", "Attention and gradient"],
                rows,
            )
        ],
    )
