"""One picture in the forms that it is needed in: SVG within a page, wide and narrow, PNG, and its numbers as CSV."""

import csv
import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Widths in CSS pixels at which a figure stands 1:1, so that its text has the page's size: on a desk, on a telephone.
WIDE, NARROW = 760, 336
# Drawn for text and axes; in the page it becomes the colour of the page's text, light or dark.
INK = "#010203"
_DPI = 72  # an SVG unit is a point; so is a pixel of its page
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout on every machine
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "dctnet",
    "text.color": INK,
    "text.parse_math": False,  # a $ in a name is a $
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Picture:
    """A figure that can be drawn at any width.

    Args:
        name: Of its files, and what its ids begin with.
        alternative: Text for who cannot see it.
        draw: From a width in pixels to the figure.
        numbers: What it shows, a line each, the header first.
        tips: What is said where the pointer rests, by the ``gid`` of what is drawn.
    """

    name: str
    alternative: str
    draw: Callable[[int], Figure]
    numbers: Sequence[Sequence[str | int | float]]
    tips: dict[str, str] = field(default_factory=dict)


def new_figure(width: int, height: float) -> Figure:
    """An empty figure, sizes in pixels, ready to be measured."""
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def is_narrow(width: int) -> bool:
    """Whether a figure is for a telephone."""
    return width < (WIDE + NARROW) / 2


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int) -> None:
    """A legend above everything, in as many columns as fit; the figure grows by its height.

    Args:
        figure: Whose width must do.
        handles: The entries, with their labels.
        columns: At most.
    """
    narrow = is_narrow(round(figure.bbox.width))
    style = {"handlelength": 1.5, "columnspacing": 0.9, "fontsize": 9.5} if narrow else {"columnspacing": 1.3}
    for count in range(columns, 0, -1):
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=count, **style)
        size = legend.get_window_extent()
        if count == 1 or size.width <= figure.bbox.width:
            figure.set_figheight(figure.get_figheight() + size.height / _DPI)
            return
        legend.remove()


def shown(name: str, longest: int = 40) -> str:
    """A name from outside as one line of printable text of bounded length."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def render(picture: Picture, folder: Path) -> str:
    """Writes PNG and CSV.

    Args:
        picture: What to draw.
        folder: Where to write.

    Returns:
        Both SVGs for a page that shows one of them: classes ``wide`` and ``narrow``.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # nothing from a user's own matplotlibrc
        matplotlib.rcParams.update(_STYLE)
        # A letter that the font lacks is a box in the PNG; the page's own font has it.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        parts = []
        for kind, width in (("wide", WIDE), ("narrow", NARROW)):
            matplotlib.rcParams["font.size"] = 10.5 if is_narrow(width) else 12
            figure = picture.draw(width)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out once, for all forms
            parts.append(_svg(figure, picture, kind))
            if kind == "wide":
                figure.savefig(
                    folder / f"{picture.name}.png", dpi=2 * _DPI, facecolor="white", metadata={"Software": None}
                )
    write_numbers(folder / f"{picture.name}.csv", picture.numbers)
    return "\n".join(parts)


def _svg(figure: Figure, picture: Picture, kind: str) -> str:
    """A figure as an element of a page, with ids of its own and in the colours of the page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = re.sub(r"\s*<(metadata|style).*?</\1>", "", text, flags=re.DOTALL)
    _, _, body = text[text.index("<svg") :].partition(">")
    width, height = (_DPI * side for side in figure.get_size_inches())
    prefix = f"{picture.name}-{kind}-"
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", body)
    body = body.replace("xlink:href", "href").replace(INK, "currentColor")
    for gid, tip in picture.tips.items():
        body = body.replace(f'<g id="{prefix}{gid}">', f'<g id="{prefix}{gid}"><title>{html.escape(tip)}</title>')
    label = html.escape(picture.alternative)
    head = f'<svg class="{kind}" role="img" aria-label="{label}" viewBox="0 0 {width:g} {height:g}">'
    return head + body.rstrip()


def write_numbers(path: Path, lines: Sequence[Sequence[str | int | float]]) -> None:
    """Writes a table of numbers and names, which stay what they are."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([_cell(value) for value in line] for line in lines)


def _cell(value: str | int | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
