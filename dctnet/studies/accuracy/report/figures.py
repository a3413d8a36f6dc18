"""Accuracy against channels and against cost, and differences to the baselines; arms are the most accurate first."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator, ScalarFormatter

from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.studies.accuracy.report.arms import Arm, compared_baselines, merge_draws, pareto_front, verdict
from dctnet.studies.accuracy.report.series import SERIES, legend_name, marks, order_of, series_of
from dctnet.studies.page import page
from dctnet.studies.page.page import Numbers, Plot, Style, add_legend, new_figure, shorten

# Costs of an image by column of the rows: label with the unit, and factor to that unit.
COSTS = {"gmac": ("GMAC an image", 1.0), "bytes": ("kilobytes an image, before compression", 1e-3)}
# Series with the same number of channels are drawn side by side. Horizontal distances in octaves: between two series,
# and between the first and the last; 24 and 32 channels must stay apart.
_APART, _SPREAD = 0.11, 0.35
_FRONT_STYLE: Style = {"color": page.INK, "linewidth": 1.1, "alpha": 0.6}
_VERDICTS: dict[str, Style] = {
    "above": {"color": page.BLUE, "marker": "o"},
    "below": {"color": page.VERMILLION, "marker": "o"},
    "not distinguishable": {"color": page.GREY, "marker": "o", "markerfacecolor": "none"},
}


def plot_channels(arms: Sequence[Arm]) -> Plot:
    """A line for each selection method and variant; horizontal lines for the pixel baselines."""
    numbers: Numbers = [["series", "label", "arm", "channels", "top1", "low", "high", "seeds"]]
    for arm in [*sorted(arms, key=order_of), *merge_draws(arms)]:
        first, e = arm.first, arm.top1
        if first.channels or not first.label:
            name = "all draws" if arm not in arms else arm.name
            numbers.append([first.choose, first.label, name, first.channels, e.value, e.low, e.high, e.seeds])
    return Plot(
        "accuracy_channels",
        "Top-1 accuracy against the number of channels with 95 % intervals, a line for each selection method; networks "
        f"on pixels are horizontal lines. Highest: {shorten(arms[0].name)}, {arms[0].top1.value:.1f} %.",
        lambda: _draw_channels(arms),
        numbers,
    )


def _draw_channels(arms: Sequence[Arm]) -> Figure:
    figure = new_figure(320)
    axes = figure.subplots()
    _scale_channels(axes, sorted({arm.first.channels for arm in arms} - {0}) or [3])
    _draw_methods(axes, [arm for arm in arms if arm.first.channels])
    for arm in sorted(arms, key=order_of):
        if not arm.first.channels and not arm.first.label:
            series = series_of(arm)
            axes.axhspan(arm.top1.low, arm.top1.high, color=series.colour, alpha=0.055, linewidth=0, zorder=1)
            style: Style = {"color": series.colour, "linestyle": series.line, "linewidth": 1.4, "zorder": 1.5}
            axes.axhline(arm.top1.value, label=series.name, **style)
    axes.set(xlabel=f"channels, of {NUM_CHANNELS}", ylabel="top-1 accuracy, %")
    axes.grid(axis="y")
    # Channels first, baselines after them.
    add_legend(figure, sorted(axes.get_legend_handles_labels()[0], key=lambda handle: isinstance(handle, Line2D)))
    return figure


def _scale_channels(axes: Axes, counts: Sequence[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(3, counts[0]) / 1.25, NUM_CHANNELS * 1.25)
    usual = [3, 6, 12, 24, 48, 96, NUM_CHANNELS]
    # Other numbers of channels get a tick if its label has room.
    ticks = usual + [count for count in counts if all(max(count / u, u / count) > 1.3 for u in usual)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _draw_methods(axes: Axes, arms: Sequence[Arm]) -> None:
    styles = marks(arms)
    everything = [arm for arm in arms if arm.first.choose == "all" and not arm.first.label]
    groups: dict[str, list[Arm]] = {}
    for arm in sorted(arms, key=lambda arm: (arm.first.label, order_of(arm), arm.first.channels)):
        groups.setdefault(legend_name(arm), []).append(arm)
    for name, group in groups.items():
        # All methods meet at all channels.
        ends = [] if group[0].first.choose in ("random", "all") or group[0].first.label else everything
        counts = {arm.first.channels for arm in group}
        places = {count: count if group == everything else _place(name, count, groups) for count in counts}
        _draw_series(axes, group, ends, places, {"label": name, **styles[name]})


def _place(name: str, count: int, groups: Mapping[str, Sequence[Arm]]) -> float:
    """Where a series is drawn that has arms with a number of channels: beside the other series that have such arms."""
    present = [each for each, group in groups.items() if any(arm.first.channels == count for arm in group)]
    apart = min(_APART, _SPREAD / max(len(present) - 1, 1))
    return count * 2 ** (apart * (present.index(name) - (len(present) - 1) / 2))


def _draw_series(
    axes: Axes, group: Sequence[Arm], ends: Sequence[Arm], places: Mapping[int, float], style: Style
) -> None:
    """One series with error bars; for random selections their mean, and a dot for each selection."""
    series = series_of(group[0])
    if draws := merge_draws(group):
        dots = [(places[arm.first.channels] * 1.03, arm.top1.value) for arm in group]
        axes.plot(*zip(*dots, strict=True), ".", color=series.colour, markersize=6)
        style["label"] += ", mean"
    points = draws or group
    x, values = [places[arm.first.channels] for arm in points], [arm.top1.value for arm in points]
    line = [*x, *(arm.first.channels for arm in ends)], [*values, *(arm.top1.value for arm in ends)]
    pattern = "--" if group[0].first.label else series.line
    axes.plot(*line, color=series.colour, linewidth=1.3, alpha=0.75, linestyle=pattern)
    reach = [[arm.top1.value - arm.top1.low for arm in points], [arm.top1.high - arm.top1.value for arm in points]]
    axes.errorbar(x, values, reach, elinewidth=1.3, ecolor=series.colour, zorder=3, **style)


def plot_cost(arms: Sequence[Arm], column: str) -> Plot:
    """A point for each arm and a step line for the Pareto front; ``column`` is one of ``COSTS``."""
    label, scale = COSTS[column]
    costs = {arm.name: getattr(arm.first, column) * scale for arm in arms}
    front = pareto_front(arms, column)
    numbers: Numbers = [["arm", label, "top1", "low", "high", "seeds", "on_front"]]
    for arm in sorted(arms, key=lambda arm: costs[arm.name]):
        e = arm.top1
        numbers.append([arm.name, costs[arm.name], e.value, e.low, e.high, e.seeds, "yes" if arm in front else "no"])
    names = ", ".join(f"{shorten(arm.name)} {arm.top1.value:.1f} %" for arm in front)
    return Plot(
        f"accuracy_{column}",
        f"Top-1 accuracy against {label}, a point for each arm. Pareto front, cheapest first: {names}.",
        lambda: _draw_cost(arms, front, costs, label),
        numbers,
    )


def _draw_cost(arms: Sequence[Arm], front: Sequence[Arm], costs: dict[str, float], label: str) -> Figure:
    figure = new_figure(320)
    axes = figure.subplots()
    if 0 < 2 * min(costs.values()) < max(costs.values()):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    styles = marks(arms)
    for arm in arms:
        x, e, style = costs[arm.name], arm.top1, styles[legend_name(arm)]
        axes.vlines(x, e.low, e.high, color=style["color"], alpha=0.25, linewidth=1)
        emphasis = {"zorder": 5} if arm in front else {"zorder": 3, "alpha": 0.55}
        axes.plot(x, e.value, **emphasis, **style)
    # The front begins at the bottom left and ends at the right edge.
    (low, high), right = axes.get_ylim(), axes.get_xlim()[1]
    steps, values = [costs[arm.name] for arm in front], [arm.top1.value for arm in front]
    axes.plot([steps[0], *steps, right], [low, *values, values[-1]], drawstyle="steps-post", zorder=2, **_FRONT_STYLE)
    axes.set(xlabel=label, ylabel="top-1 accuracy, %", ylim=(low, high), xlim=(None, right))
    axes.grid()
    handles = [Line2D([], [], label=name, **style) for name, style in styles.items()]
    add_legend(figure, [*handles, Line2D([], [], label="Pareto front", **_FRONT_STYLE)])
    return figure


def plot_differences(arms: Sequence[Arm]) -> Plot:
    """A panel for each baseline, with a line for each arm; at least one arm is compared with a baseline."""
    numbers: Numbers = [["arm", "baseline", "difference", "low", "high", "seeds", "verdict"]]
    counts = []
    for baseline in compared_baselines(arms):
        found = [(arm.name, arm.against[baseline]) for arm in arms if baseline in arm.against]
        for name, e in sorted(found, key=lambda pair: -pair[1].value):
            numbers.append([name, baseline, e.value, e.low, e.high, e.seeds, verdict(e)])
        each = [f"{sum(verdict(e) == which for _, e in found)} {which}" for which in _VERDICTS]
        counts.append(f"Against {baseline}: {', '.join(each)}.")
    return Plot(
        "differences",
        f"Paired differences in top-1 accuracy with 95 % intervals. {' '.join(counts)}",
        lambda: _draw_differences([arm for arm in arms if arm.against]),
        numbers,
    )


def _draw_differences(arms: Sequence[Arm]) -> Figure:
    figure = new_figure(23 * len(arms) + 90)
    baselines = compared_baselines(arms)
    panels = figure.subplots(1, len(baselines), squeeze=False, sharey=True)[0]
    for panel, baseline in zip(panels, baselines, strict=True):
        panel.axvline(0, color=page.INK, linewidth=1.1)
        for y, arm in enumerate(arms):
            if e := arm.against.get(baseline):
                reach = [[e.value - e.low], [e.high - e.value]]
                panel.errorbar(e.value, y, xerr=reach, elinewidth=1.7, **_VERDICTS[verdict(e)])
        panel.set_title(f"minus\n{SERIES[baseline].name}", loc="left")
        panel.spines["left"].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.grid(axis="x")
    panels[0].set_yticks(range(len(arms)), [shorten(arm.name, 20) for arm in arms])
    panels[0].set_ylim(len(arms) - 0.4, -0.6)
    figure.supxlabel("percentage points of top-1", fontsize="medium")
    add_legend(figure, [Line2D([], [], label=which, **style) for which, style in _VERDICTS.items()])
    return figure
