"""Figures: low channels kept by arm, partial rank correlations, and each channel against each cause."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dctnet.studies.intervals import Interval
from dctnet.studies.laboratory.gate_causes.arms import ARM_OF, ARMS
from dctnet.studies.laboratory.gate_causes.causes import CAUSES, Runs, kept_in, low_kept
from dctnet.studies.laboratory.gate_causes.data import KEEP
from dctnet.studies.page.page import BLUE, GREY, INK, VERMILLION, Numbers, Plot, add_legend, new_figure

_AXES = {
    "probe_accuracy": "information: accuracy\nof this channel alone",
    "log_energy": "energy: log₂ of\nthe variance",
    "smoothness": "smoothness: correlation\nof neighbouring blocks",
    "rho": "frequency,\ncycles per pixel",
}


def plot_arms(runs: Runs) -> Plot:
    """Low channels kept: a row for each arm, a dot for each seed."""
    numbers: Numbers = [["arm", "seed", "low_kept"]]
    for name, trainings in runs.items():
        numbers += [[name, seed, low_kept(run)] for seed, run in trainings.items()]
    means = ", ".join(f"{arm.label} {kept_in(runs, arm.name).value:.1f}" for arm in ARMS)
    return Plot("arms", f"Low channels kept of {KEEP} by arm. Means: {means}.", lambda: _draw_arms(runs), numbers)


def _draw_arms(runs: Runs) -> Figure:
    figure = new_figure(300)
    axes = figure.subplots()
    axes.axvline(KEEP / 2, color=INK, linewidth=1, linestyle=":")
    for y, arm in enumerate(ARMS):
        colour = BLUE if arm.scale == "channel" else VERMILLION
        values = [low_kept(run) for run in runs[arm.name].values()]
        # Trainings with the same number are side by side.
        shifts = [0.09 * (values[:place].count(value)) for place, value in enumerate(values)]
        axes.plot(values, y - 0.12 - np.array(shifts), "o", color=colour, markersize=3.5, alpha=0.6)
        _bar(axes, kept_in(runs, arm.name), y + 0.12, colour)
    axes.set_yticks(range(len(ARMS)), [arm.label for arm in ARMS])
    axes.set_ylim(len(ARMS) - 0.4, -0.9)
    axes.set_xlim(-0.5, KEEP + 0.5)
    axes.set_xticks(range(0, KEEP + 1, 2))
    axes.set_xlabel(f"low channels kept, of {KEEP}")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    return figure


def _bar(axes: Axes, mean: Interval, y: float, colour: str) -> None:
    reach = None if np.isnan(mean.low) else [[mean.value - mean.low], [mean.high - mean.value]]
    axes.errorbar(mean.value, y, xerr=reach, color=colour, marker="D", markersize=5, elinewidth=1.8)


def plot_partials(partials: Mapping[str, Mapping[str, Interval]]) -> Plot:
    """Partial rank correlations with each cause, by arm; the first is the natural one."""
    numbers: Numbers = [["arm", "cause", "correlation", "low", "high"]]
    for arm, found in partials.items():
        numbers += [[arm, CAUSES[name], each.value, each.low, each.high] for name, each in found.items()]
    natural = ", ".join(f"{CAUSES[name]} {each}" for name, each in partials["natural"].items())
    return Plot(
        "partial_correlations",
        f"Partial rank correlations of the keep probability. Natural arm: {natural}.",
        lambda: _draw_partials(partials),
        numbers,
    )


def _draw_partials(partials: Mapping[str, Mapping[str, Interval]]) -> Figure:
    figure = new_figure(190)
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=1, linestyle=":")
    colours = dict(zip(partials, (BLUE, VERMILLION), strict=True))
    for place, (arm, found) in enumerate(partials.items()):
        for y, name in enumerate(CAUSES):
            _bar(axes, found[name], y + 0.26 * (place - 0.5), colours[arm])
    axes.set_yticks(range(len(CAUSES)), list(CAUSES.values()))
    axes.set_ylim(len(CAUSES) - 0.5, -0.5)
    axes.set_xlim(-1, 1)
    axes.set_xlabel("partial rank correlation with the keep probability")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    handles = [Line2D([], [], color=colours[arm], marker="D", label=ARM_OF[arm].label) for arm in partials]
    add_legend(figure, handles)
    return figure


def plot_channels(runs: Runs) -> Plot:
    """Keep probability of each channel of the natural arm against each cause."""
    numbers: Numbers = [["seed", *CAUSES, "keep_probability", "low"]]
    for seed, run in runs["natural"].items():
        columns = [run[name].tolist() for name in (*CAUSES, "keep_probability", "low")]
        numbers += [[seed, *values] for values in zip(*columns, strict=True)]
    return Plot(
        "channels",
        "Keep probability of each channel of the natural arm against information, energy, smoothness and frequency.",
        lambda: _draw_channels(runs),
        numbers,
    )


def _draw_channels(runs: Runs) -> Figure:
    figure = new_figure(400)
    panels = figure.subplots(2, 2, sharey=True).flat
    for axes, (name, label) in zip(panels, _AXES.items(), strict=True):
        for run in runs["natural"].values():
            for low, style in ((1, {"color": BLUE, "marker": "o"}), (0, {"color": GREY, "marker": "^"})):
                chosen = run["low"] == low
                x, y = run[name][chosen], run["keep_probability"][chosen]
                axes.plot(x, y, linestyle="", markersize=4, alpha=0.6, **style)
        axes.set_xlabel(label)
        axes.set_yticks([0, 0.5, 1])
        axes.grid()
    figure.supylabel("keep probability", fontsize="medium")
    handles = [
        Line2D([], [], color=BLUE, marker="o", linestyle="", label="low half"),
        Line2D([], [], color=GREY, marker="^", linestyle="", label="high half"),
    ]
    add_legend(figure, handles)
    return figure
