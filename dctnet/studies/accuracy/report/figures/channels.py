"""Accuracy against the number of channels."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from dctnet.studies.accuracy.report.arms import Arm, Draws, draws_of
from dctnet.studies.accuracy.report.figures.canvas import Picture, add_legend, is_narrow, new_figure, shown
from dctnet.studies.accuracy.report.figures.series import LABEL, SERIES, Series, mark, series_of, variant_markers
from dctnet.studies.bootstrap import Estimate

_WAYS = ("learned", "energy", "square", "triangle", "zigzag")
_PIXELS = ("rgb_matched", "rgb_same_pixels", "patches", "patches_dct")
# Series at the same number of channels stand side by side, these shares of an octave apart: from one to the next at
# most, from the first to the last at most, for 24 and 32 channels must not mingle.
_APART, _SPREAD = 0.075, 0.3


def accuracy_channels(arms: Sequence[Arm]) -> Picture:
    """The picture, one line for each way of choosing.

    Args:
        arms: All arms; those that read pixels become horizontal lines, unless they are variants.
    """
    numbers: list[list[str | int | float]] = [["series", "label", "arm", "channels", "top1", "low", "high", "seeds"]]
    for arm in sorted(arms, key=lambda a: list(SERIES).index(a.first.choose) if a.first.choose in SERIES else 99):
        if arm.first.channels or not arm.first.label:
            numbers.append([arm.first.choose, arm.first.label, arm.name, arm.first.channels, *_figures(arm.top1)])
    for draws in draws_of(arms):
        numbers.append(["random", draws.label, "all draws", draws.channels, *_figures(draws.top1)])
    best = max(arms, key=lambda arm: arm.top1.value)
    return Picture(
        "accuracy_channels",
        f"Top-1 accuracy against the number of channels, a line for each way of choosing, with 95 % intervals; "
        f"networks that read pixels are horizontal lines. Highest: {shown(best.name)}, {best.top1.value:.1f} %.",
        lambda width: _draw(arms, width),
        numbers,
    )


def _figures(estimate: Estimate) -> tuple[float, float, float, int]:
    return estimate.value, estimate.low, estimate.high, estimate.seeds


def _draw(arms: Sequence[Arm], width: int) -> Figure:
    figure = new_figure(width, 270 if is_narrow(width) else 380)
    axes = figure.subplots()
    counts = sorted({arm.first.channels for arm in arms} - {0}) or [3, 192]
    _scale(axes, counts, width)
    _lines(axes, arms)
    for choose in _PIXELS:
        for arm in arms:
            if arm.first.choose == choose and not arm.first.label:
                _level(axes, arm)
    axes.set(xlabel="channels, of 192", ylabel="top-1 accuracy, %")
    axes.grid(axis="y")
    axes.margins(y=0.06)
    # Those that are compared first, what they are compared with behind.
    handles = sorted(axes.get_legend_handles_labels()[0], key=lambda handle: isinstance(handle, Line2D))
    add_legend(figure, handles, 6)
    return figure


def _scale(axes: Axes, counts: Sequence[int], width: int) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(3, counts[0]) / 1.25, 192 * 1.25)
    usual = [count for count in (3, 6, 12, 24, 48, 96, 192) if not is_narrow(width) or count in (3, 12, 24, 48, 192)]
    # An unusual number has its tick where that leaves room.
    room = 1.35 if is_narrow(width) else 1.18
    ticks = usual + [count for count in counts if all(max(count / u, u / count) > room for u in usual)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _level(axes: Axes, arm: Arm) -> None:
    series = series_of(arm)
    axes.axhspan(arm.top1.low, arm.top1.high, color=series.colour, alpha=0.055, linewidth=0, zorder=1)
    axes.axhline(
        arm.top1.value, color=series.colour, linestyle=series.line, linewidth=1.4, label=series.called, zorder=1.5
    )


def _lines(axes: Axes, arms: Sequence[Arm]) -> None:
    """Of channels: a line for each way and variant, side by side where they have the same number of channels."""
    markers = variant_markers(arm for arm in arms if arm.first.channels)
    everything = [arm for arm in arms if arm.first.choose == "all" and not arm.first.label]
    groups: dict[tuple[str, str], list[Arm]] = {}
    for arm in sorted(arms, key=lambda arm: arm.first.channels):
        if arm.first.channels and arm.first.choose != "random":
            groups.setdefault((arm.first.choose, arm.first.label), []).append(arm)
    order = sorted(groups, key=lambda key: (key[1], list(SERIES).index(key[0]) if key[0] in SERIES else 99))
    draws = draws_of(arms)
    places = [*order, *sorted({("random", d.label) for d in draws})]
    apart = min(_APART, _SPREAD / max(len(places) - 1, 1))
    shift = {key: 2 ** (apart * (place - (len(places) - 1) / 2)) for place, key in enumerate(places)}
    for choose, label in order:
        group = groups[choose, label]
        if choose == "all":
            shift[choose, label] = 1
        # All ways meet at all channels.
        ends = everything if choose in _WAYS and not label else []
        _line(axes, group, ends, shift[choose, label], markers)
    for key in places[len(order) :]:
        _random(axes, [d for d in draws if d.label == key[1]], shift[key])


def _line(axes: Axes, group: Sequence[Arm], ends: Sequence[Arm], shift: float, markers: dict[str, str]) -> None:
    series, label = series_of(group[0]), shown(group[0].first.label, LABEL)
    places = [arm.first.channels * shift for arm in group]
    values = [arm.top1.value for arm in group]
    along = [*places, *(arm.first.channels for arm in ends)], [*values, *(arm.top1.value for arm in ends)]
    axes.plot(*along, color=series.colour, linewidth=1.3, alpha=0.75, linestyle="--" if label else "-")
    axes.errorbar(
        places, values, _reach([arm.top1 for arm in group]), elinewidth=1.3, ecolor=series.colour, zorder=3,
        label=f"{series.called}, {label}" if label else series.called, **mark(group[0], markers),
    )  # fmt: skip


def _random(axes: Axes, draws: Sequence[Draws], shift: float) -> None:
    """Every draw a dot, their mean a cross with the spread between draws."""
    series: Series = SERIES["random"]
    for each in draws:
        dots = [arm.top1.value for arm in each.arms]
        axes.plot([each.channels * shift * 1.03] * len(dots), dots, ".", color=series.colour, markersize=6)
    label = shown(draws[0].label, LABEL)
    axes.errorbar(
        [each.channels * shift for each in draws], [each.top1.value for each in draws],
        _reach([each.top1 for each in draws]), elinewidth=1.3, color=series.colour, marker=series.marker,
        markersize=7, linestyle=":", label="random, mean" + (f", {label}" if label else ""),
    )  # fmt: skip


def _reach(estimates: Sequence[Estimate]) -> list[list[float]]:
    """What error bars reach downwards and upwards."""
    return [[e.value - e.low for e in estimates], [e.high - e.value for e in estimates]]
