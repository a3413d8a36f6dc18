"""Pretrained weights: which tensors are taken, by channel and by class; files of other programs."""

import numpy as np
import pytest
import torch
import torchvision

from dctnet.errors import UserError
from dctnet.model.network import FrequencyNet
from dctnet.model.weight_files import read_weights
from dctnet.model.weights import take_network, take_state

pytestmark = pytest.mark.usefixtures("small_backbones")
CLASSES = ["blue", "green", "red"]


def network(channels=(0, 1, 8, 64), classes=CLASSES, seed=0, **options):
    """A small trained network: every tensor has numbers of its own."""
    torch.manual_seed(seed)
    made = FrequencyNet(classes, channels, **{"image_size": 32, **options})
    with torch.no_grad():
        for value in made.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5)
    made.normalisation.fitted.fill_(True)
    return made


def fresh(*args, **options):
    """The same, not trained."""
    made = network(*args, seed=1, **options)
    made.normalisation.fitted.fill_(False)
    return made


def changed(own, before):
    """Names of the tensors that differ from those of a state dict."""
    return {key for key, value in own.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "model.", "backbone.", "module._orig_mod.net."])
@pytest.mark.parametrize("wrap", [(), ("state_dict",), ("model",), ("checkpoint", "model_state_dict")])
def test_prefixes_and_wrapping_dicts_of_other_programs_are_read(tmp_path, prefix, wrap):
    donor, own = torchvision.models.resnet18(), fresh()
    content = {f"{prefix}{key}": value for key, value in donor.state_dict().items()}
    for key in reversed(wrap):
        content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}
    torch.save(content, tmp_path / "w.pt")
    take_state(own, "w.pt", read_weights("resnet18", str(tmp_path / "w.pt")))
    assert torch.equal(own.backbone.layer2[0].conv1.weight, donor.layer2[0].conv1.weight)


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        import pathlib

        return (pathlib.Path.touch, (pathlib.Path("/tmp/dctnet-payload-ran"),))


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"a": {"b": 1}}, {"unlike": torch.zeros(3)}, Payload()])
def test_files_without_fitting_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError) as caught:
        take_state(FrequencyNet(CLASSES, "dc"), "w.pt", read_weights("resnet18", str(tmp_path / "w.pt")))
    assert str(caught.value).startswith("--model.weights ")
    assert "\n" not in str(caught.value)


def test_paths_that_are_no_weights_file_are_refused(tmp_path):
    with pytest.raises(UserError, match="IMAGENET1K_V1"):
        read_weights("resnet18", "IMAGENET1K_V9")
    with pytest.raises(UserError, match="a folder; weights are a file in it, such as best.ckpt"):
        read_weights("resnet18", str(tmp_path))


def nested_dicts():
    """A thousand million references to one dict, in few bytes."""
    found = {"a": torch.zeros(1)}
    for _ in range(9):
        found = dict.fromkeys(map(str, range(10)), found)
    return found


def test_shared_dicts_are_searched_once():
    with pytest.raises(UserError, match="none of its 1 tensors fits"):
        take_state(FrequencyNet(CLASSES, "dc"), "w.pt", nested_dicts())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gate": "static"},
        {"gate": "dynamic"},
        {"gate": "dynamic", "squeeze": "mean"},
        {"channels": (), "input": "rgb"},
        {"channels": (), "input": "rgb", "stem": "patchify"},
    ],
    ids=str,
)
def test_all_but_the_head_is_taken_for_other_classes(options):
    donor, own = network(**options), fresh(classes=["cat", "dog"], **options)
    line = take_network(own, "best.ckpt", donor)
    gate = "gate, " if "gate" in options else ""
    assert line == f"best.ckpt: taken: normalisation, {gate}entry, body; new: head (2 classes)"
    state = donor.state_dict()
    assert changed(own, {**own.state_dict(), **{k: v for k, v in state.items() if "fc." not in k}}) == set()
    assert own.normalisation.fitted


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_the_head_is_taken_for_the_same_classes_in_any_order(order):
    donor, own = network().eval(), fresh(classes=[CLASSES[place] for place in order]).eval()
    assert "new" not in take_network(own, "best.ckpt", donor)
    input = torch.rand(2, 4, 4, 4)
    assert torch.equal(own(input), donor(input)[:, order])


