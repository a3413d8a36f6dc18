"""Figures as the report writes them."""

from dctnet.studies.accuracy.report.arms import is_real
from dctnet.studies.bootstrap import Estimate

_FIXED = "\N{NO-BREAK SPACE}"


def signed(value: float) -> str:
    """One decimal with its sign: ``+0.4``, ``−1.2``, ``0.0``."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def with_interval(estimate: Estimate) -> str:
    """An accuracy, never broken over two lines: ``81.2 % [79.0, 83.1]``."""
    return f"{estimate.value:.1f} % [{estimate.low:.1f}, {estimate.high:.1f}]".replace(" ", _FIXED)


def difference_with_interval(estimate: Estimate) -> str:
    """A difference: ``+0.4 [−0.3, +1.1]``; a second decimal where one would hide on which side of 0 an end lies."""
    ends = [signed(end) for end in (estimate.low, estimate.high)]
    if is_real(estimate) and "0.0" in ends:
        ends = [f"{end:+.2f}".replace("-", "−") for end in (estimate.low, estimate.high)]
    return f"{signed(estimate.value)} [{', '.join(ends)}]".replace(" ", _FIXED)
