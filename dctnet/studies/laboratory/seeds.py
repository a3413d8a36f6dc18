"""Random numbers of a measurement, independent for each purpose that has the same seed."""

import numpy as np
import torch

# Of the studies that draw with these functions; rows of earlier versions have other random numbers.
STREAMS = 1


def derive(seed: int, purpose: str) -> int:
    """A seed of 64 bits: weights and batches of one seed, for example, are not drawn by the same generator."""
    return int(np.random.SeedSequence((seed, *purpose.encode())).generate_state(1, np.uint64)[0])


def generator(seed: int, purpose: str) -> torch.Generator:
    """A generator of its own for one purpose."""
    return torch.Generator().manual_seed(derive(seed, purpose))
