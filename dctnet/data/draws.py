"""Random numbers that depend on (seed, epoch, index) alone, for many samples at once."""

import numpy as np

_GOLDEN, _FIRST, _SECOND = (np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def uniform(seed: int, epoch: int, indices: np.ndarray, count: int) -> np.ndarray:
    """Uniform numbers of some samples: (N, count), float32, 0 ≤ u < 1.

    Each is one output of a SplitMix64 generator of the epoch, whose n-th output is a function of n. So they depend
    neither on the other samples of a batch nor on the process.

    Args:
        seed: Seed of the data.
        epoch: The epoch.
        indices: Index of each sample (N,) in its split.
        count: Numbers for each sample.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17.
    """
    start = np.random.SeedSequence((seed, epoch), spawn_key=(1,)).generate_state(1, np.uint64)
    places = indices.astype(np.uint64)[:, None] * np.uint64(count) + np.arange(1, count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2⁶⁴
        state: np.ndarray = start + places * _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
