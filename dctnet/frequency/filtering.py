"""The filtering method: low and high response frequencies of a function that is known at some inputs.

Here frequency means how fast the output changes from an input to its neighbours, not a frequency within an image.

Source: Xu, Z.-Q. J. et al., "Frequency principle: Fourier analysis sheds light on deep neural networks", Communications
in Computational Physics 28 (2020), section 4.2.
"""

import torch
from torch import Tensor


def squared_distances(inputs: Tensor) -> Tensor:
    """Of all pairs of inputs: (N, …) to (N, N), float64, in units of their median."""
    flat = inputs.flatten(1).double()
    flat = flat - flat.mean(0)
    squares = flat.square().sum(1)
    distances = (squares[:, None] + squares[None, :] - 2 * flat @ flat.T).clamp(min=0).fill_diagonal_(0)
    return distances / distances[~torch.eye(len(flat), dtype=torch.bool)].median()


def gaussian_kernel(distances: Tensor, width: float) -> Tensor:
    """exp(−d² / 2 δ²) with rows that sum to 1; ``width`` is δ in units of the root of the median of d²: (N, N)."""
    return (-distances / (2 * width**2)).softmax(1)


def effective_neighbours(kernel: Tensor) -> float:
    """Median over the rows of 1 / Σ weight², the number of inputs over which a row averages."""
    return float((1 / kernel.square().sum(1)).median())


def width_of(distances: Tensor, neighbours: float) -> float:
    """The width δ at which the kernel averages over a number of inputs, 1 … N, by bisection."""
    low, high = 1e-4, 1e4
    for _ in range(60):
        middle = (low * high) ** 0.5
        if effective_neighbours(gaussian_kernel(distances, middle)) < neighbours:
            low = middle
        else:
            high = middle
    return high


def filtered_errors(kernel: Tensor, targets: Tensor, outputs: Tensor) -> tuple[float, float]:
    """Relative errors e_low and e_high of the smoothed outputs and of what smoothing removes.

    Shape:
        - kernel: (N, N)
        - targets, outputs: (N, K), float64
    """
    low, low_output = kernel @ targets, kernel @ outputs
    high, high_output = targets - low, outputs - low_output
    return float((low - low_output).norm() / low.norm()), float((high - high_output).norm() / high.norm())
