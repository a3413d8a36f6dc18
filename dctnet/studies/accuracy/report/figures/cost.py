"""Accuracy against what it costs: which arms are beaten by none."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dctnet.studies.accuracy.report.arms import Arm, front
from dctnet.studies.accuracy.report.figures.canvas import INK, Picture, add_legend, is_narrow, new_figure, shown
from dctnet.studies.accuracy.report.figures.labels import Area, place_labels
from dctnet.studies.accuracy.report.figures.series import LABEL, SERIES, mark, variant_markers


@dataclass(frozen=True)
class Cost:
    """What an image costs.

    Args:
        name: Column of a row.
        called: On the axis, with its unit.
        scale: Units of the column in that unit.
    """

    name: str
    called: str
    scale: float = 1.0

    def of(self, arm: Arm) -> float:
        """Cost of one image of an arm."""
        return getattr(arm.first, self.name) * self.scale


GMAC = Cost("gmac", "GMAC an image")
BYTES = Cost("bytes", "kilobytes an image, before compression", 1e-3)


def accuracy_cost(arms: Sequence[Arm], cost: Cost) -> Picture:
    """The picture, one point for each arm.

    Args:
        arms: All arms.
        cost: What is spent.
    """
    best = front(arms, cost.of)
    numbers: list[list[str | int | float]] = [["arm", cost.called, "top1", "low", "high", "seeds", "on_front"]]
    for arm in sorted(arms, key=cost.of):
        estimate = arm.top1
        values = [cost.of(arm), estimate.value, estimate.low, estimate.high, estimate.seeds]
        numbers.append([arm.name, *values, "yes" if arm in best else "no"])
    return Picture(
        f"accuracy_{cost.name}",
        f"Top-1 accuracy against {cost.called}, a point an arm. On the Pareto front, cheapest first: "
        + ", ".join(f"{shown(arm.name)} {arm.top1.value:.1f} %" for arm in best)
        + ".",
        lambda width: _draw(arms, best, cost, width),
        numbers,
        {
            f"tip-{i}": f"{arm.name}: {arm.top1.value:.1f} %, {cost.of(arm):.3g} {cost.called}"
            for i, arm in enumerate(arms)
        },
    )


def _draw(arms: Sequence[Arm], best: Sequence[Arm], cost: Cost, width: int) -> Figure:
    figure = new_figure(width, 290 if is_narrow(width) else 380)
    groups = _groups(arms, cost)
    shares = [min(3, len({cost.of(arm) for arm in group})) for group in groups]
    panels = figure.subplots(1, len(groups), sharey=True, squeeze=False, width_ratios=shares)[0]
    _levels(panels[0], arms)
    markers = variant_markers(arms)
    for panel, group in zip(panels, groups, strict=True):
        _limits(panel, group, cost)
        _front(panel, best, cost)
        panel.grid()
        for arm in group:
            emphasis = {"zorder": 5} if arm in best else {"zorder": 3, "alpha": 0.55}
            (point,) = panel.plot(cost.of(arm), arm.top1.value, **emphasis, **mark(arm, markers))
            point.set_gid(f"tip-{arms.index(arm)}")
    _break(panels)
    panels[0].set_ylabel("top-1 accuracy, %")
    figure.supxlabel(cost.called, fontsize="medium")
    add_legend(figure, _legend(arms, markers), 6)
    longest = 18 if is_narrow(width) else 28
    names = [(p, cost.of(a), a.top1.value, shown(a.name, longest)) for p, group in zip(panels, groups, strict=True)
             for a in best if a in group]  # fmt: skip
    place_labels(figure, names, [(panel, area) for panel in panels for area in _obstacles(panel, arms, best, cost)])
    return figure


def _groups(arms: Sequence[Arm], cost: Cost) -> list[list[Arm]]:
    """All arms, or those on either side of a gap so wide that on one axis all others would be one point."""
    ordered = sorted(arms, key=cost.of)
    steps = [
        math.log(cost.of(after) / cost.of(arm)) if cost.of(arm) > 0 else 0.0
        for arm, after in itertools.pairwise(ordered)
    ]
    if len(steps) < 3 or sum(steps) < math.log(2) or max(steps) < 0.7 * sum(steps):
        return [ordered]
    at = steps.index(max(steps)) + 1
    return [ordered[:at], ordered[at:]]


def _levels(panel: Axes, arms: Sequence[Arm]) -> None:
    values = [arm.top1.value for arm in arms]
    room = 0.1 * (max(values) - min(values)) or 1
    panel.set_ylim(min(values) - room, max(values) + 1.4 * room)


def _limits(panel: Axes, group: Sequence[Arm], cost: Cost) -> None:
    """Limits with room for names; a logarithmic axis where costs lie far apart."""
    costs = [cost.of(arm) for arm in group]
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


def _front(panel: Axes, best: Sequence[Arm], cost: Cost) -> None:
    """A step where the next arm begins to pay, on to the dearest."""
    places, values = [cost.of(arm) for arm in best], [arm.top1.value for arm in best]
    end = max(panel.get_xlim()[1], places[-1])
    panel.plot(
        [places[0], *places, end], [panel.get_ylim()[0], *values, values[-1]], drawstyle="steps-post", color=INK,
        linewidth=1.1, alpha=0.6, zorder=2,
    )  # fmt: skip


def _break(panels: Sequence[Axes]) -> None:
    """Marks where the axis leaves a gap out."""
    for left, right in itertools.pairwise(panels):
        for panel, place in ((left, 1), (right, 0)):
            panel.plot(
                place, 0, transform=panel.transAxes, marker=[(-0.4, -1), (0.4, 1)], markersize=10, color=INK,
                linestyle="none", clip_on=False,
            )  # fmt: skip
        right.spines["left"].set_visible(False)
        right.tick_params(axis="y", length=0, labelleft=False)


def _obstacles(panel: Axes, arms: Sequence[Arm], best: Sequence[Arm], cost: Cost) -> list[Area]:
    """What names must not cover: the points and the steps of the front."""
    points = [(cost.of(arm), cost.of(arm), arm.top1.value, arm.top1.value) for arm in arms]
    steps = []
    low = panel.get_ylim()[0]
    for arm, after in itertools.zip_longest(best, best[1:]):
        here, end = cost.of(arm), cost.of(after) if after else panel.get_xlim()[1]
        steps += [(here, here, low, arm.top1.value), (here, end, arm.top1.value, arm.top1.value)]
        low = arm.top1.value
    return points + steps


def _legend(arms: Sequence[Arm], markers: dict[str, str]) -> list[Line2D]:
    """An entry for each way of choosing and each label, and the front."""
    handles, seen = [], set()
    order = list(SERIES)
    for arm in sorted(arms, key=lambda arm: order.index(arm.first.choose) if arm.first.choose in SERIES else 99):
        kind = (arm.first.choose, arm.first.label)
        if kind not in seen:
            seen.add(kind)
            called = SERIES[arm.first.choose].called if arm.first.choose in SERIES else shown(arm.first.choose)
            label = f", {shown(arm.first.label, LABEL)}" if arm.first.label else ""
            handles.append(Line2D([], [], label=called + label, **mark(arm, markers)))
    return [*handles, Line2D([], [], color=INK, linewidth=1.1, alpha=0.6, label="Pareto front")]
