"""Accuracy against the cost of an image, with the Pareto front."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from dctnet.studies.accuracy.report.arms import Arm, format_accuracy, pareto_front
from dctnet.studies.accuracy.report.figures.series import legend_name, mark, order_of, variant_markers
from dctnet.studies.page.figures import INK, Plot, Style, add_legend, is_narrow, new_figure, shorten

_FRONT_STYLE: Style = {"color": INK, "linewidth": 1.1, "alpha": 0.6}


@dataclass(frozen=True)
class Cost:
    """A cost of one image: column of the rows, label with the unit, factor from the column to that unit."""

    column: str
    label: str
    scale: float = 1.0

    def of(self, arm: Arm) -> float:
        """The cost of one image of an arm."""
        return getattr(arm.first, self.column) * self.scale


GMAC = Cost("gmac", "GMAC an image")
BYTES = Cost("bytes", "kilobytes an image, before compression", 1e-3)


def plot_cost(arms: Sequence[Arm], cost: Cost) -> Plot:
    """A point for each arm and a step line for the Pareto front.

    Args:
        arms: All arms.
        cost: The horizontal axis.
    """
    front = pareto_front(arms, cost.of)
    numbers: list[list[str | int | float]] = [["arm", cost.label, "top1", "low", "high", "seeds", "on_front"]]
    for arm in sorted(arms, key=cost.of):
        e = arm.top1
        numbers.append([arm.name, cost.of(arm), e.value, e.low, e.high, e.seeds, "yes" if arm in front else "no"])
    names = ", ".join(f"{shorten(arm.name)} {arm.top1.value:.1f} %" for arm in front)
    return Plot(
        f"accuracy_{cost.column}",
        f"Top-1 accuracy against {cost.label}, a point for each arm. Pareto front, cheapest first: {names}.",
        lambda width: _draw(arms, front, cost, width),
        numbers,
        {f"tip-{i}": f"{arm.name}: {format_accuracy(arm.top1)}, {cost.of(arm):.3g} {cost.label}"
         for i, arm in enumerate(arms)},
    )  # fmt: skip


def _draw(arms: Sequence[Arm], front: Sequence[Arm], cost: Cost, width: int) -> Figure:
    figure = new_figure(width, 290 if is_narrow(width) else 380)
    groups, variants = _split(arms, cost), variant_markers(arms)
    shares = [min(3, len({cost.of(arm) for arm in group})) for group in groups]
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False, width_ratios=shares)[0]
    for panel, group in zip(panels, groups, strict=True):
        _scale(panel, [cost.of(arm) for arm in group])
        panel.grid()
        for arm in group:
            x, e, style = cost.of(arm), arm.top1, mark(arm, variants)
            panel.vlines(x, e.low, e.high, color=style["color"], alpha=0.25, linewidth=1)
            emphasis = {"zorder": 5} if arm in front else {"zorder": 3, "alpha": 0.55}
            panel.plot(x, e.value, gid=f"tip-{arms.index(arm)}", **emphasis, **style)
    for panel in panels:
        _draw_front(panel, front, cost)
    for left, right in itertools.pairwise(panels):
        _mark_break(left, right)
    panels[0].set_ylabel("top-1 accuracy, %")
    figure.supxlabel(cost.label, fontsize="medium")
    marks = {legend_name(arm): mark(arm, variants) for arm in sorted(arms, key=order_of)}
    handles = [Line2D([], [], label=name, **style) for name, style in marks.items()]
    add_legend(figure, [*handles, Line2D([], [], label="Pareto front", **_FRONT_STYLE)])
    figure.draw_without_rendering()
    points = [(p, arm) for arm in front[::-1] for p, group in zip(panels, groups, strict=True) if arm in group]
    _name_points([(p, cost.of(arm), arm) for p, arm in points], 18 if is_narrow(width) else 28)
    return figure


def _split(arms: Sequence[Arm], cost: Cost) -> list[list[Arm]]:
    """Splits the arms at a gap that would otherwise take more than 70 % of a logarithmic axis."""
    ordered = sorted(arms, key=cost.of)
    steps = [math.log(cost.of(b) / cost.of(a)) if cost.of(a) > 0 else 0.0 for a, b in itertools.pairwise(ordered)]
    if len(steps) < 3 or sum(steps) < math.log(2) or max(steps) < 0.7 * sum(steps):
        return [ordered]
    at = steps.index(max(steps)) + 1
    return [ordered[:at], ordered[at:]]


def _scale(panel: Axes, costs: Sequence[float]) -> None:
    """Limits with room for names; a logarithmic axis if the largest cost is over four times the smallest."""
    least, most = min(costs), max(costs)
    if least > 0 and most / least > 4:
        panel.set_xscale("log")
        room = (most / least) ** 0.15
        panel.set_xlim(least / room, most * room)
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_minor_locator(NullLocator())
    else:
        room = 0.2 * (most - least) or 0.1 * most or 1
        panel.set_xlim(least - room, most + room)
        several = MaxNLocator(4, steps=[1, 2, 2.5, 5, 10])
        panel.xaxis.set_major_locator(several if most > least else FixedLocator([most]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))


def _draw_front(panel: Axes, front: Sequence[Arm], cost: Cost) -> None:
    """Steps from the bottom left to the right edge."""
    x, y = [cost.of(arm) for arm in front], [arm.top1.value for arm in front]
    low, high = panel.get_ylim()
    right = max(panel.get_xlim()[1], x[-1])
    panel.plot([x[0], *x, right], [low, *y, y[-1]], drawstyle="steps-post", zorder=2, **_FRONT_STYLE)
    panel.set_ylim(low, high)


def _mark_break(left: Axes, right: Axes) -> None:
    """Marks the gap between two panels."""
    style: Style = {
        "marker": [(-0.4, -1), (0.4, 1)],
        "markersize": 10,
        "color": INK,
        "linestyle": "none",
        "clip_on": False,
    }
    left.plot(1, 0, transform=left.transAxes, **style)
    right.plot(0, 0, transform=right.transAxes, **style)
    right.spines["left"].set_visible(False)
    right.tick_params(axis="y", length=0, labelleft=False)


def _name_points(points: Sequence[tuple[Axes, float, Arm]], longest: int) -> None:
    """Names points of the front above or beside them, on the left, where no arm can be; omits names without room."""
    style: Style = {"textcoords": "offset points", "ha": "right", "in_layout": False, "zorder": 6}
    written: list[Bbox] = []
    for panel, x, arm in points:
        text = panel.annotate(shorten(arm.name, longest), (x, arm.top1.value), (0, 0), **style)
        overflow = panel.get_window_extent().x0 - text.get_window_extent().x0
        for left, up, alignment in ((-4, 4, "bottom"), (-7, 0, "center_baseline")):
            text.set(position=(left + max(overflow - left, 0), up), va=alignment)
            box = text.get_window_extent()
            if not any(box.overlaps(other) for other in written):
                written.append(box)
                break
        else:
            text.remove()
