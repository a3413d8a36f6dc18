"""Keep probability and variance of the 192 channels: read from a benchmark's folder, and drawn as 8×8 maps."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dctnet.errors import UserError, first_line
from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS, PER_COMPONENT
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import read_mask
from dctnet.studies.page.page import VERMILLION, Numbers, Plot, new_figure

# Label of the colour bar, values, limits of the colour map, outlined channels.
_Row = tuple[str, Sequence[float], tuple[float, float], Sequence[int]]


def read_rankings(out: Path, mask: str | None) -> list[list[float]]:
    """Keep probability of each of the 192 channels in each ranking of a benchmark.

    Args:
        out: The benchmark's folder, with ``ranking.json``, or ``ranking-s0.json`` and so on, one for each seed.
        mask: The mask file that ``grid.yaml`` names, which is read if ``out`` has none.

    Returns:
        192 numbers in 0…1 for each ranking, by file name.

    Raises:
        UserError: A file is damaged.
    """
    paths = sorted(out.glob("ranking*.json")) or [Path(path) for path in (mask,) if path and Path(path).is_file()]
    return [probability for path in paths if (probability := read_mask(path)[1]) is not None]


def read_energy(path: Path) -> list[float] | None:
    """Variance of each of the 192 channels; None if there is no file.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {first_line(error)}") from error
    values = content.get("variance") if isinstance(content, dict) else None
    if not isinstance(values, list) or len(values) != NUM_CHANNELS:
        raise UserError(f"{path}: variance must be a list of {NUM_CHANNELS} numbers, got {repr(values)[:60]}")
    for i, value in enumerate(values):
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise UserError(f"{path}: variance[{i}] must be a finite number of at least 0, got {repr(value)[:40]}")
    return values


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
        rows.append(("keep probability", probability, (0.0, 1.0), outlined["learned"]))
    if energy is not None:
        logs = [math.log10(max(value, 1e-12)) for value in energy]
        rows.append(("variance, log₁₀", logs, (min(logs), max(logs)), outlined["energy"]))
    numbers: Numbers = [["channel", "component", "v", "u", "keep_probability", "variance"]]
    for index in range(NUM_CHANNELS):
        component, frequency = divmod(index, PER_COMPONENT)
        values = ["" if given is None else given[index] for given in (probability, energy)]
        numbers.append([index, COMPONENTS[component], *divmod(frequency, BLOCK), *values])
    return Plot(
        "ranking",
        f"Three maps of 8×8 frequencies, for Y, Cb and Cr: {' and, below, '.join(row[0] for row in rows)}.",
        lambda: _draw(rows),
        numbers,
    )


def _draw(rows: Sequence[_Row]) -> Figure:
    figure = new_figure(235 * len(rows))
    panels = figure.subplots(len(rows), len(COMPONENTS), squeeze=False, sharex=True, sharey=True)
    for line, (label, values, limits, outlined) in zip(panels, rows, strict=True):
        for component, panel in enumerate(line):
            first = component * PER_COMPONENT
            inside = [index - first for index in outlined if first <= index < first + PER_COMPONENT]
            cells = _draw_map(panel, values[first : first + PER_COMPONENT], inside)
            cells.set_clim(*limits)
            panel.set_title(f"{COMPONENTS[component]}: {len(inside)}" if outlined else COMPONENTS[component])
        line[0].set_ylabel("vertical v")
        bar = figure.colorbar(cells, ax=list(line), label=label, location="bottom", aspect=40)
        # Vectors instead of a bitmap, which would blur when the page scales it; coloured edges hide the seams.
        bar.solids.set(rasterized=False, edgecolor="face")  # type: ignore[union-attr]
    for panel in panels[-1]:
        panel.set_xlabel("horizontal u")
    return figure


def _draw_map(panel: Axes, values: Sequence[float], outlined: Sequence[int]) -> QuadMesh:
    places = range(BLOCK)
    cells = panel.pcolormesh(places, places, np.reshape(values, (BLOCK, BLOCK)), cmap="cividis", edgecolor="face")
    for frequency in outlined:
        v, u = divmod(frequency, BLOCK)
        panel.add_patch(Rectangle((u - 0.42, v - 0.42), 0.84, 0.84, fill=False, edgecolor=VERMILLION, linewidth=2))
    panel.set(xticks=places[::7], yticks=places[::7], xlim=(-0.55, 7.55), ylim=(7.55, -0.55), aspect="equal")
    panel.spines[:].set_visible(False)
    panel.tick_params(length=0)
    return cells
