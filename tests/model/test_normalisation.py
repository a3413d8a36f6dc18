"""Normalisation of channels."""

import numpy as np
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


def test_companding_is_behind_the_statistics_and_keeps_order_and_sign():
    norm = ChannelNorm(2, "asinh")
    norm.fit(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 0.5]))
    channels = torch.linspace(-60, 60, 2 * 25).view(1, 2, 5, 5)
    z = (channels - norm.mean[:, None, None]) / norm.std[:, None, None]
    assert np.allclose(norm(channels), np.arcsinh(4 * z.numpy()) / 1.2)
    assert torch.equal(norm(channels).flatten(2).diff() > 0, z.flatten(2).diff() > 0)
    assert torch.equal(norm(channels).sign(), z.sign())


def test_companding_limits_heavy_tails():
    tailed = torch.distributions.StudentT(3.0).sample((4, 1, 50, 50))
    norm = ChannelNorm(1, "asinh")
    norm.fit(tailed.mean().view(1), tailed.std().view(1))
    linear = ChannelNorm(1)
    linear.load_state_dict(norm.state_dict())

    def kurtosis(x):
        return ((x - x.mean()) ** 4).mean() / x.var() ** 2

    assert kurtosis(norm(tailed)) < 4 < kurtosis(linear(tailed))
