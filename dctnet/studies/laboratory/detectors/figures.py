"""Figures of the study of detectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dctnet.studies.laboratory.detectors.results import Count, Unit
from dctnet.studies.laboratory.detectors.stimuli import ORIENTATIONS
from dctnet.studies.laboratory.figures import COLOURS, MARKS
from dctnet.studies.page.page import (
    BLUE,
    GREY,
    INK,
    VERMILLION,
    Plot,
    add_legend,
    new_figure,
    shorten,
)


def plot_counts(counts: Sequence[Count]) -> Plot:
    """Share of detectors against depth, beside the network with shuffled weights."""
    judged = [count for count in counts if count.judged]
    networks = list(dict.fromkeys(count.network for count in judged))

    def draw() -> Figure:
        figure = new_figure(260)
        axes = figure.subplots()
        handles: list[Any] = []
        for n, network in enumerate(networks):
            colour, marker = COLOURS[n % 6], MARKS[n % 6]
            own = [count for count in judged if count.network == network]
            shift = 0.9 * (n - (len(networks) - 1) / 2)
            x = np.array([100 * count.depth + shift for count in own])
            share = np.array([100 * count.found / count.judged for count in own])
            ends = 100 * np.array([count.interval for count in own]).T
            axes.errorbar(x, share, abs(ends - share), fmt=marker, color=colour, capsize=3, markersize=7)
            null = [100 * count.shuffled / count.judged for count in own]
            axes.plot(x, null, marker, markerfacecolor="none", color=colour, markersize=11, zorder=1)
            handles.append(Line2D([], [], marker=marker, color=colour, linestyle="", label=shorten(network)))
        handles.append(
            Line2D(
                [],
                [],
                marker="o",
                color=INK,
                markerfacecolor="none",
                markersize=10,
                linestyle="",
                label="shuffled weights",
            )
        )
        axes.set_xlabel("depth in % of the network's layers")
        axes.set_ylabel("detectors in % of the units")
        axes.set_ylim(bottom=-0.5)
        axes.grid(axis="y")
        add_legend(figure, handles)
        return figure

    numbers: list[list[Any]] = [
        ["network", "layer", "depth", "units", "detectors", "low", "high", "shuffled", "ratio1"]
    ]
    numbers += [
        [c.network, c.layer, c.depth, c.judged, c.found, *c.interval, c.shuffled, c.ratio1] for c in judged
    ]  # fmt: skip
    return Plot("counts", "Share of detectors by depth, with intervals and the shuffled network.", draw, numbers)


def plot_indices(label: str, number: int, units: Sequence[Unit], null: Sequence[Unit]) -> Plot:
    """The index of every unit by layer, beside the network with shuffled weights."""
    layers = list(dict.fromkeys(unit.layer for unit in units))
    rng = np.random.default_rng(0)

    def draw() -> Figure:
        figure = new_figure(70 + 62 * len(layers))
        axes = figure.subplots()
        for place, layer in enumerate(reversed(layers)):
            for members, offset, colour in ((units, 0.2, BLUE), (null, -0.22, GREY)):
                for passed in (False, True):
                    own = [u.index for u in members if u.layer == layer and bool(u.passed) == passed]
                    y = place + offset + rng.uniform(-0.13, 0.13, len(own))
                    style: dict[str, Any] = (
                        {"s": 34, "edgecolor": INK, "linewidth": 0.8} if passed else {"s": 9, "alpha": 0.6}
                    )
                    axes.scatter(own, y, color=VERMILLION if passed else colour, zorder=2 + passed, **style)
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(layers)), list(reversed(layers)))
        axes.set_xlim(min([-0.2, *(u.index for u in [*units, *null])]) - 0.03, 1.03)
        axes.set_xlabel("polarity index at ratio 4, best wavelength")
        add_legend(
            figure,
            [
                Line2D([], [], marker="o", linestyle="", color=BLUE, markersize=4, label="unit"),
                Line2D([], [], marker="o", linestyle="", color=GREY, markersize=4, label="shuffled weights"),
                Line2D([], [], marker="o", linestyle="", color=VERMILLION, markeredgecolor=INK, label="detector"),
            ],
        )
        return figure

    numbers: list[list[Any]] = [["weights", "layer", "unit", "index", "detector"]]
    numbers += [["trained", u.layer, u.channel, u.index, int(bool(u.passed))] for u in units]
    numbers += [["shuffled", u.layer, u.channel, u.index, int(bool(u.passed))] for u in null]
    return Plot(f"indices-{number}", f"Polarity index of every unit of {label}, by layer.", draw, numbers)


def plot_directions(label: str, number: int, units: Sequence[Unit]) -> Plot:
    """Preferred directions of all detectors, a ring a layer."""
    layers = list(dict.fromkeys(unit.layer for unit in units))

    def draw() -> Figure:
        figure = new_figure(300)
        axes: Any = figure.add_subplot(projection="polar")
        seen: dict[tuple[str, int], int] = {}
        for unit in units:
            key = unit.layer, unit.orientation
            nth = seen[key] = seen.get(key, -1) + 1
            angle = 2 * np.pi * unit.orientation / ORIENTATIONS + 0.06 * ((nth + 1) // 2) * (-1) ** nth
            n = layers.index(unit.layer)
            axes.plot(angle, n + 1, MARKS[n % 6], color=COLOURS[n % 6], markersize=7)
        axes.set_ylim(0, len(layers) + 0.4)
        axes.set_yticks(range(1, len(layers) + 1), [""] * len(layers))
        axes.set_xticks(np.pi / 4 * np.arange(8), ["right", "", "up", "", "left", "", "down", ""])
        add_legend(
            figure,
            [
                Line2D([], [], marker=MARKS[n % 6], linestyle="", color=COLOURS[n % 6], label=x)
                for n, x in enumerate(layers)
            ],
        )
        return figure

    numbers: list[list[Any]] = [["layer", "unit", "degrees"]]
    numbers += [[u.layer, u.channel, 360 * u.orientation / ORIENTATIONS] for u in units]
    return Plot(f"directions-{number}", f"Preferred directions of the detectors of {label}.", draw, numbers)


def plot_edges(label: str, number: int, units: Sequence[Unit]) -> Plot:
    """Response to the preferred boundary against that to the best edge."""

    def draw() -> Figure:
        figure = new_figure(260)
        axes = figure.subplots()
        for passed in (False, True):
            own = [unit for unit in units if bool(unit.passed) == passed]
            style: dict[str, Any] = {"s": 34, "edgecolor": INK, "linewidth": 0.8} if passed else {"s": 9, "alpha": 0.6}
            axes.scatter(
                [u.edge for u in own], [u.preferred for u in own], color=VERMILLION if passed else BLUE, **style
            )
        end = max([1e-6, *(u.edge for u in units), *(u.preferred for u in units)])
        axes.plot([0, end], [0, end], color=INK, linewidth=0.8, linestyle=":")
        axes.set_xlabel("response to the best luminance edge")
        axes.set_ylabel("to the preferred boundary")
        add_legend(
            figure,
            [
                Line2D([], [], marker="o", linestyle="", color=BLUE, markersize=4, label="unit"),
                Line2D([], [], marker="o", linestyle="", color=VERMILLION, markeredgecolor=INK, label="detector"),
                Line2D([], [], color=INK, linestyle=":", label="equal"),
            ],
        )
        return figure

    numbers: list[list[Any]] = [["layer", "unit", "edge", "boundary", "detector"]]
    numbers += [[u.layer, u.channel, u.edge, u.preferred, int(bool(u.passed))] for u in units]
    return Plot(f"edges-{number}", f"Response of units of {label} to boundaries and to edges.", draw, numbers)
