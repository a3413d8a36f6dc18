"""One page across the benchmarks of several data sets: differences to RGB, similarity and transfer of rankings."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import spearmanr

from dctnet.frequency.selections import named_channels, rank_channels
from dctnet.studies.accuracy.report.arms import (
    BASELINES,
    Arm,
    fewest_not_inferior,
    format_accuracy,
    format_difference,
    group_arms,
    verdict,
)
from dctnet.studies.accuracy.report.ranking import read_rankings
from dctnet.studies.estimates import Estimate
from dctnet.studies.page import page
from dctnet.studies.page.page import STYLES, Numbers, Plot, add_legend, new_figure, render_plots, shorten, write_page
from dctnet.studies.rows import ROWS, read_rows

# Selections of this size are compared and transferred.
COUNT = 24


@dataclass(frozen=True)
class Benchmark:
    """The results on one data set."""

    name: str  # of the folder
    arms: list[Arm]  # the most accurate first
    rankings: list[list[float]]  # keep probability of each of the 192 channels under each gate

    @property
    def images(self) -> int:
        """Number of evaluation images."""
        return len(self.arms[0].first.correct)

    def arm(self, name: str) -> Arm | None:
        """The arm of that name, if it has run."""
        return next((arm for arm in self.arms if arm.name == name), None)

    def transferred(self, origin: str) -> Arm | None:
        """The arm with the channels that a gate ranked highest on the data set ``origin``, if it has run."""
        return self.arm(f"learned-{COUNT}" if origin == self.name else f"mask-{COUNT}+{origin}")


def benchmark_folders(folder: Path) -> list[Path]:
    """The benchmarks' folders within a folder, by name."""
    return sorted(path.parent for path in folder.glob(f"*/{ROWS}"))


def write_summary(out: Path) -> Path:
    """Writes ``summary.html``, whose path is returned, and ``figures/`` from the benchmarks in the folders of ``out``.

    Raises:
        UserError: A file of a benchmark is damaged.
    """
    found = [
        Benchmark(path.name, group_arms(read_rows(path / ROWS)), read_rankings(path, None))
        for path in benchmark_folders(out)
    ]
    shared = shared_arms(found)
    plots = [plot_against_rgb(found, shared)]
    gates = [(f"{b.name} {i}", each) for b in found for i, each in enumerate(b.rankings)]
    if len(gates) > 1:
        plots.append(plot_similarity(gates))
    write_page(
        out / "summary.html",
        files(__package__).joinpath("summary.html").read_text(encoding="utf-8"),
        plots=render_plots(plots, out / "figures"),
        benchmarks=found,
        shared=shared,
        similarity=mean_similarity(found),
        fewest={benchmark.name: fewest_not_inferior(benchmark.arms) for benchmark in found},
        baseline=BASELINES[0],
        count=COUNT,
        accuracy=format_accuracy,
        difference=format_difference,
        verdict=verdict,
        shorten=shorten,
    )
    return out / "summary.html"


def shared_arms(benchmarks: Sequence[Benchmark]) -> list[str]:
    """Names of the arms that have run on two data sets or more, by their mean difference to RGB; the best first."""
    names: dict[str, list[float]] = {}
    for arm in itertools.chain.from_iterable(benchmark.arms for benchmark in benchmarks):
        if arm.first.choose != "mask" or not any(arm.first.label == b.name for b in benchmarks):
            difference = arm.against.get(BASELINES[0])
            names.setdefault(arm.name, []).append(difference.value if difference else 0.0)
    shared = [name for name, values in names.items() if len(values) > 1]
    return sorted(shared, key=lambda name: -sum(names[name]) / len(names[name]))


def plot_against_rgb(benchmarks: Sequence[Benchmark], shared: Sequence[str]) -> Plot:
    """A line for each shared arm with its difference to RGB at matched GMAC on each data set."""
    numbers: Numbers = [["arm", "data_set", "difference", "low", "high", "seeds", "verdict"]]
    for name, benchmark in itertools.product(shared, benchmarks):
        if e := _against_rgb(benchmark, name):
            numbers.append([name, benchmark.name, e.value, e.low, e.high, e.seeds, verdict(e)])
    return Plot(
        "against_rgb",
        f"Differences in top-1 accuracy to RGB at matched GMAC with 95 % intervals on {len(benchmarks)} data sets, a "
        "line for each arm; hollow: not distinguishable. The numbers are in the table below.",
        lambda: _draw_against_rgb(benchmarks, [name for name in shared if name != BASELINES[0]]),
        numbers,
    )


