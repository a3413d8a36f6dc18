"""The patch embedding, and its initialisation as the DCT."""

import pytest
import torch
from torch import nn

from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.model.backbones.build import build_backbone
from dctnet.model.backbones.families import find_family
from dctnet.model.normalisation import ChannelNorm
from dctnet.model.patchify import init_as_dct, rgb_channels


def statistics(values):
    return values.mean((0, 2, 3)), values.std((0, 2, 3))


def test_initial_output_is_that_of_an_entry_for_normalised_channels():
    rgb = torch.rand(4, 3, 32, 48) * 255
    channels = rgb_channels(rgb)
    norms = ChannelNorm(3), ChannelNorm(NUM_CHANNELS)
    norms[0].fit(*statistics(rgb))
    norms[1].fit(*statistics(channels))
    patchify, entry = nn.Conv2d(3, 64, 8, 8, bias=False), nn.Conv2d(NUM_CHANNELS, 64, 1, bias=False)
    torch.manual_seed(5)
    nn.init.kaiming_normal_(entry.weight, mode="fan_out", nonlinearity="relu")
    torch.manual_seed(5)
    init_as_dct(patchify, norms[0].std, norms[1].std, find_family("resnet18").init)
    # They differ by a constant, which the batch norm behind both removes.
    after = nn.BatchNorm2d(64)
    assert torch.allclose(after(patchify(norms[0](rgb))), after(entry(norms[1](channels))), atol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_patchify_replaces_the_stem(name):
    network = build_backbone(name, 3, 5, patch=8)
    entry = network.get_submodule(find_family(name).entry)
    assert entry.kernel_size == entry.stride == (8, 8)
    assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