@pytest.mark.parametrize("gate", ["none", "static", "dynamic"])
@pytest.mark.parametrize("channels", [(1, 64), (0, 1, 2, 8, 64, 128), (1, 5, 64, 191)], ids=["fewer", "more", "other"])
def test_channels_are_matched_by_index(gate, channels):
    donor, own = network(gate=gate), fresh(channels, gate=gate)
    before = {key: value.clone() for key, value in own.state_dict().items()}
    line = take_network(own, "best.ckpt", donor)
    to = [place for place, index in enumerate(channels) if index in donor.channels.indices]
    at = [donor.channels.indices.index(channels[place]) for place in to]
    assert f"{len(to)} of {len(channels)} channels taken: normalisation, " in line
    given, state = donor.state_dict(), own.state_dict()
    keys = ["normalisation.mean", "normalisation.std", *(key for key in state if key.startswith("gate."))]
    for key in keys:
        # Each dimension is that of the channels: the part of shared channels is the donor's, the rest as it was.
        expected = before[key].clone()
        expected[np.ix_(*[to] * expected.ndim)] = given[key][np.ix_(*[at] * expected.ndim)]
        assert torch.equal(state[key], expected)
    expected = before["backbone.conv1.weight"].clone()
    expected[:, to] = given["backbone.conv1.weight"][:, at]
    assert torch.equal(own.entry.weight, expected)


def test_normalisation_is_fitted_for_the_additional_channels_alone():
    donor, own = network((1, 64)), fresh((0, 1, 64))
    take_network(own, "best.ckpt", donor)
    assert not own.normalisation.fitted
    own.normalisation.fit(torch.tensor([7.0, 7, 7]), torch.tensor([9.0, 9, 9]))
    assert own.normalisation.mean.tolist() == [7, *donor.normalisation.mean.tolist()]
    assert own.normalisation.std.tolist() == [9, *donor.normalisation.std.tolist()]
    assert own.normalisation.fitted


@pytest.mark.parametrize(
    ("theirs", "ours", "line"),
    [
        ({"gate": "static"}, {}, "taken: normalisation, entry, body, head (3 classes); left out: gate"),
        ({}, {"gate": "static"}, "taken: normalisation, entry, body, head (3 classes); new: gate"),
        ({"gate": "static"}, {"gate": "dynamic"}, "new: gate"),
        ({"gate": "dynamic"}, {"gate": "dynamic", "squeeze": "mean"}, "new: gate"),
        ({"channels": (), "input": "rgb"}, {}, "new: normalisation, entry; taken: body"),
        ({}, {"channels": (), "input": "rgb"}, "new: normalisation, entry; taken: body"),
        (
            {"channels": (), "input": "rgb"},
            {"channels": (), "input": "rgb", "stem": "patchify"},
            "new: normalisation, entry; taken: body",
        ),
        ({"channels": (5, 6)}, {"channels": (7, 8)}, "new: normalisation, entry; taken: body"),
    ],
    ids=str,
)
def test_a_part_of_another_kind_is_new(theirs, ours, line):
    found = take_network(fresh(**ours), "best.ckpt", network(**theirs))
    for part in line.split("; "):
        state, names = part.split(": ")
        (listed,) = (each.split(": ")[1] for each in found.removeprefix("best.ckpt: ").split("; ") if state in each)
        assert set(names.split(", ")) <= set(listed.split(", "))


def test_another_backbone_is_refused_by_name():
    with pytest.raises(UserError, match=r"a resnet18, not a resnet34: --model.backbone resnet18$"):
        take_network(fresh(backbone="resnet34"), "best.ckpt", network())


def test_a_frozen_network_computes_the_same_features_and_gate_in_training():
    own = network(gate="dynamic")
    own.freeze()
    before = {key: value.clone() for key, value in own.state_dict().items()}
    input = torch.rand(6, 4, 4, 4)
    own.train()
    assert torch.equal(own(input), own(input))
    own(input).sum().backward()
    assert {name for name, p in own.named_parameters() if p.grad is not None} == {
        "backbone.fc.weight",
        "backbone.fc.bias",
    }
    assert not changed(own, before)


@pytest.mark.parametrize(
    ("theirs", "ours", "part"),
    [
        ({}, {"channels": (0, 1, 2, 8, 64)}, "entry"),
        ({}, {"gate": "static"}, "gate"),
        ({"channels": (), "input": "rgb"}, {}, "entry"),
    ],
)
def test_new_parts_cannot_be_frozen(theirs, ours, part):
    own = fresh(**ours)
    own.freeze()
    with pytest.raises(UserError, match=f"does not have all weights of the {part}"):
        take_network(own, "best.ckpt", network(**theirs))
    if not theirs:
        with pytest.raises(UserError, match="does not have all weights of the entry"):
            take_state(own, "w.pt", torchvision.models.resnet18().state_dict())


@pytest.mark.parametrize("options", [{}, {"channels": (0, 8), "gate": "static"}])
def test_parts_that_are_whole_can_be_frozen(options):
    own = fresh(classes=["cat", "dog"], **options)
    own.freeze()
    take_network(own, "best.ckpt", network(gate=options.get("gate", "none")))
