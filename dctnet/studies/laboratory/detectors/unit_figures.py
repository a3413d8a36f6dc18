"""Figures of single units and of their circuit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dctnet.studies.laboratory.detectors.circuit import WAVELENGTHS
from dctnet.studies.laboratory.detectors.results import Unit
from dctnet.studies.laboratory.detectors.stimuli import ORIENTATIONS
from dctnet.studies.laboratory.figures import COLOURS, MARKS
from dctnet.studies.page.page import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PURPLE,
    VERMILLION,
    Plot,
    add_legend,
    new_figure,
)

_RATIO_COLOURS = {1: GREY, 2: GREEN, 4: BLUE, 8: PURPLE}


def plot_tuning(label: str, number: int, units: Sequence[Unit]) -> Plot:
    """Response of some units to each direction, by ratio; the preferred direction is in the middle."""
    degrees = [360 * n / ORIENTATIONS - 180 for n in range(ORIENTATIONS + 1)]

    def aligned(unit: Unit, ratio: int) -> list[float]:
        curve = np.roll(unit.responses[unit.best, ratio].curve, ORIENTATIONS // 2 - unit.orientation)
        return [*curve.tolist(), float(curve[0])]

    def draw() -> Figure:
        columns = min(2, len(units))
        rows = -(-len(units) // columns)
        figure = new_figure(40 + 150 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for axes, unit in zip(grid.flat, units, strict=False):
            for ratio in _ratios(unit):
                style = {"linewidth": 2.2} if ratio == 4 else {"linewidth": 1.3}
                axes.plot(degrees, aligned(unit, ratio), color=_RATIO_COLOURS[ratio], **style)
            axes.set_title(f"{unit.layer}, unit {unit.channel}, {unit.best:g} px", fontsize=11, loc="left")
            axes.set_xticks([-180, -90, 0, 90, 180])
            axes.set_ylim(bottom=0)
        for axes in grid.flat[len(units) :]:
            axes.set_axis_off()
        figure.supxlabel("direction of the fine side, from the preferred one, degrees", fontsize=12)
        figure.supylabel("mean response", fontsize=12)
        used = sorted({ratio for unit in units for ratio in _ratios(unit)})
        add_legend(figure, [Line2D([], [], color=_RATIO_COLOURS[r], linewidth=2, label=f"ratio {r}") for r in used])
        return figure

    numbers: list[list[Any]] = [["layer", "unit", "wavelength", "ratio", *degrees]]
    numbers += [[u.layer, u.channel, u.best, ratio, *aligned(u, ratio)] for u in units for ratio in _ratios(u)]
    return Plot(f"tuning-{number}", f"Tuning curves of units of {label} over directions.", draw, numbers)


def plot_invariance(label: str, number: int, units: Sequence[Unit]) -> Plot:
    """Index of some units against wavelength, and against ratio."""

    def draw() -> Figure:
        figure = new_figure(215)
        left, right = figure.subplots(1, 2, sharey=True)
        for n, unit in enumerate(units):
            style: dict[str, Any] = {"color": COLOURS[n % 6], "marker": MARKS[n % 6], "markersize": 5}
            left.plot(unit.judged, [unit.responses[w, 4].index for w in unit.judged], **style)
            right.plot(_ratios(unit), [unit.responses[unit.best, r].index for r in _ratios(unit)], **style)
        wavelengths = sorted({w for unit in units for w in unit.judged})
        for axes, name, ticks in ((left, "fine wavelength in px", wavelengths), (right, "ratio", [1.0, 2.0, 4.0, 8.0])):
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
            axes.set_xlabel(name)
            axes.axhline(0, color=INK, linewidth=0.6)
            axes.grid(axis="y")
        left.set_ylabel("polarity index")
        left.set_ylim(min(-0.3, *left.get_ylim()), 1.05)
        add_legend(
            figure,
            [
                Line2D([], [], color=COLOURS[n % 6], marker=MARKS[n % 6], label=f"{u.layer}, unit {u.channel}")
                for n, u in enumerate(units)
            ],
        )
        return figure

    numbers: list[list[Any]] = [["layer", "unit", "wavelength", "ratio", "index", "dprime"]]
    numbers += [[u.layer, u.channel, *key, r.index, r.dprime] for u in units for key, r in u.responses.items()]
    return Plot(f"invariance-{number}", f"Index of units of {label} by wavelength and by ratio.", draw, numbers)


def _ratios(unit: Unit) -> list[int]:
    return [ratio for wavelength, ratio in unit.responses if wavelength == unit.best]


def plot_pictures(
    name: str, unit: Unit, stimulus: np.ndarray[Any, Any], images: Sequence[np.ndarray[Any, Any]],
    examples: Sequence[np.ndarray[Any, Any]], activations: Sequence[float],
) -> Plot:  # fmt: skip
    """The preferred boundary, images made for a unit, and the photographs that excite it most."""

    def draw() -> Figure:
        figure = new_figure(182)
        parts: Any = figure.subfigures(2, 1, height_ratios=(1.75, 1))
        upper, lower = parts
        above: Any = upper.subplots(1, 4)
        below: Any = lower.subplots(1, 9)
        for axes, image in zip(above, [stimulus, *images], strict=False):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for axes, image in zip(below, examples, strict=False):
            axes.imshow(image, interpolation="nearest")
        for axes in figure.axes:
            axes.set_axis_off()
        return figure

    numbers: list[list[Any]] = [["photograph", "activation"], *([n, a] for n, a in enumerate(activations, 1))]
    text = f"What excites {unit.layer}, unit {unit.channel}: stimulus, images made for it, photographs."
    return Plot(name, text, draw, numbers)


def plot_circuit(
    name: str, layer: str, explained: Sequence[float], bound: Sequence[float], tuning: np.ndarray[Any, Any],
    maps: Mapping[int, np.ndarray[Any, Any]],
) -> Plot:  # fmt: skip
    """Explained share by rank; tuning of the two factors over wavelength; their spatial maps.

    Args:
        name: Of the plot.
        layer: Its name.
        explained: Share by rank, from 1.
        bound: Likewise, of the singular values.
        tuning: (len(WAVELENGTHS), 2), fine factor first.
        maps: Two maps of each unit, (2, k, k).
    """

    def draw() -> Figure:
        figure = new_figure(215 + 130)
        parts: Any = figure.subfigures(2, 1, height_ratios=(200, 130))
        upper, lower = parts
        panels: Any = upper.subplots(1, 2)
        left, right = panels
        ranks = range(1, len(explained) + 1)
        left.plot(ranks, bound, "o--", color=GREY, markerfacecolor="none")
        left.plot(ranks, explained, "o-", color=BLUE)
        left.set_xticks(list(ranks))
        left.set_ylim(0, 1.03)
        left.set_xlabel("factors")
        left.set_ylabel("share explained")
        for n, (colour, marker) in enumerate(((VERMILLION, "o"), (PURPLE, "s"))):
            right.plot(WAVELENGTHS, tuning[:, n], color=colour, marker=marker, markersize=5)
        right.set_xscale("log", base=2)
        right.set_xticks([4, 8, 16, 32, 64], ["4", "8", "16", "32", "64"])
        right.minorticks_off()
        right.set_ylim(0, 1.05)
        right.set_xlabel("wavelength in px")
        right.set_ylabel("response of factor")
        grid: Any = lower.subplots(2, max(6, len(maps)), squeeze=False)
        largest = max(float(abs(each).max()) for each in maps.values()) or 1.0
        for axes in grid.flat:
            axes.set_axis_off()
        for column, (channel, pair) in enumerate(maps.items()):
            for line in (0, 1):
                grid[line, column].imshow(
                    pair[line], cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest"
                )
            grid[0, column].set_title(f"{channel}", fontsize=11)
        handles = [
            Line2D([], [], color=BLUE, marker="o", label="factorisation"),
            Line2D([], [], color=GREY, marker="o", linestyle="--", markerfacecolor="none", label="bound"),
            Line2D([], [], color=VERMILLION, marker="o", label="fine factor"),
            Line2D([], [], color=PURPLE, marker="s", label="coarse factor"),
        ]
        upper.legend(handles=handles, loc="outside upper left", ncols=4, fontsize=11)
        return figure

    numbers: list[list[Any]] = [["quantity", "at", "value"]]
    numbers += [["explained", rank, value] for rank, value in enumerate(explained, 1)]
    numbers += [["bound", rank, value] for rank, value in enumerate(bound, 1)]
    numbers += [
        [f, w, float(tuning[i, n])] for i, w in enumerate(WAVELENGTHS) for n, f in enumerate(("fine", "coarse"))
    ]
    return Plot(name, f"Circuit of {layer}: factors, their tuning and their maps.", draw, numbers)
