"""The filtering method on functions whose frequencies are known."""

import pytest
import torch

from dctnet.frequency.filtering import (
    effective_neighbours,
    filtered_errors,
    gaussian_kernel,
    squared_distances,
    width_of,
)

X = torch.linspace(0, 1, 200, dtype=torch.float64)[:, None]
SLOW, FAST = torch.sin(2 * torch.pi * X), torch.sin(2 * torch.pi * 20 * X)


def test_distances_are_those_of_the_definition():
    inputs = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.cdist(inputs.flatten(1), inputs.flatten(1)).square()
    found = squared_distances(inputs)
    torch.testing.assert_close(found / found[0, 1], expected / expected[0, 1])
    assert found[~torch.eye(7, dtype=torch.bool)].median() == pytest.approx(1)


@pytest.mark.parametrize("neighbours", [2, 10, 50])
def test_a_kernel_averages_over_the_requested_number_of_neighbours(neighbours):
    distances = squared_distances(X)
    kernel = gaussian_kernel(distances, width_of(distances, neighbours))
    torch.testing.assert_close(kernel.sum(1), torch.ones(200, dtype=torch.float64))
    assert effective_neighbours(kernel) == pytest.approx(neighbours, rel=1e-3)


def test_each_error_sees_its_part_of_the_function():
    distances = squared_distances(X)
    kernel = gaussian_kernel(distances, width_of(distances, 15))
    low, high = filtered_errors(kernel, SLOW + FAST, SLOW)
    assert low < 0.1
    assert 0.9 < high < 1.1
    low, high = filtered_errors(kernel, SLOW + FAST, FAST)
    assert low > 0.9
    assert high < 0.2
    assert filtered_errors(kernel, SLOW + FAST, SLOW + FAST) == (0, 0)
