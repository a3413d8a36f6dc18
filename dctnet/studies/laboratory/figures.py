"""What figures of several studies share."""

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, NullFormatter

from dctnet.studies.laboratory.intervals import mean_interval
from dctnet.studies.page.page import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

# Of the lines of a figure, in their order; a mark tells lines apart without their colour.
COLOURS = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, GREY]
MARKS = ["o", "s", "^", "D", "v", "P"]


def plain_ticks(axis: Axis) -> None:
    """Labels a logarithmic axis with plain numbers, because the figures of a page have no formulas."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def ends(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Lower and upper ends of the intervals over seeds: (S, T) to T each."""
    intervals = [mean_interval(each) for each in values.T]
    return [each.low for each in intervals], [each.high for each in intervals]
