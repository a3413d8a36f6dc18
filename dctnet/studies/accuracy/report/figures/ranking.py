"""Keep probability and variance of the 192 channels as 8×8 maps."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS, PER_COMPONENT
from dctnet.frequency.dct import BLOCK
from dctnet.studies.page.figures import VERMILLION, Plot, is_narrow, new_figure

# Label of the colour bar, values, limits of the colour map, outlined channels.
_Row = tuple[str, list[float], tuple[float, float], Sequence[int]]


def plot_ranking(
    probability: Sequence[float] | None, energy: Sequence[float] | None, outlined: dict[str, Sequence[int]]
) -> Plot:
    """A row of three maps (Y, Cb, Cr) for each given quantity; at least one is given.

    Args:
        probability: Keep probability of each channel.
        energy: Variance of each channel.
        outlined: Channels to outline, under ``learned`` and ``energy``.
    """
    rows: list[_Row] = []
    if probability is not None:
        rows.append(("keep probability", list(probability), (0.0, 1.0), outlined["learned"]))
    if energy is not None:
        logs = [math.log10(max(value, 1e-12)) for value in energy]
        rows.append(("variance, log₁₀", logs, (min(logs), max(logs)), outlined["energy"]))
    numbers: list[list[str | int | float]] = [["channel", "component", "v", "u", "keep_probability", "variance"]]
    for index in range(NUM_CHANNELS):
        component, frequency = divmod(index, PER_COMPONENT)
        values = ["" if given is None else given[index] for given in (probability, energy)]
        numbers.append([index, COMPONENTS[component], *divmod(frequency, BLOCK), *values])
    return Plot(
        "ranking",
        f"Three maps of 8×8 frequencies, for Y, Cb and Cr: {' and, below, '.join(row[0] for row in rows)}.",
        lambda width: _draw(rows, is_narrow(width), width),
        numbers,
    )


def _draw(rows: Sequence[_Row], narrow: bool, width: int) -> Figure:
    figure = new_figure(width, len(rows) * (178 if narrow else 235) + 40)
    panels = figure.subplots(len(rows), len(COMPONENTS), squeeze=False, sharex=True, sharey=True)
    for line, (label, values, limits, outlined) in zip(panels, rows, strict=True):
        for component, panel in enumerate(line):
            first = component * PER_COMPONENT
            inside = [index - first for index in outlined if first <= index < first + PER_COMPONENT]
            cells = _cells(panel, values[first : first + PER_COMPONENT], inside)
            cells.set_clim(*limits)
            panel.set_title(f"{COMPONENTS[component]}: {len(inside)}" if outlined else COMPONENTS[component])
            ticks = (0, 7) if narrow else range(BLOCK)
            panel.set(xticks=ticks, yticks=ticks)
        line[0].set_ylabel("v" if narrow else "vertical frequency v")
        place = {"location": "bottom", "aspect": 30} if narrow else {"shrink": 0.9, "pad": 0.02}
        bar = figure.colorbar(cells, ax=list(line), label=label, **place)
        bar.outline.set_visible(False)
        # Vectors instead of a bitmap, which would blur when the page scales it; coloured edges hide the seams.
        bar.solids.set(rasterized=False, edgecolor="face")  # type: ignore[union-attr]
    for panel in panels[-1]:
        panel.set_xlabel("u" if narrow else "horizontal frequency u")
    return figure


def _cells(panel: Axes, values: Sequence[float], outlined: Sequence[int]) -> PatchCollection:
    """A square for each frequency; the gaps have the background of the page."""
    squares = [Rectangle((u - 0.46, v - 0.46), 0.92, 0.92) for v in range(BLOCK) for u in range(BLOCK)]
    cells = PatchCollection(squares, cmap="cividis", linewidth=0)
    cells.set_array(list(values))
    panel.add_collection(cells)
    for frequency in outlined:
        v, u = divmod(frequency, BLOCK)
        panel.add_patch(Rectangle((u - 0.44, v - 0.44), 0.88, 0.88, fill=False, edgecolor=VERMILLION, linewidth=2))
    panel.set(xlim=(-0.55, 7.55), ylim=(7.55, -0.55), aspect="equal")
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    return cells
