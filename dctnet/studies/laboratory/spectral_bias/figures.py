"""Figures of the study."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dctnet.studies.intervals import mean_interval
from dctnet.studies.laboratory.figures import COLOURS, MARKS, ends, ordered_colours, plain_ticks
from dctnet.studies.laboratory.spectral_bias.results import Curves
from dctnet.studies.page.page import GREY, Plot, add_legend, new_figure


def plot(
    name: str,
    alternative: str,
    numbers: Sequence[Sequence[Any]],
    draw: Callable[..., Figure],
    content: Mapping[Any, Any],
) -> Plot:
    """A plot of some content."""
    return Plot(name, alternative, partial(draw, content), numbers)


def draw_heat(panels: Mapping[str, Curves]) -> Figure:
    """Share learned (colour) over frequency and iteration, a panel each, two to a row."""
    rows = (len(panels) + 1) // 2
    figure = new_figure(70 + 210 * rows)
    grid = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey=True)
    for axes, (name, curves) in zip(grid.flat, panels.items(), strict=False):
        steps = np.maximum(curves.x, 0.7)
        picture = axes.pcolormesh(
            np.arange(len(curves.k)), steps, np.clip(curves.mean, 0, 1), cmap="cividis", vmin=0, vmax=1, rasterized=True
        )
        axes.set(yscale="log", ylim=(steps[-1], min(10, steps[-1] / 2)), title=name)
        plain_ticks(axes.yaxis)
        _mark_places(axes, curves.k)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("frequency, periods", fontsize="medium")
    figure.supylabel("iteration", fontsize="medium")
    figure.colorbar(picture, ax=grid, location="top", label="share learned", aspect=40, shrink=0.6)
    return figure


def _mark_places(axes: Axes, k: np.ndarray) -> None:
    every = -(-len(k) // 5)
    shown = [place for place in range(len(k)) if (len(k) - 1 - place) % every == 0]
    axes.set_xticks(shown, [f"{k[place]:g}" for place in shown])


def draw_half(lines: Mapping[str, Curves]) -> Figure:
    """Iterations to half against frequency, logarithmic."""
    figure = new_figure(300)
    axes = figure.subplots()
    handles: list[Any] = []
    for place, (name, curves) in enumerate(lines.items()):
        half = curves.iterations(0.5)
        known = np.isfinite(half).all(0)
        means = [mean_interval(each, log=True) for each in half[:, known].T]
        value = np.array([each.value for each in means])
        ends = np.array([[each.low for each in means], [each.high for each in means]])
        style: dict[str, Any] = {"color": COLOURS[place % 6], "marker": MARKS[place % 6], "markersize": 5, "capsize": 3}
        shift = 1.02 ** (place - (len(lines) - 1) / 2)  # moves intervals at the same frequency apart
        errors = np.abs(ends - value) if means and means[0].seeds > 1 else None
        handles.append(axes.errorbar(curves.k[known] * shift, value, errors, label=name, **style))
    axes.set(xscale="log", yscale="log", xlabel="frequency, periods", ylabel="iteration to half")
    axes.set(xlim=(curves.k[0] * 0.85, curves.k[-1] * 1.15), ylim=(min(10, curves.x[-1] / 2), curves.x[-1] * 1.1))
    shown: list[float] = []
    for k in curves.k:
        if not shown or k > 1.25 * shown[-1]:
            shown.append(k)
    axes.set_xticks(shown, [f"{k:g}" for k in shown])
    axes.minorticks_off()
    plain_ticks(axes.yaxis)
    axes.grid(True)
    add_legend(figure, handles)
    return figure


def draw_perturbed(panels: Mapping[str, Curves]) -> Figure:
    """A measure against the distance, a line for each frequency that was learned, a panel each."""
    rows = (len(panels) + 1) // 2
    figure = new_figure(70 + 200 * rows)
    grid = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey=True)
    every = next(iter(panels.values())).k
    colours = ordered_colours(len(every))
    for axes, (name, curves) in zip(grid.flat, panels.items(), strict=False):
        for place in np.flatnonzero(curves.values[:, 0].min(0) >= 0.5):
            color = colours(int(place))
            axes.plot(curves.x, curves.mean[:, place], color=color, marker="o", markersize=3)
        axes.set(ylim=(-0.25, 1.75), title=name)
        axes.grid(True)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    figure.supxlabel("distance from the trained parameters", fontsize="medium")
    places = matplotlib.colors.BoundaryNorm(np.arange(len(every) + 1) - 0.5, len(every))
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(places, colours), ax=grid, label="frequency, periods")
    bar.set_ticks(range(len(every)), labels=[f"{k:g}" for k in every])
    bar.ax.minorticks_off()
    return figure


def draw_labels(noises: Mapping[float, Mapping[str, Curves]]) -> Figure:
    """Share of the noise that is learned, and test error, over iterations."""
    figure = new_figure(420)
    above, below = figure.subplots(2, 1, sharex=True)
    handles: list[Any] = []
    for place, (k, each) in enumerate(noises.items()):
        colour = COLOURS[(place - 1) % 6] if k else GREY
        name = f"noise of frequency {k:g}" if k else "no noise"
        for axes, measure in ((above, "label_noise"), (below, "label_error")):
            curves = each[measure]
            if not curves.x.size:
                continue
            past = curves.x >= min(10, curves.x[-1] / 2)
            style: dict[str, Any] = {"color": colour, "linestyle": "-" if k else "--"}
            (line,) = axes.plot(curves.x[past], curves.mean[past, 0], label=name, **style)
            if len(curves.values) > 1:
                axes.fill_between(curves.x[past], *ends(curves.values[:, past, 0]), color=colour, alpha=0.15, lw=0)
        handles.append(line)
    above.set(ylabel="share of the noise", ylim=(-0.1, 1.1))
    below.set(xscale="log", xlabel="iteration", ylabel="test error", ylim=(0, None))
    plain_ticks(below.xaxis)
    for axes in (above, below):
        axes.grid(True)
    add_legend(figure, handles)
    return figure
