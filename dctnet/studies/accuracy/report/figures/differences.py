"""What each arm differs by from the baselines, as a forest plot."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dctnet.studies.accuracy.report.arms import Arm, is_real, verdict
from dctnet.studies.accuracy.report.figures.canvas import INK, Picture, add_legend, is_narrow, new_figure, shown
from dctnet.studies.accuracy.report.figures.series import SERIES
from dctnet.studies.accuracy.report.wording import signed
from dctnet.studies.bootstrap import Estimate

_COLOURS = {"above": "#0072B2", "below": "#D55E00", "not distinguishable": "#808080"}


def differences(arms: Sequence[Arm], baselines: Sequence[str]) -> Picture:
    """The picture, a panel for each baseline and a line for each arm.

    Args:
        arms: All arms.
        baselines: Names of those to compare with, that have run.
    """
    numbers: list[list[str | int | float]] = [["arm", "baseline", "difference", "low", "high", "seeds", "verdict"]]
    said = []
    for baseline in baselines:
        found = _ordered(arms, baseline)
        for arm, e in found:
            numbers.append([arm.name, baseline, e.value, e.low, e.high, e.seeds, verdict(e)])
        counts = [sum(verdict(e) == which for _, e in found) for which in _COLOURS]
        said.append(f"{baseline}: {counts[0]} arms above, {counts[1]} below, {counts[2]} not distinguishable")
    return Picture(
        "differences",
        f"Paired differences in top-1 accuracy with 95 % intervals. Against {'; against '.join(said)}.",
        lambda width: _draw(arms, baselines, width),
        numbers,
    )


def _ordered(arms: Sequence[Arm], baseline: str) -> list[tuple[Arm, Estimate]]:
    found = [(arm, arm.against[baseline]) for arm in arms if baseline in arm.against]
    return sorted(found, key=lambda pair: -pair[1].value)


def _draw(arms: Sequence[Arm], baselines: Sequence[str], width: int) -> Figure:
    narrow = is_narrow(width)
    lines = max(len(_ordered(arms, baseline)) for baseline in baselines)
    # On a telephone a name has a line of its own, and the panels stand one below the other.
    height = len(baselines) * (34 * lines + 70) + 40 if narrow else 23 * lines + 105
    figure = new_figure(width, height)
    shape = (len(baselines), 1) if narrow else (1, len(baselines))
    panels = figure.subplots(*shape, squeeze=False).flat
    for panel, baseline in zip(panels, baselines, strict=True):
        _panel(panel, _ordered(arms, baseline), narrow)
        panel.set_title(f"minus {SERIES[baseline].called}", loc="left", fontsize="medium")
        panel.set_xlabel("percentage points of top-1")
    handles = [
        Line2D([], [], color=colour, marker="o", markerfacecolor=_face(which), label=which)
        for which, colour in _COLOURS.items()
    ]
    add_legend(figure, handles, 3)
    return figure


def _face(which: str) -> str:
    return "none" if which == "not distinguishable" else _COLOURS[which]


def _panel(panel: Axes, found: Sequence[tuple[Arm, Estimate]], narrow: bool) -> None:
    panel.axvline(0, color=INK, linewidth=1.1)
    for place, (_, estimate) in enumerate(found):
        colour, face = _COLOURS[verdict(estimate)], _face(verdict(estimate))
        reach = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        width = 2.0 if is_real(estimate) else 1.3
        panel.errorbar(
            estimate.value, place, xerr=reach, color=colour, elinewidth=width, marker="o", markersize=6,
            markerfacecolor=face,
        )  # fmt: skip
    panel.set_ylim(len(found) - 0.4, -0.8 if narrow else -0.6)
    panel.spines["left"].set_visible(False)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x")
    names = [shown(arm.name, 26) for arm, _ in found]
    if not narrow:
        panel.set_yticks(range(len(found)), names)
        return
    panel.set_yticks([])
    for place, (name, (_, e)) in enumerate(zip(names, found, strict=True)):
        panel.text(0, place - 0.22, f"{name}  {signed(e.value)}", transform=panel.get_yaxis_transform(), va="bottom")
