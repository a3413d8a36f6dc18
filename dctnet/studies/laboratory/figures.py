"""What figures of several studies share."""

import matplotlib
import numpy as np
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FuncFormatter, NullFormatter

from dctnet.studies.intervals import mean_interval
from dctnet.studies.page.page import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

# Of the lines of a figure, in their order; a mark tells lines apart without their colour.
COLOURS = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, GREY]
MARKS = ["o", "s", "^", "D", "v", "P"]


def ordered_colours(count: int) -> ListedColormap:
    """Colours of ordered lines, from low to high; all are visible on a light and on a dark page."""
    return ListedColormap(matplotlib.colormaps["plasma"](np.linspace(0.35, 0.75, count)))


def plain_ticks(axis: Axis) -> None:
    """Labels a logarithmic axis with plain numbers, because the figures of a page have no formulas."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def ends(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Lower and upper ends of the intervals over seeds: (S, T) to T each."""
    intervals = [mean_interval(each) for each in values.T]
    return [each.low for each in intervals], [each.high for each in intervals]
