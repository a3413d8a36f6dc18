"""The learned convolution that stands against the DCT, and its start as the DCT."""

import pytest
import torch
from torch import nn

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.model.backbones import build_backbone, entry_of
from dctnet.model.normalisation import ChannelNorm
from dctnet.model.patchify import init_as_dct, rgb_channels
from tests.training.test_module import classifier, data, trainer


def statistics(values):
    return values.mean((0, 2, 3)), values.std((0, 2, 3))


def test_the_start_computes_what_an_entry_of_normalised_channels_does():
    rgb = torch.rand(4, 3, 32, 48) * 255
    channels = rgb_channels(rgb)
    norms = ChannelNorm(3), ChannelNorm(NUM_CHANNELS)
    norms[0].fit(*statistics(rgb))
    norms[1].fit(*statistics(channels))
    patches, entry = nn.Conv2d(3, 64, 8, 8, bias=False), nn.Conv2d(NUM_CHANNELS, 64, 1, bias=False)
    torch.manual_seed(5)
    nn.init.kaiming_normal_(entry.weight, mode="fan_out", nonlinearity="relu")
    torch.manual_seed(5)
    init_as_dct(patches, norms[0].std, norms[1].std)
    # Batch norm follows both: it removes the constant by which they differ.
    after = nn.BatchNorm2d(64)
    assert torch.allclose(after(patches(norms[0](rgb))), after(entry(norms[1](channels))), atol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_patches_enter_where_channels_would(name):
    network = build_backbone(name, 3, 5, patch=8)
    assert entry_of(network).kernel_size == entry_of(network).stride == (8, 8)
    assert network.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)


def test_patches_cost_what_all_channels_do():
    channels = classifier(channels=list(range(NUM_CHANNELS)), image_size=64)
    patches = classifier(input="rgb", channels=[], stem="patches", image_size=64)
    assert patches.cost() == {**channels.cost(), "values": 3 * 64 * 64}


@pytest.mark.parametrize("stem", ["patches", "patches_dct"])
def test_patches_are_trained(photos, tmp_path, stem):
    run, model = trainer(tmp_path, max_epochs=12), classifier(input="rgb", channels=[], stem=stem)
    run.fit(model, data(photos, input="rgb", batch_size=6))
    assert run.callback_metrics["val_acc1"] > 0.6


def test_resuming_does_not_start_anew(photos, tmp_path):
    run, model = trainer(tmp_path, max_epochs=1), classifier(input="rgb", channels=[], stem="patches_dct")
    run.fit(model, data(photos, input="rgb"))
    learned = entry_of(model.backbone).weight.clone()
    again = trainer(tmp_path, max_epochs=1, limit_train_batches=0)
    again.fit(model, data(photos, input="rgb"))
    assert torch.equal(entry_of(model.backbone).weight, learned)


def test_patches_need_pixels():
    with pytest.raises(UserError, match="--model.stem patches reads pixels: it needs --model.input rgb"):
        classifier(stem="patches")


def test_torchvisions_network_has_its_own_stride():
    with pytest.raises(UserError, match="layer2_stride 1 is for channels and patches"):
        classifier(input="rgb", channels=[], layer2_stride=1)
