"""The convolution that computes channels from RGB, and the removal of channels that a static gate drops."""

import pytest
import torch

from dctnet.errors import UserError
from dctnet.export.graph import PixelNet, PixelsToChannels
from dctnet.frequency.channels import PlanesToChannels
from dctnet.frequency.color import rgb_to_ycbcr
from dctnet.frequency.selections import named_channels
from dctnet.model.fixed import without_dropped_channels
from dctnet.model.network import FrequencyNet

pytestmark = pytest.mark.usefixtures("small_backbones")


def network(**options) -> FrequencyNet:
    torch.manual_seed(0)
    built = FrequencyNet(["a", "b", "c"], options.pop("channels", "square-24"), 32, **options)
    built.normalisation.fit(torch.randn(built.input_shape[0]) * 5, torch.rand(built.input_shape[0]) * 30 + 1)
    return built.eval()


def pixels(count: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["all", "square-24", "random-7"])
def test_the_convolution_equals_colour_conversion_and_dct(name):
    channel_set = named_channels(name)
    expected = PlanesToChannels(channel_set)(rgb_to_ycbcr(pixels().double()))
    found = PixelsToChannels(channel_set)(pixels().float())
    assert (found - expected).abs().max() < 2e-3  # of 2,040


def test_a_network_on_pixels_equals_the_network_on_channels():
    own = network(companding="asinh")
    channels = PlanesToChannels(own.channels)(rgb_to_ycbcr(pixels().float()))
    assert torch.allclose(PixelNet(own)(pixels()), own(channels), atol=1e-4)


def test_a_network_on_rgb_is_only_converted_to_float():
    own = network(input="rgb", channels=())
    assert torch.equal(PixelNet(own)(pixels()), own(pixels().float()))


@pytest.mark.parametrize("companding", ["none", "asinh"])
def test_without_the_dropped_channels_the_logits_are_the_same(companding):
    own = network(gate="static", companding=companding)
    own.gate.logits.data = torch.randn(24, generator=torch.Generator().manual_seed(2))
    kept = own.gate.logits > 0
    smaller = without_dropped_channels(own)
    channels = torch.randn(2, 24, 4, 4) * 50
    assert smaller.gate is None
    assert smaller.input_shape == (int(kept.sum()), 4, 4) == (smaller.entry.in_channels, 4, 4)
    assert smaller.channels.indices == tuple(i for i, k in zip(own.channels.indices, kept, strict=True) if k)
    assert torch.allclose(smaller(channels[:, kept]), own(channels), atol=1e-5)
    assert own.gate is not None  # unchanged
    assert own.entry.in_channels == 24


@pytest.mark.parametrize("gate", ["none", "dynamic"])
def test_other_networks_are_left_as_they_are(gate):
    own = network(gate=gate)
    assert without_dropped_channels(own) is own


def test_a_gate_that_keeps_nothing_is_refused():
    own = network(gate="static")
    own.gate.logits.data.fill_(-1)
    with pytest.raises(UserError, match="keeps no channel"):
        without_dropped_channels(own)
