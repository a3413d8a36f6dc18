"""Pretrained weights of timm: by name and from files; what is taken, adapted, left out and new; the stem of CSATv2."""

from functools import partial

import pytest
import timm
import torch
from safetensors.torch import save_file

from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.model.network import FrequencyNet
from dctnet.model.patchify import rgb_channels
from dctnet.model.weight_files import read_weights
from dctnet.model.weights import take_network, take_state

CLASSES = ["a", "b"]


def own(name, **options):
    return FrequencyNet(CLASSES, **{"channels": "square-24", "image_size": 64, "backbone": name, **options})


def donor(name, **options):
    torch.manual_seed(1)
    network = timm.create_model(name, num_classes=7, **options)
    with torch.no_grad():
        for value in network.parameters():  # numbers of its own for every tensor
            value.add_(0.1 * torch.rand_like(value))
    return network


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("test_resnet", "taken: body; new: normalisation, entry, head (2 classes)"),
        ("regnetx_002", "taken: body; new: normalisation, entry, head (2 classes)"),
        ("test_efficientnet", "taken: body; new: normalisation, entry, head (2 classes)"),
        ("mobilenetv4_conv_small", "taken: body; new: normalisation, entry, head (2 classes)"),
        ("test_convnext", "taken: body; new: normalisation, entry, head (2 classes)"),
        ("test_vit", "taken: body; adapted: positions; new: normalisation, entry, head (2 classes)"),
    ],
)
def test_weights_of_a_file_fill_the_body(tmp_path, name, line, kind):
    source, network, file = donor(name).state_dict(), own(name), str(tmp_path / f"w.{kind}")
    (save_file if kind == "safetensors" else torch.save)(source, file)
    assert take_state(network, "w", read_weights(name, file)) == f"w: {line}"
    for key, value in network.backbone.state_dict().items():
        if not key.startswith((*network.family.stem, network.family.head, "pos_embed")):
            assert torch.equal(value, source[key])


@pytest.mark.parametrize(
    ("name", "absent"), [("test_resnet", "layer1"), ("test_efficientnet", "blocks.0"), ("test_convnext", "stages.0")]
)
def test_the_stages_in_front_of_one_eighth_are_reported_as_left_out(name, absent):
    network = own(name, entry="stride8")
    line = take_state(network, "w", donor(name).state_dict())
    assert "taken: body" in line
    assert absent in line.split("left out: ")[1]


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "test_vit"])
def test_weights_fill_all_of_the_baseline_with_as_many_classes(name):
    source = donor(name)
    network = FrequencyNet(list("abcdefg"), (), 160, "rgb", "own", name).eval()
    assert (
        take_state(network, "w", source.state_dict()) == "w: taken: entry, body, head (7 classes); new: normalisation"
    )
    pixels = torch.randn(2, 3, 160, 160)
    assert torch.allclose(network(pixels), source.eval()(pixels), atol=1e-5)


def test_position_embeddings_follow_the_grid_as_in_timm():
    source, network = donor("test_vit").state_dict(), own("test_vit", image_size=96)
    take_state(network, "w", source)
    overlay = {"state_dict": source, "num_classes": 7}
    twin = timm.create_model("test_vit", True, overlay, img_size=96, num_classes=7)
    assert torch.allclose(network.backbone.pos_embed, twin.pos_embed, atol=1e-6)


@pytest.mark.slow
def test_attention_windows_follow_the_grid_as_in_timm():
    name = "swin_tiny_patch4_window7_224"
    source, network = donor(name).state_dict(), own(name, image_size=224)
    assert "adapted: positions" in take_state(network, "w", source)
    twin = timm.create_model(name, True, {"state_dict": source, "num_classes": 7}, img_size=112, num_classes=7)
    state = twin.state_dict()
    for key, value in network.backbone.state_dict().items():
        if not key.startswith((*network.family.stem, "head.fc")):
            assert torch.allclose(value, state[key], atol=1e-6), key


