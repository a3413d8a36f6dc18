"""Accuracy against the number of channels."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.studies.accuracy.report.arms import Arm, merge_draws
from dctnet.studies.accuracy.report.figures.series import legend_name, mark, order_of, series_of, variant_markers
from dctnet.studies.page.figures import Plot, Style, add_legend, is_narrow, new_figure, shorten

# Series with the same number of channels are drawn side by side. Horizontal distances in octaves: between two series,
# and between the first and the last; 24 and 32 channels must stay apart.
_APART, _SPREAD = 0.075, 0.3


def plot_channels(arms: Sequence[Arm]) -> Plot:
    """A line for each selection method and variant; horizontal lines for the pixel baselines.

    Args:
        arms: All arms, the most accurate first.
    """
    numbers: list[list[str | int | float]] = [["series", "label", "arm", "channels", "top1", "low", "high", "seeds"]]
    for arm in [*sorted(arms, key=order_of), *merge_draws(arms)]:
        first, e = arm.first, arm.top1
        if first.channels or not first.label:
            name = "all draws" if arm not in arms else arm.name
            numbers.append([first.choose, first.label, name, first.channels, e.value, e.low, e.high, e.seeds])
    return Plot(
        "accuracy_channels",
        "Top-1 accuracy against the number of channels with 95 % intervals, a line for each selection method; networks "
        f"on pixels are horizontal lines. Highest: {shorten(arms[0].name)}, {arms[0].top1.value:.1f} %.",
        lambda width: _draw(arms, width),
        numbers,
    )


def _draw(arms: Sequence[Arm], width: int) -> Figure:
    figure = new_figure(width, 270 if is_narrow(width) else 380)
    axes = figure.subplots()
    _scale(axes, sorted({arm.first.channels for arm in arms} - {0}) or [3], is_narrow(width))
    _lines(axes, arms)
    for arm in sorted(arms, key=order_of):
        if not arm.first.channels and not arm.first.label:
            series = series_of(arm)
            axes.axhspan(arm.top1.low, arm.top1.high, color=series.colour, alpha=0.055, linewidth=0, zorder=1)
            style: Style = {"color": series.colour, "linestyle": series.line, "linewidth": 1.4, "zorder": 1.5}
            axes.axhline(arm.top1.value, label=series.name, **style)
    axes.set(xlabel=f"channels, of {NUM_CHANNELS}", ylabel="top-1 accuracy, %")
    axes.grid(axis="y")
    axes.margins(y=0.06)
    # Channels first, baselines after them.
    handles = sorted(axes.get_legend_handles_labels()[0], key=lambda handle: isinstance(handle, Line2D))
    add_legend(figure, handles)
    return figure


def _scale(axes: Axes, counts: Sequence[int], narrow: bool) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(3, counts[0]) / 1.25, NUM_CHANNELS * 1.25)
    usual = [3, 12, 24, 48, NUM_CHANNELS] if narrow else [3, 6, 12, 24, 48, 96, NUM_CHANNELS]
    # Other numbers of channels get a tick if its label has room.
    room = 1.35 if narrow else 1.18
    ticks = usual + [count for count in counts if all(max(count / u, u / count) > room for u in usual)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _lines(axes: Axes, arms: Sequence[Arm]) -> None:
    on_channels = [arm for arm in arms if arm.first.channels]
    everything = [arm for arm in on_channels if arm.first.choose == "all" and not arm.first.label]
    groups: dict[str, list[Arm]] = {}
    for arm in sorted(on_channels, key=lambda arm: (arm.first.label, order_of(arm), arm.first.channels)):
        groups.setdefault(legend_name(arm), []).append(arm)
    apart = min(_APART, _SPREAD / max(len(groups) - 1, 1))
    for position, group in enumerate(groups.values()):
        shift = 2 ** (apart * (position - (len(groups) - 1) / 2))
        first = group[0].first
        # All methods meet at all channels.
        ends = [] if first.choose in ("random", "all") or first.label else everything
        _line(axes, group, ends, 1 if group == everything else shift, variant_markers(on_channels))


def _line(axes: Axes, group: Sequence[Arm], ends: Sequence[Arm], shift: float, variants: dict[str, str]) -> None:
    """One series with error bars; for random selections their mean, and a dot for each selection."""
    series, label = series_of(group[0]), group[0].first.label
    name, draws = legend_name(group[0]), merge_draws(group)
    if draws:
        dots = [(arm.first.channels * shift * 1.03, arm.top1.value) for arm in group]
        axes.plot(*zip(*dots, strict=True), ".", color=series.colour, markersize=6)
        name += ", mean"
    points = [(arm.first.channels * shift, arm.top1) for arm in draws or group]
    x, values = [x for x, _ in points], [e.value for _, e in points]
    line = [*x, *(arm.first.channels for arm in ends)], [*values, *(arm.top1.value for arm in ends)]
    axes.plot(*line, color=series.colour, linewidth=1.3, alpha=0.75, linestyle="--" if label else series.line)
    reach = [[e.value - e.low for _, e in points], [e.high - e.value for _, e in points]]
    style: Style = {"elinewidth": 1.3, "ecolor": series.colour, "zorder": 3, **mark(group[0], variants)}
    axes.errorbar(x, values, reach, label=name, **style)
