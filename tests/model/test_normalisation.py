"""Normalisation of channels."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dctnet.data.preprocess import Preprocess
from dctnet.frequency.dct import block_dct
from dctnet.frequency.selections import named_channels
from dctnet.model.normalisation import ChannelNorm
from tests.conftest import needs_turbojpeg


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


def test_what_lies_below_the_rounding_of_pixels_is_not_enlarged():
    """Rounding of 8-bit pixels gives each orthonormal DCT coefficient a deviation of 1/√12."""
    pixels = 255 * torch.rand(1, 1, 512, 512, generator=torch.Generator().manual_seed(0))
    rounding = block_dct(pixels.round() - pixels).std()
    norm = ChannelNorm(3)
    norm.fit(torch.zeros(3), torch.tensor([0.0, 0.002, 2.0]))
    assert norm.std[:2].tolist() == pytest.approx(2 * [rounding.item()], rel=0.01)
    assert norm.std[2] == 2


@needs_turbojpeg
def test_decoders_agree_on_what_a_network_sees_of_halved_chroma():
    """Of 4:2:0 files, libjpeg-turbo's planes have no high chroma frequencies, Pillow's have some, mostly rounding."""
    rng, files = np.random.default_rng(0), []
    for _ in range(4):
        colours = Image.fromarray(rng.integers(60, 190, (32, 32, 3), dtype=np.uint8)).resize((256, 256), Image.BICUBIC)
        colours.save(file := io.BytesIO(), "JPEG", quality=85, subsampling="4:2:0")
        files.append(file.getvalue())
    turbojpeg, pillow = (
        torch.cat([Preprocess(named_channels("all"), 224, 1.0, decoder=decoder)(file) for file in files])
        for decoder in ("turbojpeg", "pillow")
    )
    norm = ChannelNorm(192)
    norm.fit(turbojpeg.mean((0, 2, 3)), turbojpeg.std((0, 2, 3)))
    difference = (norm(turbojpeg) - norm(pillow)).pow(2).mean((0, 2, 3)).sqrt()
    assert difference.max() < 1


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