def _against_rgb(benchmark: Benchmark, name: str) -> Estimate | None:
    arm = benchmark.arm(name)
    return arm.against.get(BASELINES[0]) if arm else None


def _draw_against_rgb(benchmarks: Sequence[Benchmark], names: Sequence[str]) -> Figure:
    figure = new_figure((14 * len(benchmarks) + 10) * max(len(names), 1) + 60)
    axes = figure.subplots()
    axes.axvline(0, color=page.INK, linewidth=1.1)
    styles = dict(zip([b.name for b in benchmarks], itertools.cycle(STYLES), strict=False))
    for y, name in enumerate(names):
        for place, benchmark in enumerate(benchmarks):
            if e := _against_rgb(benchmark, name):
                style = {**styles[benchmark.name], "markersize": 6}
                if verdict(e) == "not distinguishable":
                    style["markerfacecolor"] = "none"
                height = y + 0.7 * (place - (len(benchmarks) - 1) / 2) / max(len(benchmarks), 1)
                axes.errorbar(e.value, height, xerr=[[e.value - e.low], [e.high - e.value]], elinewidth=1.5, **style)
    axes.set_yticks(range(len(names)), [shorten(name, 22) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_xlabel("points of top-1 above RGB at matched GMAC")
    handles = [Line2D([], [], label=shorten(b.name, 24), linestyle="none", **styles[b.name]) for b in benchmarks]
    add_legend(figure, handles)
    return figure


def overlap(one: Sequence[float], other: Sequence[float]) -> int:
    """Number of channels that two rankings share among their first ``COUNT``."""
    every = named_channels("all")
    return len({*rank_channels(every, one)[:COUNT]} & {*rank_channels(every, other)[:COUNT]})


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's correlation of the keep probabilities of all channels."""
    return float(spearmanr(one, other).statistic)


def mean_similarity(benchmarks: Sequence[Benchmark]) -> dict[str, dict[str, float]]:
    """Mean ``overlap`` and ``correlation`` of the pairs of gates ``within`` a data set and ``between`` two of them."""
    pairs: dict[str, list[tuple[int, float]]] = {"within": [], "between": []}
    gates = [(benchmark.name, ranking) for benchmark in benchmarks for ranking in benchmark.rankings]
    for (name, one), (other_name, other) in itertools.combinations(gates, 2):
        kind = "within" if name == other_name else "between"
        pairs[kind].append((overlap(one, other), rank_correlation(one, other)))
    return {
        kind: {"pairs": len(each), "overlap": np.mean(each, 0)[0].item(), "correlation": np.mean(each, 0)[1].item()}
        for kind, each in pairs.items()
        if each
    }


def plot_similarity(gates: Sequence[tuple[str, Sequence[float]]]) -> Plot:
    """A map of the channels that each pair of gates shares."""
    names = [name for name, _ in gates]
    shared = [[overlap(one, other) for _, other in gates] for _, one in gates]
    numbers: Numbers = [["gate", "other_gate", "shared_channels", "rank_correlation"]]
    for (name, one), (other_name, other) in itertools.combinations(gates, 2):
        numbers.append([name, other_name, overlap(one, other), rank_correlation(one, other)])
    return Plot(
        "similarity",
        f"How many of the {COUNT} most probable channels each pair of {len(gates)} gates shares.",
        lambda: _draw_similarity(names, shared),
        numbers,
    )


def _draw_similarity(names: Sequence[str], shared: Sequence[Sequence[int]]) -> Figure:
    figure = new_figure(min(440, 30 * len(names) + 150))
    axes = figure.subplots()
    axes.pcolormesh(np.array(shared), cmap="cividis", vmin=0, vmax=COUNT, edgecolor="face")
    for y, line in enumerate(shared):
        for x, value in enumerate(line):
            axes.text(x + 0.5, y + 0.5, str(value), ha="center", va="center", color="w" if value < COUNT / 2 else "k")
    ticks = [place + 0.5 for place in range(len(names))]
    axes.set_yticks(ticks, [shorten(name, 20) for name in names])
    axes.set_xticks(ticks, [shorten(name, 20) for name in names], rotation=90)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure
