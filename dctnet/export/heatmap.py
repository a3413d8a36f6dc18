"""Draws the keep probability of each channel as three 8×8 maps."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dctnet.frequency.channels import COMPONENTS, PER_COMPONENT, ChannelSet
from dctnet.frequency.dct import BLOCK

# Vermillion of Okabe and Ito: distinct from all blues and yellows of the colour map, also for colour-blind readers.
_OUTLINE = "#D55E00"


def draw_heat_map(path: str | Path, probability: Sequence[float], kept: ChannelSet, offered: Sequence[int]) -> None:
    """Draws keep probabilities and outlines the kept channels.

    Args:
        path: The PNG file to write.
        probability: Keep probability of each of the 192 channels.
        kept: The channels of the mask.
        offered: The channels that the gate can choose from; all others are hatched.
    """
    figure = Figure(figsize=(11, 4.3), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{len(kept)} of {len(offered)} channels kept (outlined)")
    panels = figure.subplots(1, len(COMPONENTS))
    for component, (panel, name) in enumerate(zip(panels, COMPONENTS, strict=True)):
        first = component * PER_COMPONENT
        values = [[probability[first + BLOCK * v + u] for u in range(BLOCK)] for v in range(BLOCK)]
        picture = panel.imshow(values, cmap="cividis", vmin=0, vmax=1)
        for frequency in range(PER_COMPONENT):
            v, u = divmod(frequency, BLOCK)
            corner = (u - 0.5, v - 0.5)
            if first + frequency in kept.indices:
                panel.add_patch(
                    Rectangle((u - 0.44, v - 0.44), 0.88, 0.88, fill=False, edgecolor=_OUTLINE, linewidth=2.5)
                )
            elif first + frequency not in offered:
                panel.add_patch(Rectangle(corner, 1, 1, facecolor="white", edgecolor="0.7", hatch="///", linewidth=0))
        panel.set_xticks([u - 0.5 for u in range(1, BLOCK)], minor=True)
        panel.set_yticks([v - 0.5 for v in range(1, BLOCK)], minor=True)
        panel.grid(which="minor", color="white", linewidth=0.8)
        panel.tick_params(which="minor", length=0)
        count = len(kept.frequencies()[component])
        panel.set(
            title=f"{name}: {count} kept", xlabel="horizontal frequency u", xticks=range(BLOCK), yticks=range(BLOCK)
        )
    panels[0].set_ylabel("vertical frequency v")
    figure.colorbar(picture, ax=panels, label="keep probability", shrink=0.85)
    figure.savefig(path, dpi=150)
