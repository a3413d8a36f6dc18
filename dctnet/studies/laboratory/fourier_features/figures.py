"""Figures of the study."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dctnet.studies.intervals import mean_interval
from dctnet.studies.laboratory.figures import COLOURS, MARKS, ends, ordered_colours, plain_ticks
from dctnet.studies.laboratory.fourier_features.mappings import DISTRIBUTIONS
from dctnet.studies.laboratory.fourier_features.results import Sweep, psnr_by_draw
from dctnet.studies.laboratory.study import Measurement
from dctnet.studies.page.page import BLUE, GREY, INK, VERMILLION, add_legend, new_figure


def draw_sweep(sweep: Sweep, floor: float) -> Figure:
    """PSNR over σ, with bicubic interpolation."""
    figure = new_figure(290)
    axes = figure.subplots()
    handles: list[Any] = []
    for values, name, colour, mark in (
        (sweep.train, "known pixels", BLUE, "o"),
        (sweep.test, "other pixels", VERMILLION, "s"),
    ):
        handles += axes.plot(sweep.sigmas, values.mean(0), color=colour, marker=mark, label=name)
        if len(values) > 1:
            axes.fill_between(sweep.sigmas, *ends(values), color=colour, alpha=0.15, lw=0)
    handles.append(axes.axhline(floor, color=GREY, linestyle="--", label="bicubic, other pixels"))
    axes.set(xscale="log", xlabel="σ, cycles per image", ylabel="PSNR, dB")
    axes.minorticks_off()
    axes.set_xticks(sweep.sigmas, [f"{sigma:g}" for sigma in sweep.sigmas])
    axes.grid(True)
    add_legend(figure, handles)
    return figure


def draw_pictures(shown: Mapping[str, np.ndarray]) -> Figure:
    """Images side by side, four to a row."""
    rows = -(-len(shown) // 4)
    figure = new_figure(140 * rows)
    grid = figure.subplots(rows, 4, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (name, image) in zip(grid.flat, shown.items(), strict=False):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(name)
    return figure


def draw_distributions(rows: Sequence[Measurement], sweep: Sweep, compared: Sequence[float]) -> Figure:
    """Test PSNR of each distribution, grouped by deviation."""
    figure = new_figure(260)
    axes = figure.subplots()
    handles: list[Any] = []
    for place, name in enumerate(DISTRIBUTIONS):
        means = [mean_interval(psnr_by_draw(rows, name, float(sigma), "test_psnr")) for sigma in compared]
        x = np.arange(len(compared)) + 0.15 * (place - 1)
        value = np.array([each.value for each in means])
        errors = [[each.value - each.low for each in means], [each.high - each.value for each in means]]
        style: dict[str, Any] = {"color": COLOURS[place], "marker": MARKS[place], "linestyle": "", "capsize": 4}
        handles.append(axes.errorbar(x, value, errors if means[0].seeds > 1 else None, label=name, **style))
    axes.set_xticks(range(len(compared)), [f"{sigma:g}" for sigma in compared])
    axes.set(xlabel="standard deviation, cycles per image", ylabel="test PSNR, dB")
    axes.grid(True, axis="y")
    add_legend(figure, handles)
    return figure


def draw_eigenvalues(shown: Mapping[str, np.ndarray]) -> Figure:
    """λ over frequency, logarithmic."""
    figure = new_figure(300)
    axes = figure.subplots()
    handles: list[Any] = []
    for place, (name, values) in enumerate(shown.items()):
        style: dict[str, Any] = {"color": COLOURS[place % 6], "marker": MARKS[place % 6], "markersize": 4}
        label = "no mapping" if name == "none" else name
        handles += axes.plot(np.arange(1, len(values)), values[1:], label=label, **style)
    axes.set(xscale="log", yscale="log", xlabel="frequency k, cycles", ylabel="eigenvalue λ")
    _octave_ticks(axes, len(values) - 1)
    add_legend(figure, handles)
    return figure


def _octave_ticks(axes: Any, highest: int) -> None:
    axes.minorticks_off()
    octaves = [2**n for n in range(highest.bit_length())]
    axes.set_xticks(octaves, [str(k) for k in octaves])
    plain_ticks(axes.yaxis)
    axes.grid(True)


def draw_training(shown: Mapping[tuple[str, float], Sequence[Measurement]]) -> Figure:
    """Measured and predicted residual over iterations, a panel for each training."""
    figure = new_figure(430)
    grid = figure.subplots(-(-len(shown) // 2), 2, squeeze=False, sharex=True, sharey=True)
    highest = max(int(row["k"]) for rows in shown.values() for row in rows)
    colours = ordered_colours(highest)
    for axes, ((name, amplitude), rows) in zip(grid.flat, shown.items(), strict=False):
        for k in range(1, highest + 1):
            color = colours(k - 1)
            for kind in ("measured", "predicted"):
                line = [
                    (row["x"], row["value"]) for row in rows if row["k"] == k and row["measure"] == kind and row["x"]
                ]
                x, y = np.array(line, float).T
                if kind == "measured":
                    axes.plot(x, y, color=color)
                else:
                    axes.plot(x[::4], y[::4], color=color, linestyle="", marker="o", markersize=3.5)
        axes.set(xscale="log", ylim=(-0.2, 1.2), title=f"{name}, amplitude {amplitude:g}")
        plain_ticks(axes.xaxis)
        axes.grid(True)
    figure.supxlabel("iteration", fontsize="medium")
    figure.supylabel("part not learned", fontsize="medium")
    places = matplotlib.colors.BoundaryNorm(np.arange(highest + 1) + 0.5, highest)
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(places, colours), ax=grid, label="frequency k, cycles")
    bar.set_ticks(range(1, highest + 1))
    bar.ax.minorticks_off()
    add_legend(figure, [Line2D([], [], color=INK, label="measured"),
                        Line2D([], [], color=INK, linestyle="", marker="o", label="predicted")])  # fmt: skip
    return figure


def draw_window(halves: Mapping[str, np.ndarray]) -> Figure:
    """Iterations to half over frequency."""
    figure = new_figure(300)
    axes = figure.subplots()
    handles: list[Any] = []
    for place, (name, values) in enumerate(halves.items()):
        style: dict[str, Any] = {"color": COLOURS[place % 6], "marker": MARKS[place % 6], "markersize": 4}
        handles += axes.plot(np.arange(1, len(values) + 1), values, label=name, **style)
    axes.set(xscale="log", yscale="log", xlabel="frequency k, cycles", ylabel="iterations to half")
    _octave_ticks(axes, len(values))
    add_legend(figure, handles)
    return figure


def draw_signals(errors: Mapping[float, Mapping[str, np.ndarray]]) -> Figure:
    """Relative error over the mappings, a line for each spectrum."""
    figure = new_figure(290)
    axes = figure.subplots()
    handles: list[Any] = []
    for place, (alpha, each) in enumerate(errors.items()):
        means = [mean_interval(values) for values in each.values()]
        value = np.array([mean.value for mean in means])
        spread = [[mean.value - mean.low for mean in means], [mean.high - mean.value for mean in means]]
        style: dict[str, Any] = {"color": COLOURS[place], "marker": MARKS[place], "capsize": 4}
        x = np.arange(len(each)) + 0.06 * (place - 1)
        handles.append(axes.errorbar(x, value, spread if means[0].seeds > 1 else None, label=f"α = {alpha:g}", **style))
        axes.set_xticks(range(len(each)), [name.removeprefix("power ") for name in each])
    axes.set(xlabel="p of the mapping", ylabel="relative error", yscale="log")
    plain_ticks(axes.yaxis)
    axes.grid(True, axis="y")
    add_legend(figure, handles)
    return figure
