"""Figures of a page: SVG for wide and for narrow screens, PNG, and the plotted numbers as CSV."""

import csv
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dctnet.errors import printable

# Widths in CSS pixels. The page shows figures at 1:1, so that their text has the size of the page's text.
WIDE, NARROW = 760, 336
# Text and axes. In the page it is replaced by currentColor, which is dark or light.
INK = "#010203"
# Okabe and Ito's colours with a contrast of at least 3:1 to white and to black; orange is darkened to reach it.
BLUE, GREEN, VERMILLION, PURPLE, ORANGE, GREY = "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#C18600", "#808080"
_DPI = 72  # one SVG unit (a point) is then one CSS pixel
_RC: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout on every machine
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "dctnet",  # reproducible ids
    "text.color": INK,
    "text.parse_math": False,  # $ is a plain character in names
    "xtick.color": INK,
    "ytick.color": INK,
}
Numbers = Sequence[Sequence[str | int | float]]
Style = dict[str, Any]  # keyword arguments of matplotlib


@dataclass(frozen=True)
class Plot:
    """A figure that can be drawn at any width.

    Args:
        name: Name of its files without suffix, and prefix of its ids in the page.
        alternative: Text alternative for screen readers.
        draw: Draws the figure at a width in pixels.
        numbers: The plotted numbers, header first.
        tips: Tooltips by the ``gid`` of an artist.
    """

    name: str
    alternative: str
    draw: Callable[[int], Figure]
    numbers: Numbers
    tips: dict[str, str] = field(default_factory=dict)


def new_figure(width: int, height: float) -> Figure:
    """An empty figure with constrained layout; sizes in pixels."""
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def is_narrow(width: int) -> bool:
    """Whether a figure of this width is for a narrow screen."""
    return width < (WIDE + NARROW) / 2


def add_legend(figure: Figure, handles: Sequence[Artist], columns: int = 6) -> None:
    """Adds a legend above the axes in as many columns as fit, and makes the figure higher by its height.

    Args:
        figure: The figure; its axes exist already.
        handles: Artists with labels.
        columns: The largest number of columns.
    """
    narrow = is_narrow(round(figure.bbox.width))
    style: Style = {"handlelength": 1.5, "columnspacing": 0.9, "fontsize": 9.5} if narrow else {"columnspacing": 1.3}
    for count in range(columns, 0, -1):
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=count, **style)
        size = legend.get_window_extent()
        if count == 1 or size.width <= figure.bbox.width:
            figure.set_figheight(figure.get_figheight() + size.height / _DPI)
            return
        legend.remove()


def shorten(name: str, longest: int = 40) -> str:
    """An untrusted name as one line of printable text with a maximum length."""
    text = printable(name)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def render_plots(plots: Sequence[Plot], folder: Path) -> dict[str, Markup]:
    """Draws plots and writes ``NAME.png`` and ``NAME.csv`` of each.

    Args:
        plots: The plots.
        folder: The folder of the files; created if missing.

    Returns:
        Two SVG elements by plot name, with classes ``wide`` and ``narrow``; the page shows one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # ignores the user's matplotlibrc
        matplotlib.rcParams.update(_RC)
        # Characters that the font lacks are boxes in the PNG; the page uses the browser's fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        return {plot.name: _render(plot, folder) for plot in plots}


def _render(plot: Plot, folder: Path) -> Markup:
    parts = []
    for kind, width in (("wide", WIDE), ("narrow", NARROW)):
        matplotlib.rcParams["font.size"] = 10.5 if is_narrow(width) else 12
        figure = plot.draw(width)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # the same layout for SVG and PNG
        parts.append(_svg(figure, plot, kind))
        if kind == "wide":
            figure.savefig(folder / f"{plot.name}.png", dpi=2 * _DPI, facecolor="white", metadata={"Software": None})
    with open(folder / f"{plot.name}.csv", "w", newline="", encoding="utf-8") as file:
        lines = ([f"{value:.6g}" if isinstance(value, float) else value for value in line] for line in plot.numbers)
        csv.writer(file).writerows(lines)
    return Markup("\n").join(parts)


def _svg(figure: Figure, plot: Plot, kind: str) -> Markup:
    """The figure as an SVG element with unique ids and the colours of the page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"\s*<(metadata|style).*?</\1>", "", file.getvalue(), flags=re.DOTALL)
    body = text[text.index("<svg") :].partition(">")[2]
    width, height = (_DPI * side for side in figure.get_size_inches())
    prefix = f"{plot.name}-{kind}-"
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", body)
    body = body.replace("xlink:href", "href").replace(INK, "currentColor")
    for gid, tip in plot.tips.items():
        body = body.replace(f'<g id="{prefix}{gid}">', f'<g id="{prefix}{gid}"><title>{escape(tip)}</title>')
    head = f'<svg class="{kind}" role="img" aria-label="{escape(plot.alternative)}" viewBox="0 0 {width:g} {height:g}">'
    return Markup(head + body.rstrip())  # matplotlib escapes its texts
