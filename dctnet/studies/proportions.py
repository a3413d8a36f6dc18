"""Intervals of proportions."""


def share_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share by Wilson's method, (0, 1) of nothing."""
    from scipy.stats import binomtest  # takes a second

    if not total:
        return 0.0, 1.0
    found = binomtest(count, total).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
