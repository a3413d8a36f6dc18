"""What the trainings say: low channels kept by arm, and rank correlations of the keep probability with each cause."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from dctnet.studies.intervals import Interval, mean_interval
from dctnet.studies.laboratory.gate_causes.arms import ARMS
from dctnet.studies.laboratory.gate_causes.data import KEEP
from dctnet.studies.laboratory.study import Measurement

# Columns of the rows that may explain what the gate keeps.
CAUSES = {
    "probe_accuracy": "information",
    "log_energy": "energy",
    "smoothness": "smoothness",
    "rho": "frequency",
}
MIN_SEEDS = 4  # below, there is no verdict
_RESAMPLES = 2000


Runs = Mapping[str, Mapping[int, Mapping[str, np.ndarray]]]


def collect(rows: Sequence[Measurement]) -> Runs:
    """The columns of each arm and seed as arrays over the channels."""
    runs: dict[str, dict[int, dict[str, np.ndarray]]] = {arm.name: {} for arm in ARMS}
    for arm in ARMS:
        own = [row for row in rows if row["arm"] == arm.name]
        for seed in sorted({int(row["seed"]) for row in own}):
            of = [row for row in own if row["seed"] == seed]
            names = (*CAUSES, "low", "keep_probability", "accuracy")
            runs[arm.name][seed] = {name: np.array([float(row[name]) for row in of]) for name in names}
    return runs


def low_kept(run: Mapping[str, np.ndarray]) -> int:
    """Low channels among the twelve with the highest keep probability."""
    kept = np.argsort(-run["keep_probability"], kind="stable")[:KEEP]
    return int(run["low"][kept].sum())


def kept_in(runs: Runs, arm: str) -> Interval:
    """Mean number of low channels kept."""
    return mean_interval([low_kept(run) for run in runs[arm].values()])


def effect(runs: Runs, arm: str, baseline: str = "natural") -> Interval:
    """Low channels kept more than in another arm, paired by seed."""
    seeds = runs[arm].keys() & runs[baseline].keys()
    return mean_interval([low_kept(runs[arm][seed]) - low_kept(runs[baseline][seed]) for seed in sorted(seeds)])


def identical(runs: Runs, arm: str, baseline: str = "natural") -> tuple[int, int]:
    """Number of seeds whose keep probabilities are the same numbers in two arms, and of seeds in both."""
    seeds = sorted(runs[arm].keys() & runs[baseline].keys())
    pairs = [[runs[name][seed]["keep_probability"] for name in (arm, baseline)] for seed in seeds]
    return sum(np.array_equal(a, b) for a, b in pairs), len(seeds)


def deviation(runs: Runs, arm: str, baseline: str = "natural") -> float:
    """Mean absolute difference of the keep probabilities of two arms."""
    seeds = sorted(runs[arm].keys() & runs[baseline].keys())
    pairs = [[runs[name][seed]["keep_probability"] for name in (arm, baseline)] for seed in seeds]
    return float(np.mean([np.abs(a - b).mean() for a, b in pairs]))


def partial_correlations(runs: Runs, arm: str, seed: int = 0) -> dict[str, Interval]:
    """Rank correlation of the keep probability with each cause, the other causes held constant.

    Channels are ranked within a training. The bootstrap draws trainings and channels, jointly, with replacement: the
    interval is that of other seeds and other channels.

    Returns:
        By column of ``CAUSES``; empty with fewer than four seeds.
    """
    trainings = list(runs[arm].values())
    if len(trainings) < MIN_SEEDS:
        return {}
    names = ("keep_probability", *CAUSES)
    # (trainings, columns, channels), centred
    ranks = np.stack([[rankdata(run[name]) for name in names] for run in trainings])
    ranks -= ranks.mean(2, keepdims=True)
    rng = np.random.default_rng(seed)
    count, channels = len(trainings), ranks.shape[2]
    draws = []
    for _ in range(_RESAMPLES):
        sample = ranks[rng.integers(count, size=count)][:, :, rng.integers(channels, size=channels)]
        draws.append(_partial(sample))
    low, high = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    found = zip(CAUSES, _partial(ranks), low, high, strict=True)
    return {name: Interval(float(value), float(a), float(b), count) for name, value, a, b in found}


def _partial(ranks: np.ndarray) -> np.ndarray:
    """Partial correlations of the first column with each other one, from the inverse of the covariance."""
    table = ranks.transpose(1, 0, 2).reshape(ranks.shape[1], -1)
    precision = np.linalg.pinv(np.cov(table), hermitian=True)
    return -precision[0, 1:] / np.sqrt(precision[0, 0] * np.diag(precision)[1:])
