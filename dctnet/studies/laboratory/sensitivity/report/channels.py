"""Sections of channels, and of signs and magnitudes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dctnet.frequency.channels import COMPONENTS, PER_COMPONENT, ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.studies.laboratory.page import Section, Table
from dctnet.studies.laboratory.sensitivity.channels import CODINGS
from dctnet.studies.laboratory.sensitivity.report.text import (
    channel_name,
    clean_accuracy,
    correlation,
    numbers_of,
    points,
    rows_of,
)
from dctnet.studies.laboratory.spectrum import channel_radius
from dctnet.studies.laboratory.study import Measurement
from dctnet.studies.laboratory.subject import Subject
from dctnet.studies.page.page import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, Plot, add_legend, new_figure

GateMask = tuple[ChannelSet, list[float] | None]
_MEANINGS = {
    "swap": "Rise of the cross-entropy when a channel is taken from another image",
    "mean": "Rise of the cross-entropy when a channel is set to its mean",
    "noise_abs": "Rise of the cross-entropy with noise of RMS 32, in the unit of coefficients, in a channel",
    "noise_rel": "Rise of the cross-entropy with noise as strong as the channel varies",
    "gradient": "Norm of the gradient of the cross-entropy, times the deviation of the channel: one backward pass",
}
_FIXED = "_fixed"  # parts in which the gate's choice is that for the unchanged image


def channel_section(
    rows: Sequence[Measurement], subject: Subject, ranked: Sequence[int], keep: int, gate: GateMask | None
) -> Section:
    """Importance of each channel by each method, and accuracy as channels are deleted and inserted."""
    parts = [part for part in dict.fromkeys(row["part"] for row in rows) if part.removesuffix(_FIXED) in _MEANINGS]
    column = {part: "value" if part == "gradient" else "loss" for part in parts}
    scores = {part: {int(row["level"]): row[column[part]] for row in rows_of(rows, part)} for part in parts}
    first = next(part for part in parts if part != "gradient")
    kept = ranked[:keep] if keep < len(ranked) else ()
    plots = [
        (
            _map_of_channels(part, scores[part], kept if part == first else ()),
            f"{_meaning(part)}. The brighter, the more the network needs the channel; the colours follow the root."
            + (f" Outlined: the {len(kept)} that matter most." if kept and part == first else ""),
        )
        for part in [first, *(part for part in parts if part != first)]
    ]
    plots.append(
        (
            _curves(rows),
            "Channels are set to their means one after the other. Deletion begins with the most important channel; "
            "insertion begins without any and returns the most important one first. “By frequency” is the zigzag "
            "order of JPEG. Where channels can replace each other, single changes hide it; these curves do not. A good "
            "order makes the deletion fall and the insertion rise early. "
            "Measured on the photographs that the order does not come from, if there are any (--images more than "
            "--channel_images).",
        )
    )
    read = "the image that the changed channels describe" if subject.channel_set is None else "only the channels shown"
    text = [
        "A channel is one of the 64 frequencies of the 8×8 blocks of Y, Cb or Cr. Rows are vertical, columns "
        f"horizontal frequencies; top left is the mean of the blocks (DC). This network reads {read}.",
        _compare_methods(scores, first),
    ]
    if gate is not None:
        text.append(_compare_gate(scores[first], ranked, gate))
    table = Table(
        "All channels",
        ["Channel", "Index", "Rise of the loss", "Change of accuracy, points", "Gradient"],
        [
            [channel_name(c), c, row["loss"], (row["change"], points(row)), scores["gradient"][c]]
            for row in sorted(rows_of(rows, first), key=lambda row: -row["loss"])
            for c in [int(row["level"])]
        ],
    )
    return Section("Channels", text, plots, [table])


def _meaning(part: str) -> str:
    fixed = "; the gate’s choice is that for the unchanged image" if part.endswith(_FIXED) else ""
    return _MEANINGS[part.removesuffix(_FIXED)] + fixed


def _map_of_channels(part: str, scores: Mapping[int, float], outlined: Sequence[int]) -> Plot:
    grid = np.full(len(COMPONENTS) * PER_COMPONENT, np.nan)
    grid[list(scores)] = list(scores.values())

    def draw() -> Figure:
        figure = new_figure(190)
        axes = figure.subplots(1, len(COMPONENTS))
        for component, (name, each) in enumerate(zip(COMPONENTS, axes, strict=True)):
            own = grid[component * PER_COMPONENT :][:PER_COMPONENT].reshape(BLOCK, BLOCK)
            mesh = each.imshow(own, cmap="viridis", norm=PowerNorm(0.5, 0, max(1e-12, np.nanmax(grid))))
            each.set_title(name, fontsize=12)
            each.set(xticks=[0, 7], yticks=[0, 7])
        for channel in outlined:
            component, frequency = divmod(channel, PER_COMPONENT)
            v, u = divmod(frequency, BLOCK)
            box = Rectangle((u - 0.5, v - 0.5), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=1.5)
            axes[component].add_patch(box)
        figure.colorbar(mesh, ax=list(axes), shrink=0.7)
        return figure

    return Plot(f"channels_{part}", f"{_meaning(part)}.", draw, [["channel", part], *map(list, scores.items())])


def _curves(rows: Sequence[Measurement]) -> Plot:
    styles = {
        ("deletion", "importance"): (VERMILLION, "o", "-"),
        ("deletion", "frequency"): (ORANGE, "s", "--"),
        ("insertion", "importance"): (BLUE, "D", "-"),
        ("insertion", "frequency"): (GREEN, "^", "--"),
    }
    found = {key: sorted(rows_of(rows, "_".join(key)), key=lambda row: row["level"]) for key in styles}

    def draw() -> Figure:
        figure = new_figure(250)
        axes = figure.subplots()
        for key, (colour, marker, line) in styles.items():
            x, y = [row["level"] for row in found[key]], [100 * row["accuracy"] for row in found[key]]
            axes.plot(x, y, color=colour, marker=marker, linestyle=line, markersize=5, label=f"{key[0]}, by {key[1]}")
        axes.set_xscale("symlog", linthresh=4)
        most = found["deletion", "importance"][-1]["level"]
        ticks = [tick for tick in (0, 2, 4, 8, 16, 24, 48, 96, 192) if tick <= most]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel="channels deleted or inserted", ylabel="accuracy, %", ylim=(0, 102), xlim=(-0.2, 1.1 * most))
        add_legend(figure, axes.get_legend_handles_labels()[0])
        return figure

    head = ("part", "level", "accuracy", "change", "low", "high")
    numbers = numbers_of(head, [row for each in found.values() for row in each])
    return Plot("curves", "Accuracy as channels are deleted and inserted.", draw, numbers)


def _compare_methods(scores: Mapping[str, Mapping[int, float]], method: str) -> str:
    channels = list(scores[method])
    values = list(scores[method].values())
    gradient = correlation([scores["gradient"][c] for c in channels], values)
    frequency = correlation(channel_radius()[channels].tolist(), values)
    return (
        f"Rank correlations over the {len(channels)} channels: of the {method} with the gradient {gradient}, of the "
        f"{method} with the frequency {frequency} (negative: low frequencies matter more)."
    )


def _compare_gate(scores: Mapping[int, float], ranked: Sequence[int], gate: GateMask) -> str:
    mask, probability = gate
    count = min(len(mask), len(ranked))
    shared = len(set(ranked[:count]) & set(mask.indices))
    told = (
        f"The gate’s mask {Path(mask.name).name} has {len(mask)} channels. {shared} of the {count} channels that "
        f"matter most here are among them; {count * len(set(mask.indices) & set(scores)) / len(scores):.1f} would be "
        "by chance."
    )
    if probability is not None:
        found = correlation([probability[c] for c in scores], list(scores.values()))
        told += f" Rank correlation of keep probability and importance: {found}."
    return told


def coding_section(rows: Sequence[Measurement]) -> Section:
    """Accuracy without signs, magnitudes, phases or amplitudes."""
    found = {row["item"]: row for row in rows_of(rows, "coding")}
    clean = clean_accuracy(rows, "channels")

    def draw() -> Figure:
        figure = new_figure(170)
        axes = figure.subplots()
        values = np.array([100 * found[name]["accuracy"] for name in CODINGS])
        ends = np.array([[100 * (clean + found[name][key]) for name in CODINGS] for key in ("low", "high")])
        colours = [VERMILLION, BLUE, VERMILLION, BLUE]
        axes.barh(list(CODINGS.values()), values, xerr=np.abs(ends - values), color=colours, ecolor=INK, capsize=3)
        axes.axvline(100 * clean, color=GREY, linestyle="--", linewidth=1)
        axes.invert_yaxis()
        axes.set(xlabel="accuracy, %", xlim=(0, None))
        return figure

    changes = "; ".join(f"{text} {points(found[name])}" for name, text in CODINGS.items())
    return Section(
        "Signs and magnitudes",
        [
            "The position of an edge within a block is in the signs of its DCT coefficients, as it is in the phases "
            "of a Fourier transform; the magnitudes tell how strong it is. How much does the network recognise "
            "without either? The means (DC) stay as they are."
        ],
        [
            (
                Plot(
                    "coding", "Accuracy without signs, magnitudes, phases or amplitudes.", draw,
                    numbers_of(("item", "accuracy", "change", "low", "high"), list(found.values())),
                ),
                f"Change of the accuracy in points: {changes}. The dashed line is the accuracy on unchanged images.",
            )
        ],
    )  # fmt: skip
