"""Figures of one group of trainings: accuracy of each band over the epochs, t50, reliance, and filtered errors."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dctnet.studies.laboratory.learning_order.order import Accuracies, t50
from dctnet.studies.page.page import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    Numbers,
    Plot,
    Style,
    add_legend,
    new_figure,
)

_STYLES: Sequence[Style] = [
    {"color": BLUE, "linestyle": "-", "marker": "o"},
    {"color": GREEN, "linestyle": "--", "marker": "s"},
    {"color": ORANGE, "linestyle": "-.", "marker": "^"},
    {"color": VERMILLION, "linestyle": "-", "marker": "v"},
    {"color": PURPLE, "linestyle": "--", "marker": "D"},
    {"color": GREY, "linestyle": "-.", "marker": "P"},
    {"color": INK, "linestyle": ":", "marker": "X"},
]


def _style(place: int) -> Style:
    return _STYLES[place % len(_STYLES)]


def _line(place: int) -> Style:
    style = _style(place)
    return {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.6}


def _legend(figure: Figure, curves: Accuracies) -> None:
    add_legend(figure, [Line2D([], [], label=str(band), **_style(place)) for place, band in enumerate(curves.bands)])


def _epochs(axes: Axes, curves: Accuracies) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=2))
    axes.set_xlim(curves.epochs[0] - 0.3, curves.epochs[-1] + 0.3)
    axes.set_xlabel("epoch")
    axes.grid()


def plot_only(curves: Accuracies, suffix: str) -> Plot:
    """Accuracy with one band alone."""
    mean = 100 * curves.only.mean((0, 3))
    numbers: Numbers = [["epoch", "band", "accuracy"]]
    for epoch, row in zip(curves.epochs.tolist(), mean.tolist(), strict=True):
        numbers += [[epoch, str(band), value] for band, value in zip(curves.bands, row, strict=True)]
    final = ", ".join(f"{band} {value:.0f} %" for band, value in zip(curves.bands, mean[-1], strict=True))
    alternative = f"Accuracy with one band alone over the epochs. After the last: {final}."
    return Plot(f"only{suffix}", alternative, lambda: _draw_only(curves, mean), numbers)


def _draw_only(curves: Accuracies, mean: np.ndarray) -> Figure:
    figure = new_figure(280)
    axes = figure.subplots()
    axes.axhline(100 * curves.chance, color=INK, linewidth=1, linestyle=":")
    times = t50(curves)
    for place in range(len(curves.bands)):
        axes.plot(curves.epochs, mean[:, place], **_line(place))
        own = times[:, place][~np.isnan(times[:, place])]
        if len(own):
            x = float(own.mean())
            y = float(np.interp(x, curves.epochs, mean[:, place]))
            axes.plot(x, y, color=_style(place)["color"], marker=_style(place)["marker"], markersize=8)
    axes.set_ylabel("accuracy with one band alone, %")
    axes.set_ylim(bottom=0)
    _epochs(axes, curves)
    _legend(figure, curves)
    return figure


def plot_times(curves: Accuracies, suffix: str) -> Plot:
    """t50 by band, for each seed."""
    times = t50(curves)
    numbers: Numbers = [["seed", "band", "t50"]]
    for seed, row in zip(curves.seeds, times.tolist(), strict=True):
        numbers += [[seed, str(band), value] for band, value in zip(curves.bands, row, strict=True)]
    means = ", ".join(
        f"{band} {np.mean(own[~np.isnan(own)]):.1f}"
        for band, own in zip(curves.bands, times.T, strict=True)
        if (~np.isnan(own)).any()
    )
    return Plot(
        f"t50{suffix}", f"Mean t50 of each band in epochs: {means}.", lambda: _draw_times(curves, times), numbers
    )


def _draw_times(curves: Accuracies, times: np.ndarray) -> Figure:
    figure = new_figure(230)
    axes = figure.subplots()
    known = ~np.isnan(times)
    places: list[int] = np.flatnonzero(known.any(0)).tolist()
    axes.plot(places, [times[known[:, place], place].mean() for place in places], color=INK, linewidth=1.2, alpha=0.6)
    for place in places:
        own = times[known[:, place], place]
        shifts = 0.07 * (np.arange(len(own)) - (len(own) - 1) / 2)
        style = _style(place)
        axes.plot(place + shifts, own, linestyle="", color=style["color"], marker=style["marker"], markersize=7)
    axes.set_xticks(range(len(curves.bands)), [_broken(str(band)) for band in curves.bands])
    axes.set_xlim(-0.5, len(curves.bands) - 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, None)
    axes.set(xlabel="band, cycles per pixel", ylabel="t50, epoch")
    axes.grid(axis="y")
    return figure


def _broken(name: str) -> str:
    """A band's name in two lines."""
    return name.replace(" ", "\n").replace("–", "–\n")


