"""Normalisation of channels."""

import torch

from dctnet.model.normalisation import ChannelNorm


def test_fitted_statistics_are_applied_and_saved():
    norm = ChannelNorm(2)
    assert not norm.fitted
    norm.fit(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 0.5]))
    again = ChannelNorm(2)
    again.load_state_dict(norm.state_dict())
    assert again.fitted
    channels = torch.randn(3, 2, 4, 4)
    expected = torch.stack([(channels[:, 0] - 1) / 2, (channels[:, 1] + 2) / 0.5], dim=1)
    assert torch.allclose(again(channels), expected)


def test_unfitted_norm_is_the_identity():
    channels = torch.randn(1, 2, 2, 2)
    assert torch.equal(ChannelNorm(2)(channels), channels)


def test_constant_channel_is_not_divided():
    norm = ChannelNorm(2)
    norm.fit(torch.tensor([3.0, 3.0]), torch.tensor([0.0, 2.0]))
    assert norm(torch.full((1, 2, 1, 1), 5.0)).flatten().tolist() == [2, 1]
