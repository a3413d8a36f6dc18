"""FrequencyNet: a plain module that is trained in any loop."""

import pytest
import torch
from torch.nn import functional as F

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet
from dctnet.model.network import FrequencyNet
from dctnet.model.sparsity import SparsityPenalty

CLASSES = ["a", "b", "c"]


def make(**options) -> FrequencyNet:
    torch.manual_seed(0)
    return FrequencyNet(**{"classes": CLASSES, "channels": range(24), "image_size": 32, **options})


@pytest.mark.usefixtures("small_backbones")
def test_trains_in_a_plain_loop():
    network, penalty = make(gate="static"), SparsityPenalty(24, weight=0.01)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    input, target = torch.randn(12, 24, 4, 4), torch.arange(12) % 3
    network.normalisation.fit(input.mean((0, 2, 3)), input.std((0, 2, 3)))
    losses = []
    for step in range(20):
        logits, gate_logits = network.forward_gated(input)
        penalty.update(24.0, step / 20)
        loss = F.cross_entropy(logits, target) + penalty(gate_logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert network(input).shape == (12, 3)


@pytest.mark.usefixtures("small_backbones")
def test_evaluation_is_deterministic_and_training_is_not():
    network, input = make(gate="static"), torch.randn(4, 24, 4, 4)
    with torch.no_grad():
        network.gate.logits.zero_()
        network.eval()
        assert torch.equal(network(input), network(input))
        network.train()
        assert not torch.equal(network(input), network(input))


@pytest.mark.usefixtures("small_backbones")
def test_dropped_channels_have_no_effect():
    network, input = make(gate="static").eval(), torch.randn(4, 24, 4, 4)
    with torch.no_grad():
        network.gate.logits[5:] = -1
    other = input.clone()
    other[:, 5:] = 99
    assert torch.equal(network(input), network(other))
    assert network.kept_channels(input).tolist() == [[True] * 5 + [False] * 19] * 4


def test_counting_the_cost_leaves_the_mode_of_each_part():
    network = make(backbone="mobilenet_v2")
    network.freeze()
    network.cost()
    assert all(part.training for part in network.head.modules())  # it has a dropout
    assert not any(part.training for part in network.backbone.features.modules())


@pytest.mark.usefixtures("small_backbones")
def test_without_a_gate_all_channels_are_kept():
    assert make().kept_channels(torch.zeros(2, 24, 4, 4)).all()


@pytest.mark.usefixtures("small_backbones")
def test_asking_for_kept_channels_leaves_the_mode_and_the_batch_norm():
    network = make(gate="dynamic")
    mean = network.gate.norm.running_mean.clone()
    network.kept_channels(torch.randn(4, 24, 4, 4))
    assert network.gate.training
    assert torch.equal(network.gate.norm.running_mean, mean)


def test_channels_are_a_set_or_indices():
    with torch.device("meta"):
        named = make(channels=ChannelSet("mine", (0, 64, 128)))
        assert named.channels.name == "mine"
        assert len(make(channels="square-24").channels) == 24
        assert named.input_shape == make(channels=[0, 64, 128]).input_shape == (3, 4, 4)
        with pytest.raises(UserError, match="indices must ascend"):
            make(channels=[64, 0])


def test_rgb_baseline_keeps_the_stem():
    with torch.device("meta"):
        network = make(input="rgb", channels=())
    assert network.input_shape == (3, 32, 32)
    assert network.channels is None
    assert network.backbone.conv1.weight.shape == (64, 3, 7, 7)


def test_fewer_channels_are_fewer_weights():
    with torch.device("meta"):
        every, some = make(channels=range(NUM_CHANNELS)).cost(), make().cost()
    assert every["parameters"] - some["parameters"] == (192 - 24) * 64
    assert some["values"] == 24 * 4 * 4
    assert some["gmac"] < every["gmac"]


def test_patchify_costs_as_much_as_all_channels():
    with torch.device("meta"):
        channels = make(channels=range(NUM_CHANNELS), image_size=64)
        patchify = make(input="rgb", channels=(), stem="patchify", image_size=64)
        assert patchify.cost() == {**channels.cost(), "values": 3 * 64 * 64}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["one"]}, "at least two classes"),
        ({"gate": "static", "input": "rgb"}, "must be none"),
        ({"stem": "patchify"}, "--model.stem patchify reads pixels: it needs --model.input rgb"),
        ({"input": "rgb", "layer2_stride": 1}, "layer2_stride 1 is for channels and patches"),
        ({"backbone": "mobilenet_v2", "layer2_stride": 1}, "mobilenet_v2 has no layer2"),
        ({"backbone": "resnet19"}, "backbone resnet19: neither of torchvision nor of timm .*. Did you mean 'resnet1"),
        ({"gate": "dynamc"}, "gate 'dynamc': not one of none, static, dynamic. Did you mean 'dynamic'"),
        ({"image_size": 30}, "image_size must be a multiple of 8, got 30"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, message):
    with torch.device("meta"), pytest.raises(UserError, match=message):
        make(**options)