def test_a_checkpoint_of_another_image_size_gives_its_positions():
    big, small = own("test_vit", image_size=128), own("test_vit", image_size=64)
    assert "adapted: positions" in take_network(small, "best.ckpt", big)
    assert torch.equal(small.backbone.blocks[0].attn.qkv.weight, big.backbone.blocks[0].attn.qkv.weight)


def test_an_entry_behind_the_first_stages_has_no_weights_for_them():
    deep, plain = own("test_resnet", entry="stride8"), own("test_resnet")
    assert "new: normalisation, entry" in take_network(deep, "best.ckpt", plain)
    with pytest.raises(UserError, match="trained with --model.entry stride8, without the first stages"):
        take_network(plain, "best.ckpt", deep)


@pytest.mark.parametrize("weights", ["csatv2.r512_in1k", "r512_in1k"])
def test_weights_by_name_go_through_timms_own_loading(tmp_path, monkeypatch, weights):
    source = timm.create_model("csatv2").state_dict()
    torch.save(source, tmp_path / "w.pth")
    local = partial(timm.create_model, pretrained_cfg_overlay={"file": str(tmp_path / "w.pth")})
    monkeypatch.setattr(timm, "create_model", local)
    content = read_weights("csatv2", weights)
    assert all(torch.equal(content[key], value) for key, value in source.items())


def test_weights_of_another_family_or_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="none of its .* tensors fits test_convnext"):
        take_state(own("test_convnext"), "w", donor("test_resnet").state_dict())
    with pytest.raises(UserError, match="weights of another backbone than test_vit: .* does not fit"):
        take_state(own("test_vit"), "w", donor("test_vit2").state_dict())
    with pytest.raises(UserError, match="nor one of test_resnet.r160_in1k, r160_in1k. Did you mean 'r160_in1k'"):
        read_weights("test_resnet", "r160_in1")
    (tmp_path / "w.safetensors").write_bytes(b"no tensors")
    with pytest.raises(UserError, match="not a weights file"):
        read_weights("test_resnet", str(tmp_path / "w.safetensors"))


def csat(channels="all", **options):
    """CSATv2 of channels with the weights of timm's network, and that network."""
    source = donor("csatv2").eval()
    network = own("csatv2", channels=channels, **options).eval()
    return network, source, take_state(network, "w", source.state_dict())


def test_all_channels_reproduce_the_stem_of_csat():
    network, source, line = csat()
    assert line == "w: taken: body; adapted: normalisation, entry; new: head (2 classes)"
    pixels = torch.rand(2, 3, 64, 64) * 255
    mean, std = (torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        theirs = source.stem_dct((pixels / 255 - mean) / std)
        ours = network.entry(network.normalisation(rgb_channels(pixels)))
        # Their YCbCr has rounded factors: 0.564 for 0.56433 and 0.713 for 0.71327.
        assert (ours - theirs).abs().max() < 2e-3 * theirs.abs().max()
        features = network.backbone.stages(ours), source.stages(theirs)
    assert torch.allclose(*features, atol=0.02)


def test_selected_channels_get_their_own_weights_of_the_stem():
    every, _, _ = csat()
    some, _, line = csat(ChannelSet("three", (0, 9, 128)))
    assert "adapted: normalisation, entry" in line
    assert some.normalisation.fitted
    chosen = [0, 9, 128]
    assert torch.equal(some.entry.weight, every.entry.weight[:, chosen])
    assert torch.equal(some.normalisation.std, every.normalisation.std[chosen])


def test_an_adapted_stem_can_be_frozen_and_a_companded_one_is_new():
    source = donor("csatv2").state_dict()
    frozen, companded = own("csatv2"), own("csatv2", companding="asinh")
    frozen.freeze()
    take_state(frozen, "w", source)
    assert "new: normalisation, entry" in take_state(companded, "w", source)
