"""The page: verdict, figures and limits."""

from pathlib import Path

import numpy as np

from dctnet.studies.laboratory.gate_causes.arms import ARMS
from dctnet.studies.laboratory.gate_causes.causes import Runs, collect, effect, kept_in, partial_correlations
from dctnet.studies.laboratory.gate_causes.data import KEEP, NUM_CHANNELS
from dctnet.studies.laboratory.gate_causes.figures import plot_arms, plot_channels, plot_partials
from dctnet.studies.laboratory.gate_causes.verdict import verdict
from dctnet.studies.laboratory.page import Section, Table, write_study
from dctnet.studies.laboratory.study import Study

_HELD = ("natural", "common_scale")  # arms whose correlations are shown


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
            [(plot_arms(runs), _caption_arms(seeds))],
            [_table(runs)],
        ),
        Section(
            "What a kept channel has",
            [] if partials else ["Correlations need at least four seeds an arm."],
            [
                *((plot_partials(partials), _CAPTION_PARTIALS) for _ in range(bool(partials))),
                (plot_channels(runs), _CAPTION_CHANNELS),
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


def _table(runs: Runs) -> Table:
    rows = []
    for arm in ARMS:
        trainings = runs[arm.name].values()
        kept, changed = kept_in(runs, arm.name), effect(runs, arm.name)
        accuracy = float(np.mean([run["accuracy"][0] for run in trainings]))
        rows.append((arm.label, (kept.value, str(kept)), (changed.value, str(changed)), accuracy, arm.text))
    columns = ("arm", f"low kept, of {KEEP}", "minus natural", "accuracy", "what is changed")
    return Table("All arms", columns, rows)
