"""Moves the parameters of a trained network in random directions: which frequencies are lost first."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from dctnet.studies.laboratory.seeds import generator
from dctnet.studies.laboratory.spectral_bias.targets import Target
from dctnet.studies.laboratory.spectral_bias.training import measure_rows
from dctnet.studies.laboratory.study import Measurement


@torch.no_grad()
def perturb(
    network: nn.Module,
    target: Target,
    norms: Sequence[float],
    directions: int,
    seed: int,
    check_stop: Callable[[], None],
) -> list[Measurement]:
    """Both measures, averaged over directions, at distances from the trained parameters.

    Args:
        network: Is left as it was.
        target: What it has learned.
        norms: Euclidean distances in the space of all parameters.
        directions: Number of directions, isotropic; the same for all norms.
        seed: Of the directions.
        check_stop: Is called at each norm.

    Returns:
        Rows of ``perturbed_modulus`` and ``perturbed_match`` with x = norm.

    Source: Rahaman et al. 2019, section 3, experiment 2.
    """
    parameters = list(network.parameters())
    trained = nn.utils.parameters_to_vector(parameters)
    rows: list[Measurement] = []
    for norm in norms:
        check_stop()
        drawn, outputs = generator(seed, "directions"), []
        for _ in range(directions):
            direction = torch.randn(len(trained), generator=drawn)
            nn.utils.vector_to_parameters(trained + norm * direction / direction.norm(), parameters)
            outputs.append(network(target.inputs)[:, 0])
        rows += measure_rows("perturbed_", norm, torch.stack(outputs), target)
    nn.utils.vector_to_parameters(trained, parameters)
    return rows
