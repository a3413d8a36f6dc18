"""Writes a study's page, and its figures as SVG in the page, PNG files and CSV files of the plotted numbers."""

import csv
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dctnet.errors import printable
from dctnet.io.atomic import atomic_open

# Width of all figures in points. The page shows them 336 to 600 pixels wide, where their text has 9 to 16 pixels.
WIDTH = 480
# Text and axes. In the page it is replaced by currentColor, which is dark or light.
INK = "#010203"
# Okabe and Ito's colours with a contrast of at least 3:1 to white and to black; orange is darkened to reach it.
BLUE, GREEN, VERMILLION, PURPLE, ORANGE, GREY = "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#C18600", "#808080"
_DPI = 72
_RC: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout on every machine
    "font.size": 13,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "legend.columnspacing": 1.2,
    "legend.frameon": False,
    "legend.handlelength": 1.7,
    "svg.fonttype": "none",
    "svg.hashsalt": "dctnet",  # reproducible ids
    "text.color": INK,
    "text.parse_math": False,  # $ is a plain character in names
    "xtick.color": INK,
    "ytick.color": INK,
}
Numbers = list[list[str | int | float]]
Style = dict[str, Any]  # keyword arguments of matplotlib
# Of the series of a figure, in their order; a marker tells series apart without their colour.
STYLES: tuple[Style, ...] = (
    {"color": BLUE, "marker": "o"},
    {"color": VERMILLION, "marker": "s"},
    {"color": GREEN, "marker": "D"},
    {"color": PURPLE, "marker": "^"},
    {"color": ORANGE, "marker": "v"},
)


@dataclass(frozen=True)
class Plot:
    """A figure of a page."""

    name: str  # of its files without suffix, and prefix of its ids in the page
    alternative: str  # text alternative for screen readers
    draw: Callable[[], Figure]  # called with the style of the page
    numbers: Sequence[Sequence[str | int | float]]  # the plotted numbers, header first


def new_figure(height: float) -> Figure:
    """An empty figure with constrained layout; height in points."""
    figure = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def add_legend(figure: Figure, handles: Sequence[Artist]) -> None:
    """Adds a legend above the axes, which exist already, in as many columns as fit; the figure grows by its height."""
    for columns in (3, 2, 1):
        legend = figure.legend(handles=handles, loc="outside upper left", ncols=columns)
        size = legend.get_window_extent()
        if columns == 1 or size.width <= figure.bbox.width:
            figure.set_figheight(figure.get_figheight() + size.height / _DPI)
            return
        legend.remove()


def shorten(name: str, longest: int = 40) -> str:
    """An untrusted name as one line of printable text with a maximum length."""
    text = printable(name)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def render_plots(plots: Sequence[Plot], folder: Path) -> dict[str, Markup]:
    """Draws plots, and writes ``NAME.png`` and ``NAME.csv`` of each into a folder, which is created if missing.

    Returns:
        SVG elements by plot name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # ignores the user's matplotlibrc
        matplotlib.rcParams.update(_RC)
        # Characters that the font lacks are boxes in the PNG; the page uses the browser's fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        return {plot.name: _render(plot, folder) for plot in plots}


def _render(plot: Plot, folder: Path) -> Markup:
    figure = plot.draw()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the same layout for SVG and PNG
    figure.savefig(folder / f"{plot.name}.png", dpi=3 * _DPI, facecolor="white", metadata={"Software": None})
    with open(folder / f"{plot.name}.csv", "w", newline="", encoding="utf-8") as file:
        lines = ([f"{value:.6g}" if isinstance(value, float) else value for value in line] for line in plot.numbers)
        csv.writer(file).writerows(lines)
    return _svg(figure, plot)


def _svg(figure: Figure, plot: Plot) -> Markup:
    """The figure as an SVG element with unique ids and the colours and fonts of the page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"\s*<(metadata|style).*?</\1>", "", file.getvalue(), flags=re.DOTALL)
    body = text[text.index("<svg") :].partition(">")[2].rstrip()
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{plot.name}-", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", body)
    body = body.replace("xlink:href", "href").replace(INK, "currentColor")
    size = f"{WIDTH} {_DPI * figure.get_figheight():g}"
    head = f'<svg role="img" aria-label="{escape(plot.alternative)}" viewBox="0 0 {size}">'
    return Markup(head + body)  # matplotlib escapes its texts


def write_page(path: Path, template: str, **content: object) -> None:
    """Renders a template and writes the page atomically. The same input gives the same bytes.

    Args:
        path: The HTML file.
        template: Jinja2 source that extends ``page.html``; it can import from ``macros.html``.
        content: Variables of the template; ``title`` is required. Strings are escaped, ``markupsafe.Markup`` is not.
    """
    environment = Environment(
        loader=PackageLoader("dctnet.studies.page", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.from_string(template).render(content)
    # errors="replace": file names can hold lone surrogates, which UTF-8 cannot encode.
    with atomic_open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(page)
