"""Figures of Rahaman et al. 2019 beside ours."""

import math

import numpy as np

from dctnet.studies.intervals import number
from dctnet.studies.laboratory.page import Table
from dctnet.studies.laboratory.spectral_bias.results import Curves, across_seeds
from dctnet.studies.laboratory.spectral_bias.training import Setting

FULL = 0.9  # of the amplitude: what we count as full
# Iterations to the full amplitude, from and to, read off the heat map: 6 × 256 ReLU, Adam at 3e-4, 60,000 iterations.
_ITERATIONS = {5: (0, 1_000), 10: (7_000,) * 2, 15: (15_000,) * 2, 20: (32_000,) * 2, 45: (60_000, math.inf),
               50: (60_000, math.inf)}  # fmt: skip


def as_in_source(setting: Setting) -> bool:
    """Whether the setting differs from the source's at most in width and number of iterations."""
    return (setting.activation, setting.depth, setting.optimizer, setting.learning_rate, setting.weight_decay) == (
        "relu", 6, "adam", 3e-4, 0
    ) and (setting.amplitudes, setting.petals) == ("equal", None)  # fmt: skip


def compare_iterations(modulus: Curves) -> tuple[Table, list[str]]:
    """A table of the iterations to the full amplitude beside the source's, and in how many frequencies they agree."""
    rows, agree, told = [], 0, 0
    for k, full in zip(modulus.k.astype(int), modulus.iterations(FULL).T, strict=True):
        if k not in _ITERATIONS:
            continue
        first, last = _ITERATIONS[k]
        source = (
            f"below {number(last)}" if not first else f"not in {number(first)}" if math.isinf(last) else number(first)
        )
        ours, verdict = _verdict(full, first, last, modulus.x[-1])
        told += verdict in ("agrees", "differs")
        agree += verdict == "agrees"
        rows.append([f"k = {k}", source, ours, verdict])
    words = [
        f"Iterations to nine tenths of the modulus agree with those that Rahaman et al. show for the full amplitude at "
        f"{agree} of {told} frequencies that can be compared; the table beside the figure lists them."
    ]
    return Table("Beside Rahaman et al.", ["Frequency", "Source", "Here, to nine tenths", "In words"], rows), words


def _verdict(full: np.ndarray, first: float, last: float, steps: float) -> tuple[str, str]:
    """Ours in words, and whether the source's iterations lie in our interval."""
    reached = np.isfinite(full)
    if not reached.any():
        ours = f"not in {number(steps)}"
        if first > steps or (math.isinf(last) and steps < first):
            return ours, "cannot be told: fewer iterations than the source's"
        return ours, "agrees" if math.isinf(last) else "differs"
    if not reached.all():
        return f"in {reached.sum()} of {len(full)} seeds", "cannot be told: not in every seed"
    mean = across_seeds(full, log=True)
    assert mean is not None
    if mean.seeds == 1:
        return str(mean), "cannot be told from one seed"
    return str(mean), "agrees" if mean.low <= last and mean.high >= first else "differs"