def plot_without(curves: Accuracies, suffix: str) -> Plot:
    """Accuracy lost without one band."""
    lost = 100 * (curves.whole.mean(-1)[..., None] - curves.without.mean(-1)).mean(0)
    numbers: Numbers = [["epoch", "band", "lost_points"]]
    for epoch, row in zip(curves.epochs.tolist(), lost.tolist(), strict=True):
        numbers += [[epoch, str(band), value] for band, value in zip(curves.bands, row, strict=True)]
    final = ", ".join(f"{band} {value:.0f}" for band, value in zip(curves.bands, lost[-1], strict=True))
    alternative = f"Percentage points of accuracy lost without one band, over the epochs. After the last: {final}."
    return Plot(f"without{suffix}", alternative, lambda: _draw_without(curves, lost), numbers)


def _draw_without(curves: Accuracies, lost: np.ndarray) -> Figure:
    figure = new_figure(250)
    axes = figure.subplots()
    axes.axhline(0, color=INK, linewidth=1, linestyle=":")
    for place in range(len(curves.bands)):
        axes.plot(curves.epochs, lost[:, place], **_line(place))
    axes.set_ylabel("lost without the band, points")
    _epochs(axes, curves)
    handles = [Line2D([], [], label=str(band), **_line(place)) for place, band in enumerate(curves.bands)]
    add_legend(figure, handles)
    return figure


def plot_errors(curves: Accuracies, suffix: str) -> Plot:
    """e_low and e_high, a panel for each width."""
    mean = curves.errors.mean(0)
    numbers: Numbers = [["epoch", "neighbours", "width", "e_low", "e_high"]]
    for place, (count, width) in enumerate(zip(curves.neighbours, curves.widths, strict=True)):
        rows = zip(curves.epochs.tolist(), mean[:, place].tolist(), strict=True)
        numbers += [[epoch, count, width, *values] for epoch, values in rows]
    ends = ", ".join(
        f"over {count} images {low:.2f} and {high:.2f}"
        for count, (low, high) in zip(curves.neighbours, mean[-1], strict=True)
    )
    alternative = f"Relative errors e_low and e_high over the epochs. After the last: {ends}."
    return Plot(f"filtering{suffix}", alternative, lambda: _draw_errors(curves, mean), numbers)


def _draw_errors(curves: Accuracies, mean: np.ndarray) -> Figure:
    figure = new_figure(210)
    panels = figure.subplots(1, len(curves.neighbours), sharey=True, squeeze=False)[0]
    for place, (axes, count) in enumerate(zip(panels, curves.neighbours, strict=True)):
        axes.plot(curves.epochs, mean[:, place, 0], color=BLUE, linewidth=1.6)
        axes.plot(curves.epochs, mean[:, place, 1], color=VERMILLION, linewidth=1.6, linestyle="--")
        axes.set_title(f"over {count} images", loc="left")
        _epochs(axes, curves)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))  # more labels would touch in a narrow panel
    panels[0].set_ylabel("relative error")
    panels[0].set_ylim(bottom=0)
    handles = [
        Line2D([], [], color=BLUE, label="e_low"),
        Line2D([], [], color=VERMILLION, linestyle="--", label="e_high"),
    ]
    add_legend(figure, handles)
    return figure
