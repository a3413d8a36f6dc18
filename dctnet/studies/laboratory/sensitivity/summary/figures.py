"""Figures of the page across networks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dctnet.frequency.bands import Band, band_mask
from dctnet.studies.intervals import Interval, mean_interval
from dctnet.studies.laboratory.sensitivity.report.text import rows_of
from dctnet.studies.laboratory.sensitivity.summary.compare import KINDS, Comparison
from dctnet.studies.laboratory.sensitivity.summary.groups import Group, Span
from dctnet.studies.laboratory.spectrum import band_noise
from dctnet.studies.page.page import INK, STYLES, Numbers, Plot, add_legend, new_figure, shorten

_SIDE = 112  # of the pictures of the bands, in pixels, unless the finest band needs more


def plot_spans(spans: Sequence[Span]) -> Plot:
    """A pattern of each band, as fine as it is in an image."""
    side = max(_SIDE, *(2 * round(span.high) for span in spans))

    def draw() -> Figure:
        figure = new_figure(110)
        grid: Any = figure.subplots(1, len(spans), squeeze=False)
        for axes, span in zip(grid[0], spans, strict=True):
            mask = band_mask(Band(span.low / side, span.high / side), side)
            pattern = band_noise(1, mask, 1.0, torch.Generator().manual_seed(0))[0, 0].numpy()
            axes.imshow(pattern, cmap="gray", vmin=-2.5, vmax=2.5, interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(str(span), fontsize=11)
        return figure

    return Plot("spans", "A pattern of each band of frequencies.", draw, [["band"], *([str(span)] for span in spans)])


def plot_by_band(name: str, groups: Sequence[Group], ylabel: str, measure: Callable[[Group, Span], Interval]) -> Plot:
    """A line per network over its bands."""
    found = {group.name: {span: measure(group, span) for span in group.bands} for group in groups}
    places = sorted({span for each in found.values() for span in each})

    def draw() -> Figure:
        figure = new_figure(240)
        axes = figure.subplots()
        for number, (group, each) in enumerate(found.items()):
            x = [places.index(span) + _shift(number, len(found)) for span in each]
            _draw_intervals(axes, x, list(each.values()), number, group)
        _label_bands(axes, places, ylabel)
        add_legend(figure, axes.get_legend_handles_labels()[0])
        return figure

    numbers: Numbers = [["network", "band", "value", "low", "high"]]
    numbers += [[group, str(span), i.value, i.low, i.high] for group, each in found.items() for span, i in each.items()]
    return Plot(name, f"{ylabel} by band and network.", draw, numbers)


def plot_differences(name: str, comparison: Comparison) -> Plot:
    """Differences of two networks by band, around 0."""
    places = sorted({each.span for each in comparison.differences})
    texts = {"removed": "without the band", "noise": "with noise in the band"}

    def draw() -> Figure:
        figure = new_figure(230)
        axes = figure.subplots()
        axes.axhline(0, color=INK, linewidth=1)
        for number, kind in enumerate(KINDS):
            own = [each for each in comparison.differences if each.kind == kind]
            x = [places.index(each.span) + _shift(number, len(KINDS)) for each in own]
            # Other colours than those of the networks.
            _draw_intervals(axes, x, [each.interval for each in own], number + 2, texts[kind], line="")
        _label_bands(axes, places, "difference, points")
        name = shorten(comparison.one.name)
        axes.set_title(f"below 0: {name} relies on it more; above 0: less", fontsize=11, loc="left")
        add_legend(figure, axes.get_legend_handles_labels()[0])
        return figure

    numbers: Numbers = [["kind", "band", "difference", "low", "high"]]
    numbers += [
        [each.kind, str(each.span), each.interval.value, each.interval.low, each.interval.high]
        for each in comparison.differences
    ]
    text = f"{comparison.one.name} minus {comparison.other.name}: change of accuracy in points, by band."
    return Plot(name, text, draw, numbers)


def plot_codings(found: Mapping[str, Mapping[str, Interval]]) -> Plot:
    """Change of the accuracy without signs, magnitudes, phases or amplitudes.

    Args:
        found: By what is destroyed, and by network.
    """
    names = list(next(iter(found.values())))

    def draw() -> Figure:
        figure = new_figure(70 + 35 * len(found))
        axes = figure.subplots()
        for number, name in enumerate(names):
            values = np.array([(i.value, i.value - i.low, i.high - i.value) for i in (f[name] for f in found.values())])
            y = np.arange(len(found)) + 2 * _shift(number, len(names))
            style = {"capsize": 3, "linestyle": "", **STYLES[number % len(STYLES)]}
            axes.errorbar(values[:, 0], y, xerr=values[:, 1:].T, label=name, **style)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(found)), list(found))
        axes.invert_yaxis()
        axes.set_xlabel("change of accuracy, points")
        axes.grid(axis="x")
        add_legend(figure, axes.get_legend_handles_labels()[0])
        return figure

    numbers: Numbers = [["destroyed", "network", "change", "low", "high"]]
    numbers += [[text, name, i.value, i.low, i.high] for text, each in found.items() for name, i in each.items()]
    return Plot("codings", "Change of the accuracy without signs or magnitudes.", draw, numbers)


def plot_layers(groups: Sequence[Group]) -> Plot | None:
    """High frequencies in the feature maps by depth, mean over seeds; None without layers."""
    found = {group.name: _by_depth(group) for group in groups}
    found = {name: each for name, each in found.items() if each}
    if not found:
        return None

    def draw() -> Figure:
        figure = new_figure(230)
        axes = figure.subplots()
        for number, (name, each) in enumerate(found.items()):
            _draw_intervals(axes, list(each), list(each.values()), number, name)
        axes.set(xlabel="depth: 0 is the first convolution, 1 the last", ylabel="share of power, %", ylim=(0, None))
        add_legend(figure, axes.get_legend_handles_labels()[0])
        return figure

    numbers: Numbers = [["network", "depth", "share", "low", "high"]]
    numbers += [[name, depth, i.value, i.low, i.high] for name, each in found.items() for depth, i in each.items()]
    return Plot("layers", "High frequencies in the feature maps by depth and network.", draw, numbers)


def _by_depth(group: Group) -> dict[float, Interval]:
    shares: dict[float, list[float]] = {}
    for rows in group.studies:
        for row in rows_of(rows, "layers"):
            shares.setdefault(float(row["level"]), []).append(100 * float(row["value"]))
    return {depth: mean_interval(values) for depth, values in sorted(shares.items())}


def _draw_intervals(
    axes: Axes, x: Sequence[float], found: Sequence[Interval], number: int, label: str, line: str = "-"
) -> None:
    values = np.array([[i.value, i.value - i.low, i.high - i.value] for i in found])
    errors = None if np.isnan(values).any() else values[:, 1:].T  # one seed has none
    axes.errorbar(x, values[:, 0], errors, capsize=3, label=label, linestyle=line, **STYLES[number % len(STYLES)])


def _shift(number: int, count: int) -> float:
    """Sideways, so that intervals at one place do not cover each other."""
    return 0.09 * (number - (count - 1) / 2)


def _label_bands(axes: Axes, places: Sequence[Span], ylabel: str) -> None:
    axes.set_xticks(range(len(places)), [str(span) for span in places])
    axes.set(xlabel="band, cycles per image", ylabel=ylabel)
    axes.grid(axis="y")
