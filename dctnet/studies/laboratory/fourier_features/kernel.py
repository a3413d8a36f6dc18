"""The neural tangent kernel (NTK) of a ReLU network with a finite width, and in the limit of infinite width.

The parametrisation is that of Jacot et al. 2018: all parameters are standard normal, a hidden layer of n units is
√(2/n) · relu(W h + β b), without the root in the first layer, whose inputs have about unit norm. β scales the biases.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import jacrev, vmap

from dctnet.studies.laboratory.seeds import generator

Parameters = dict[str, Tensor]


def make_parameters(inputs: int, width: int, depth: int, seed: int) -> Parameters:
    """Standard normal parameters of a network with ``depth`` hidden layers and one output, float32."""
    drawn = generator(seed, "parameters")
    sizes = [inputs, *[width] * depth, 1]
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        shapes |= {f"weight{layer}": (fan_out, fan_in), f"bias{layer}": (fan_out,)}
    return {name: torch.randn(shape, generator=drawn) for name, shape in shapes.items()}


def outputs_of(parameters: Parameters, x: Tensor, bias: float) -> Tensor:
    """Outputs of the network: (..., inputs) to (...)."""
    layers = len(parameters) // 2
    for layer in range(layers):
        x = x @ parameters[f"weight{layer}"].T + bias * parameters[f"bias{layer}"]
        if layer < layers - 1:
            x = torch.relu(x) * math.sqrt(2 / x.shape[-1])
    return x[..., 0]


def jacobian_kernel(parameters: Parameters, x: Tensor, bias: float) -> Tensor:
    """Inner products of the gradients of the outputs by all parameters: (N, inputs) to (N, N), float64."""
    gradients = vmap(jacrev(lambda p, point: outputs_of(p, point, bias)), (None, 0))(parameters, x)
    flat = [each.flatten(1) for each in gradients.values()]
    return sum(each @ each.T for each in flat).double()


def limit_kernel(x: Tensor, bias: float, depth: int, others: Tensor | None = None) -> Tensor:
    """The kernel in the limit of infinite width, from arc-cosine kernels.

    Args:
        x: Points.
        bias: β.
        depth: Number of hidden layers.
        others: Second arguments of the kernel; default: the points.

    Shape:
        - x: (N, inputs), others: (M, inputs), float64
        - output: (N, M)

    Source: Cho and Saul 2009, equations 5 and 6; Jacot et al. 2018, theorem 1.
    """
    others = x if others is None else others
    covariance = x @ others.T + bias**2
    first, second = (each.square().sum(1) + bias**2 for each in (x, others))
    kernel = covariance
    for _ in range(depth):
        scale = (first[:, None] * second[None, :]).sqrt()
        cosine = (covariance / scale).clamp(-1, 1)
        angle = torch.acos(cosine)
        slope = (math.pi - angle) / math.pi
        covariance = scale * (torch.sin(angle) + (math.pi - angle) * cosine) / math.pi + bias**2
        kernel = covariance + kernel * slope
        first, second = first + bias**2, second + bias**2
    return kernel


def fourier_modes(points: int, frequencies: Sequence[int]) -> Tensor:
    """Orthonormal complex waves exp(2πikx) at equally spaced points: (K, N)."""
    place = torch.arange(points, dtype=torch.float64) / points
    k = torch.tensor(list(frequencies), dtype=torch.float64)
    return torch.exp(2j * math.pi * k[:, None] * place) / math.sqrt(points)


def mode_eigenvalues(kernel: Tensor) -> Tensor:
    """λ_k = v*Kv of the waves k = 0 … N/2 − 1, which are the eigenvectors if the kernel is stationary: (N/2,)."""
    modes = fourier_modes(len(kernel), range(len(kernel) // 2))
    return (modes.conj() @ kernel.to(modes.dtype) * modes).sum(1).real


def nonstationarity(kernel: Tensor) -> float:
    """Share of a kernel on N equally spaced points that does not depend on their cyclic distance alone: 0 … 1.

    The norm of the difference from the mean over equal distances, divided by the norm of the kernel without its mean.
    """
    size = len(kernel)
    place = torch.arange(size)
    distance = (place[None, :] - place[:, None]) % size
    sums = torch.zeros(size, dtype=kernel.dtype).index_add(0, distance.flatten(), kernel.flatten())
    rest = kernel - (sums / size)[distance]
    return float(rest.norm() / (kernel - kernel.mean()).norm())
