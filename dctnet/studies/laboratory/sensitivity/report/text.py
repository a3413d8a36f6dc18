"""Rows and figures in words."""

import math
from collections.abc import Sequence

from dctnet.frequency.channels import COMPONENTS, PER_COMPONENT
from dctnet.frequency.dct import BLOCK
from dctnet.studies.intervals import minus, rank_correlation
from dctnet.studies.laboratory.study import Measurement
from dctnet.studies.page.page import Numbers


def rows_of(rows: Sequence[Measurement], part: str) -> list[Measurement]:
    """The rows of a part of the study."""
    return [row for row in rows if row["part"] == part]


def clean_accuracy(rows: Sequence[Measurement], item: str = "all") -> float:
    """Accuracy on unchanged images: ``all``, those of single ``channels``, or those that ``noise`` is added to."""
    return next(row["accuracy"] for row in rows_of(rows, "clean") if row["item"] == item)


def numbers_of(head: Sequence[str], rows: Sequence[Measurement]) -> Numbers:
    """Some columns of rows, with their names first."""
    return [list(head), *([row[name] for name in head] for row in rows)]


def percent(share: float) -> str:
    """A share, 0 … 1, in percent."""
    return f"{100 * share:.1f} %"


def points(row: Measurement) -> str:
    """A change of accuracy in points with its interval."""
    return minus(f"{100 * row['change']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]")


def with_interval(row: Measurement) -> str:
    """A value with its interval."""
    return minus(f"{row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]")


def channel_name(channel: int) -> str:
    """``Y (1, 0)``: component, vertical and horizontal frequency."""
    component, frequency = divmod(channel, PER_COMPONENT)
    v, u = divmod(frequency, BLOCK)
    return f"{COMPONENTS[component]} ({v}, {u})"


def correlation(one: Sequence[float], other: Sequence[float]) -> str:
    """Spearman's ρ of two lists, in words if it is not defined."""
    found = rank_correlation(one, other) if len(one) > 2 else math.nan
    return "not defined" if math.isnan(found) else minus(f"{found:+.2f}")
