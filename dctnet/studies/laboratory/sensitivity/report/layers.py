"""Sections of layers and of attention."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.studies.intervals import number
from dctnet.studies.laboratory.page import Section
from dctnet.studies.laboratory.photographs import Photographs
from dctnet.studies.laboratory.sensitivity.layers import Attention, attention, rank_correlations
from dctnet.studies.laboratory.sensitivity.report.text import correlation, numbers_of, rows_of, with_interval
from dctnet.studies.laboratory.study import Measurement
from dctnet.studies.laboratory.subject import Subject
from dctnet.studies.page.page import BLUE, GREY, Plot, add_legend, new_figure


def layer_section(rows: Sequence[Measurement]) -> Section:
    """High frequencies in the feature maps by depth."""
    trained, permuted = rows_of(rows, "layers"), rows_of(rows, "layers_shuffled")
    if not trained:
        return Section("Layers", ["No convolution of this network has square feature maps of at least 7×7 places."])

    def draw() -> Figure:
        figure = new_figure(230)
        axes = figure.subplots()
        for found, colour, marker, label in (
            (trained, BLUE, "o", "trained"),
            (permuted, GREY, "s", "weights permuted within each layer"),
        ):
            x, y = [row["level"] for row in found], [100 * row["value"] for row in found]
            axes.plot(x, y, color=colour, marker=marker, markersize=5, label=label)
        axes.set(xlabel="depth: 0 is the first convolution, 1 the last", ylabel="share of power, %", ylim=(0, None))
        add_legend(figure, axes.get_legend_handles_labels()[0])
        return figure

    trend = correlation([row["level"] for row in trained], [row["value"] for row in trained])
    return Section(
        "Layers",
        [
            "Do early layers have high frequencies and deep layers low ones, or the reverse? For each convolution: "
            "the share of its feature maps’ power, without their means, that lies above half of the highest "
            f"frequency of the map. Its rank correlation with depth is {trend} over {len(trained)} layers. The same "
            "network with permuted weights shows what the architecture does by itself. A change of resolution "
            "between layers changes what is high."
        ],
        [
            (
                Plot(
                    "layers", "High frequencies in the feature maps by depth.", draw,
                    numbers_of(("part", "item", "level", "value"), [*trained, *permuted]),
                ),
                "Mean over photographs and feature maps, one point per convolution. High: maps that change from place "
                "to place; low: smooth maps.",
            )
        ],
    )  # fmt: skip


def attention_section(rows: Sequence[Measurement], subject: Subject, examples: Photographs) -> Section:
    """Attention against local gradient energy."""
    measured = {row["item"]: row for row in rows_of(rows, "attention")}
    found = attention(subject, examples, len(examples))
    if found is None or "difference" not in measured:
        return Section("Attention", ["No layer of this network has feature maps of at least 7×7 places."])
    values = {name: with_interval(row) for name, row in measured.items()}
    return Section(
        "Attention",
        [
            "Grad-CAM shows which places speak for the right class. Does it follow places where the image changes "
            "rapidly: the gradient energy, squared differences of neighbouring pixels of Y? Spearman’s rank "
            f"correlation over places is {values['same image']} with the same image and {values['other image']} with "
            "another one; both include that photographers put objects in the middle. The difference is "
            f"{values['difference']} (95 % interval over {measured['difference']['images']} images).",
            *_identity(rows),
        ],
        [
            (
                _attention_plot(found, examples),
                f"Four photographs; attention at the layer {found.layer}, brighter where a place speaks more for the "
                "right class; root of the gradient energy on the same grid, brighter where the image changes more.",
            )
        ],
    )


def _identity(rows: Sequence[Measurement]) -> list[str]:
    """Measured against predicted gradient energy; nothing in rows of early versions."""
    found = {row["item"]: row["value"] for row in rows_of(rows, "identity")}
    if not found:
        return []
    return [
        "Gradient energy stands for frequency: a difference of neighbours multiplies a wave of f cycles per pixel by "
        "2 sin πf, so that the fine waves count most. The sum over the pixels of an image is "
        f"{number(found['measured'])} on average; from the spectrum, Σ (4 sin² πf_x + 4 sin² πf_y) · |X|² predicts "
        f"{number(found['predicted'])}. The largest relative difference of an image is "
        f"{found['largest difference']:.0e}."
    ]


def _attention_plot(found: Attention, examples: Photographs) -> Plot:
    def draw() -> Figure:
        figure = new_figure(345)
        axes = figure.subplots(3, len(examples), squeeze=False)
        for column, planes in enumerate(examples.planes):
            photograph = ycbcr_to_rgb(planes).permute(1, 2, 0).round().byte().numpy()
            for row, picture in enumerate((photograph, found.cam[column].numpy(), found.energy[column].sqrt().numpy())):
                axes[row, column].imshow(picture, cmap="viridis")
                axes[row, column].set(xticks=[], yticks=[])
        for row, label in enumerate(("photograph", "attention", "gradient")):
            axes[row, 0].set_ylabel(label, fontsize=11)
        return figure

    names = [Path(path).name for path in examples.paths]
    correlations = rank_correlations(found)[0].tolist()
    return Plot(
        "attention",
        "Attention and gradient energy of some photographs.",
        draw,
        [["photograph", "correlation"], *map(list, zip(names, correlations, strict=True))],
    )
