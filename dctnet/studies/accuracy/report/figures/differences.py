"""Forest plot of the differences between the arms and the baselines."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dctnet.studies.accuracy.report.arms import Arm, compared_baselines, verdict
from dctnet.studies.accuracy.report.figures.series import SERIES
from dctnet.studies.bootstrap import Estimate
from dctnet.studies.page.figures import BLUE, GREY, INK, VERMILLION, Plot, add_legend, is_narrow, new_figure, shorten

_COLOURS = {"above": BLUE, "below": VERMILLION, "not distinguishable": GREY}
_Differences = dict[str, list[tuple[Arm, Estimate]]]


def plot_differences(arms: Sequence[Arm]) -> Plot:
    """A panel for each baseline, with a line for each arm.

    Args:
        arms: All arms; at least one of them is compared with a baseline.
    """
    found: _Differences = {}
    numbers: list[list[str | int | float]] = [["arm", "baseline", "difference", "low", "high", "seeds", "verdict"]]
    counts = []
    for baseline in compared_baselines(arms):
        pairs = [(arm, arm.against[baseline]) for arm in arms if baseline in arm.against]
        found[baseline] = sorted(pairs, key=lambda pair: -pair[1].value)
        for arm, e in found[baseline]:
            numbers.append([arm.name, baseline, e.value, e.low, e.high, e.seeds, verdict(e)])
        each = [f"{sum(verdict(e) == which for _, e in pairs)} {which}" for which in _COLOURS]
        counts.append(f"Against {baseline}: {', '.join(each)}.")
    return Plot(
        "differences",
        f"Paired differences in top-1 accuracy with 95 % intervals. {' '.join(counts)}",
        lambda width: _draw(found, width),
        numbers,
    )


def _draw(found: _Differences, width: int) -> Figure:
    narrow = is_narrow(width)
    shape = (len(found), 1) if narrow else (1, len(found))
    lines = max(len(pairs) for pairs in found.values())
    figure = new_figure(width, shape[0] * (23 * lines + 65) + 40)
    panels = figure.subplots(*shape, squeeze=False).flat
    for panel, (baseline, pairs) in zip(panels, found.items(), strict=True):
        _panel(panel, pairs, 20 if narrow else 26)
        panel.set_title(f"minus {SERIES[baseline].name}", loc="left", fontsize="medium")
        panel.set_xlabel("percentage points of top-1")
    add_legend(figure, [Line2D([], [], label=which, **_mark(which)) for which in _COLOURS])
    return figure


def _panel(panel: Axes, pairs: Sequence[tuple[Arm, Estimate]], longest: int) -> None:
    panel.axvline(0, color=INK, linewidth=1.1)
    for y, (_, e) in enumerate(pairs):
        reach = [[e.value - e.low], [e.high - e.value]]
        panel.errorbar(e.value, y, xerr=reach, elinewidth=1.7, **_mark(verdict(e)))
    panel.set_yticks(range(len(pairs)), [shorten(arm.name, longest) for arm, _ in pairs])
    panel.set_ylim(len(pairs) - 0.4, -0.6)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")


def _mark(which: str) -> dict[str, Any]:
    face = "none" if which == "not distinguishable" else _COLOURS[which]
    return {"color": _COLOURS[which], "marker": "o", "markerfacecolor": face}
