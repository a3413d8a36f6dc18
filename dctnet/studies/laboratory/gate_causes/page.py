"""Figures and the page."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dctnet.studies.laboratory.gate_causes.arms import ARM_OF, ARMS
from dctnet.studies.laboratory.gate_causes.causes import (
    CAUSES,
    Interval,
    Runs,
    collect,
    effect,
    kept_in,
    low_kept,
    partial_correlations,
)
from dctnet.studies.laboratory.gate_causes.data import KEEP, NUM_CHANNELS
from dctnet.studies.laboratory.gate_causes.verdict import verdict
from dctnet.studies.laboratory.page import Section, Table, write_study
from dctnet.studies.laboratory.study import Study
from dctnet.studies.page.page import BLUE, GREY, INK, VERMILLION, Numbers, Plot, add_legend, new_figure

_HELD = ("natural", "common_scale")  # arms whose correlations are shown
_AXES = {
    "probe_accuracy": "information: accuracy of a\nclassifier on this channel alone",
    "log_energy": "energy: log₂ of the variance",
    "smoothness": "smoothness: correlation of\nneighbouring blocks",
    "rho": "frequency, cycles per pixel",
}


def write_gate_causes(study: Study) -> Path:
    """Writes the page of a study with at least one finished seed of every arm."""
    runs = collect(study.rows)
    seeds = len(runs["natural"])
    source = str(study.content["options"]["data"])
    photographs = source != "generated"
    data = f"the photographs of {Path(source).name}" if photographs else "generated data"
    partials = {name: found for name in _HELD if (found := partial_correlations(runs, name))}
    sections = [
        Section(
            "Which channels are kept when one cause is changed",
            [
                f"{NUM_CHANNELS} luma channels, from the mean of a block to its finest pattern; the lower half are the "
                f"low ones. A small network with a gate learns to classify with {KEEP} of them. Each arm changes one "
                "thing; weights, batches and gate noise of a seed are the same in all arms.",
            ],
            [(_plot_arms(runs), _caption_arms(seeds))],
            [_table(runs)],
        ),
        Section(
            "What a kept channel has",
            [] if partials else ["Correlations need at least four seeds an arm."],
            [
                *((_plot_partials(partials), _CAPTION_PARTIALS) for _ in range(bool(partials))),
                (_plot_channels(runs), _CAPTION_CHANNELS),
            ],
        ),
        Section("What this experiment cannot say", _limits(photographs)),
    ]
    return write_study(
        study,
        "Why does a gate keep low frequencies?",
        "Spectral bias of the network, energy compaction of the DCT, or information? A controlled experiment on "
        f"{data}, {seeds} seed{'s' * (seeds > 1)} an arm.",
        verdict(runs),
        sections,
        f"dctnet lab gate-causes --seeds {seeds} --out {study.out}{f' --data.root {source}' * photographs}",
    )


def _limits(photographs: bool) -> list[str]:
    found = [
        "The first layer is a 1×1 convolution, which treats all channels alike, and a scale for each channel removes "
        "its energy exactly. So a gate can tell a frequency only by information, by the arrangement of its blocks, by "
        "quantisation noise, by flips, which negate odd horizontal frequencies, and by pretrained weights. Flips and "
        "pretrained weights are not used here.",
        "The network is the first stage of a ResNet-18 on six by six blocks; deep networks may use smoothness more.",
    ]
    if photographs:
        found.append(
            "In photographs, information, energy and smoothness all fall with the frequency. Correlations cannot "
            "separate them as well as in generated data, where they vary independently; the arms can. All seeds see "
            "the same photographs."
        )
    else:
        found.append(
            "In generated data, information does not depend on the frequency. Whether it does in photographs, and a "
            "gate keeps low frequencies for that reason, is measured with --data.root."
        )
    return found


def _caption_arms(seeds: int) -> str:
    return (
        f"Low channels among the {KEEP} most probable ones. Dots: one training each, {seeds} an arm; bars: mean and 95 "
        f"% interval over seeds. The line at {KEEP // 2} is no preference. Blue: each channel has its own scale; "
        "red: all share one, so that energy reaches the network."
    )


_CAPTION_PARTIALS = (
    "Rank correlation of the keep probability with each cause while the other three are held constant, with 95 % "
    "bootstrap intervals over seeds and channels. An interval that crosses 0 shows no relation. Frequency: a gate with "
    "a bias for low frequencies themselves would be left of 0."
)
_CAPTION_CHANNELS = (
    "Natural arm: a dot for each channel of each training. A cause that decides what is kept separates the dots at the "
    "top from those at the bottom."
)


def _plot_arms(runs: Runs) -> Plot:
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


def _bar(axes, mean: Interval, y: float, colour: str, **style: object) -> None:  # type: ignore[no-untyped-def]
    reach = None if np.isnan(mean.low) else [[mean.value - mean.low], [mean.high - mean.value]]
    axes.errorbar(mean.value, y, xerr=reach, color=colour, marker="D", markersize=5, elinewidth=1.8, **style)


def _plot_partials(partials: Mapping[str, Mapping[str, Interval]]) -> Plot:
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
    colours = dict(zip(_HELD, (BLUE, VERMILLION), strict=True))
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


def _plot_channels(runs: Runs) -> Plot:
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
    figure = new_figure(380)
    panels = figure.subplots(2, 2, sharey=True).flat
    for axes, (name, label) in zip(panels, _AXES.items(), strict=True):
        for run in runs["natural"].values():
            for low, style in ((1, {"color": BLUE, "marker": "o"}), (0, {"color": GREY, "marker": "^"})):
                chosen = run["low"] == low
                x, y = run[name][chosen], run["keep_probability"][chosen]
                axes.plot(x, y, linestyle="", markersize=4, alpha=0.6, **style)
        axes.set_xlabel(label, fontsize=11)
        axes.set_yticks([0, 0.5, 1])
        axes.grid()
    figure.supylabel("keep probability", fontsize="medium")
    handles = [
        Line2D([], [], color=BLUE, marker="o", linestyle="", label="low half"),
        Line2D([], [], color=GREY, marker="^", linestyle="", label="high half"),
    ]
    add_legend(figure, handles)
    return figure


def _table(runs: Runs) -> Table:
    rows = []
    for arm in ARMS:
        trainings = runs[arm.name].values()
        kept, changed = kept_in(runs, arm.name), effect(runs, arm.name)
        accuracy = float(np.mean([run["accuracy"][0] for run in trainings]))
        rows.append((arm.label, (kept.value, str(kept)), (changed.value, str(changed)), accuracy, arm.text))
    columns = ("arm", f"low kept, of {KEEP}", "minus natural", "accuracy", "what is changed")
    return Table("All arms", columns, rows)
