"""Figures of the page: probabilities, and the sensitivity of each channel."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dctnet.frequency.channels import COMPONENTS, PER_COMPONENT
from dctnet.frequency.dct import BLOCK
from dctnet.studies.explain.measure import Explanation
from dctnet.studies.page.page import BLUE, GREY, VERMILLION, Plot, new_figure, shorten

_SHOWN = 5


def channel_name(index: int) -> str:
    """Component and frequency, such as ``Cb (0, 1)``: vertical, then horizontal."""
    component, frequency = divmod(index, PER_COMPONENT)
    return f"{COMPONENTS[component]} {divmod(frequency, BLOCK)}"


def probability_plot(found: Explanation, classes: Sequence[str]) -> Plot:
    """Bars of the most probable classes."""
    top = found.probability.topk(min(_SHOWN, len(classes)))
    rows = [(classes[i], p) for i, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)]

    def draw() -> Figure:
        figure = new_figure(34 * len(rows) + 40)
        axes = figure.subplots()
        names = [shorten(name, 24) for name, _ in rows][::-1]
        colours = [GREY] * (len(rows) - 1) + [BLUE]
        bars = axes.barh(range(len(rows)), [p for _, p in rows][::-1], color=colours)
        axes.bar_label(bars, [f"{100 * p:.1f} %" for _, p in rows][::-1], padding=4)
        axes.set_yticks(range(len(rows)), names)
        axes.set_xlim(0, 1.15)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        return figure

    alternative = f"Most probable: {shorten(rows[0][0])}, {100 * rows[0][1]:.1f} %."
    return Plot("probability", alternative, draw, [["class", "probability"], *rows])


def sensitivity_plot(found: Explanation) -> Plot:
    """Maps of the sensitivity of each channel, one for each component; kept channels are outlined."""
    values = found.sensitivity.reshape(len(COMPONENTS), BLOCK, BLOCK).numpy()

    def draw() -> Figure:
        figure = new_figure(200)
        panels = figure.subplots(1, len(COMPONENTS))
        top = max(float(values.max()), 1e-12)
        for component, (axes, name) in enumerate(zip(panels, COMPONENTS, strict=True)):
            mesh = axes.imshow(np.sqrt(values[component] / top), cmap="viridis", vmin=0, vmax=1)
            for frequency in range(PER_COMPONENT):
                v, u = divmod(frequency, BLOCK)
                if found.kept[component * PER_COMPONENT + frequency]:
                    axes.add_patch(
                        Rectangle((u - 0.45, v - 0.45), 0.9, 0.9, fill=False, edgecolor=VERMILLION, linewidth=1.2)
                    )
            axes.set(title=name, xlabel="u", xticks=range(0, BLOCK, 2), yticks=range(0, BLOCK, 2))
        panels[0].set_ylabel("v")
        bar = figure.colorbar(mesh, ax=panels, shrink=0.7, ticks=[0, 0.5, 1])
        bar.set_ticklabels(["0", "¼", "1"])
        return figure

    best = int(found.sensitivity.argmax())
    rows = [(channel_name(i), i, float(value)) for i, value in enumerate(found.sensitivity.tolist())]
    alternative = f"Sensitivity of the 192 channels; the largest is that of {channel_name(best)}."
    return Plot("sensitivity", alternative, draw, [["channel", "index", "sensitivity"], *rows])
