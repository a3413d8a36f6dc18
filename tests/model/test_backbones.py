"""Backbones with an entry for channels: shapes, cost, RGB weights."""

import pytest
import torch
import torchvision

from dctnet.errors import UserError
from dctnet.model.backbones.build import build_backbone, build_rgb_backbone
from dctnet.model.backbones.families import TORCHVISION
from dctnet.model.metrics import count_gmac
from dctnet.model.network import FrequencyNet
from dctnet.model.weight_files import read_weights
from dctnet.model.weights import take_state


@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.parametrize("num_channels", [1, 24, 192])
def test_logits_have_the_shape_of_the_classes(name, num_channels):
    with torch.device("meta"):
        network = build_backbone(name, num_channels, 7)
        assert network(torch.empty(2, num_channels, 28, 28)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "channels", "side", "stride", "gmac"),
    [
        ("resnet50", 192, 56, 2, 3.97),
        ("resnet50", 192, 56, 1, 13.56),
        ("resnet18", 192, 28, 2, 0.465),
        ("resnet18", 24, 28, 2, 0.457),
    ],
)
def test_cost_is_as_published(name, channels, side, stride, gmac):
    with torch.device("meta"):
        found = count_gmac(build_backbone(name, channels, 1000, stride), (channels, side, side))
    assert found == pytest.approx(gmac, rel=0.015)


def test_rgb_network_costs_as_much_as_torchvisions():
    with torch.device("meta"):
        assert count_gmac(build_rgb_backbone("resnet50", 1000), (3, 224, 224)) == pytest.approx(4.09, rel=0.01)


def test_mobilenet_reads_channels_at_the_resolution_behind_its_stem():
    with torch.device("meta"):
        network = build_backbone("mobilenet_v2", 24, 5)
        # 896 px: 112 × 112 channels, the output size of the stem at 224 px.
        assert network.features(torch.zeros(1, 24, 112, 112)).shape[-2:] == (7, 7)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_rgb_weights_fill_the_body(tmp_path, name):
    donor = getattr(torchvision.models, name)(num_classes=1000)
    torch.save(donor.state_dict(), tmp_path / "w.pt")
    own, source = FrequencyNet(["a", "b"], "square-24", backbone=name), donor.state_dict()
    line = take_state(own, "w.pt", read_weights(name, str(tmp_path / "w.pt")))
    assert line == "w.pt: taken: body; new: normalisation, entry, head (2 classes)"
    stem, head = (("conv1.", "bn1."), "fc.") if name == "resnet18" else (("features.0.",), "classifier.")
    for key, value in own.backbone.state_dict().items():
        assert key.startswith((*stem, head)) or torch.equal(value, source[key])


def test_rgb_weights_fill_the_stem_of_the_baseline():
    donor, own = torchvision.models.resnet18(num_classes=1000), FrequencyNet(["a", "b"], input="rgb")
    assert "taken: entry, body" in take_state(own, "w.pt", donor.state_dict())
    assert torch.equal(own.entry.weight, donor.conv1.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("resnet34", "weights of another backbone than resnet18: layer1.2"),
        ("resnet50", "weights of another backbone than resnet18: layer1.0"),
        ("mobilenet_v2", "none of its 314 tensors fits resnet18"),
        ("two", "several networks, with the prefixes 'model.' and 'model_ema.'; one is needed"),
    ],
)
def test_weights_of_other_backbones_are_refused(content, message):
    built = {name: getattr(torchvision.models, name)().state_dict() for name in ("resnet18", content) if name != "two"}
    state = {"model": built["resnet18"], "model_ema": dict(built["resnet18"])} if content == "two" else built[content]
    own = FrequencyNet(["a", "b"], "dc")
    with pytest.raises(UserError, match=f"^--model.weights w.pt: {message}"):
        take_state(own, "w.pt", state)
