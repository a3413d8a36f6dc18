"""Backbones with an entry for channels: shapes, cost, RGB weights."""

import pytest
import torch
import torchvision

from dctnet.errors import UserError
from dctnet.model.backbones import BACKBONES, build_backbone, build_rgb_backbone, load_rgb_weights
from dctnet.model.metrics import count_gmac


@pytest.mark.parametrize("name", BACKBONES)
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
def test_rgb_weights_fill_all_but_entry_and_head(tmp_path, name):
    donor = getattr(torchvision.models, name)(num_classes=1000)
    torch.save(donor.state_dict(), tmp_path / "w.pt")
    network = build_backbone(name, 24, 10)
    report = load_rgb_weights(network, name, str(tmp_path / "w.pt"))
    state, source = network.state_dict(), donor.state_dict()
    assert all(torch.equal(state[key], source[key]) for key in report["loaded"])
    assert sorted(report["loaded"] + report["not loaded"]) == sorted(state)
    entry = ("conv1.", "bn1.", "fc.") if name == "resnet18" else ("features.0.", "classifier.1.")
    assert all(key.startswith(entry) for key in report["not loaded"])
    assert len(report["loaded"]) > 100


def test_rgb_weights_fill_the_stem_of_the_baseline(tmp_path):
    donor = build_rgb_backbone("resnet18", 1000)
    torch.save(donor.state_dict(), tmp_path / "w.pt")
    report = load_rgb_weights(build_rgb_backbone("resnet18", 10), "resnet18", str(tmp_path / "w.pt"))
    assert "conv1.weight" in report["loaded"]
    assert report["not loaded"] == ["fc.bias", "fc.weight"]


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        import pathlib

        return (pathlib.Path.touch, (pathlib.Path("/tmp/dctnet-payload-ran"),))


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"unlike": torch.zeros(3)}, Payload()])
def test_files_without_fitting_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        load_rgb_weights(build_rgb_backbone("resnet18", 10), "resnet18", str(tmp_path / "w.pt"))
    assert "\n" not in str(caught.value)


def test_error_for_unknown_weights_lists_the_known_names(tmp_path):
    with pytest.raises(UserError, match="IMAGENET1K_V1"):
        load_rgb_weights(build_rgb_backbone("resnet18", 10), "resnet18", "IMAGENET1K_V9")
