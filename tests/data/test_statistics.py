"""Mean and standard deviation over batches and ranks."""

import torch

from dctnet.data.statistics import channel_statistics, choose_samples


def test_batches_and_ranks_give_the_statistics_of_all_values():
    values = torch.randn(7, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 3 + 5
    sums = []
    channel_statistics([values[:2]], 3, lambda own: (sums.append(own), own)[1])
    mean, std = channel_statistics([values[2:5], values[5:]], 3, lambda own: own + sums[0])
    assert torch.allclose(mean, values.mean((0, 2, 3)))
    assert torch.allclose(std, values.std((0, 2, 3), correction=0))


def test_no_batch_on_any_rank_gives_none():
    assert channel_statistics([], 3) is None


def test_samples_are_spread_over_the_sorted_files():
    indices = [index for _, index in choose_samples(10, 4)]
    assert indices == [0, 2, 5, 7]
    assert len(choose_samples(3, 4)) == 3
