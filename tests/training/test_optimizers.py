"""The joint optimizer and the learning rate schedule."""

import copy
import itertools

import pytest
import timm.optim
import torch
import torchvision

from dctnet.errors import UserError
from dctnet.model.network import FrequencyNet
from dctnet.training.optimizers import JointOptimizer, build_optimizer, warmup_cosine


def problem():
    torch.manual_seed(0)
    net, gate = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    return net, gate, sgd, torch.optim.Adam(gate.parameters(), 0.02)


def step(net, gate, *optimizers):
    loss = gate(net(torch.ones(2, 4))).square().sum()
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


def weights(*modules):
    return torch.cat([p.detach().flatten() for m in modules for p in m.parameters()])


def test_joint_step_equals_separate_steps():
    net, gate, sgd, adam = problem()
    net2, gate2, sgd2, adam2 = problem()
    joint = JointOptimizer(sgd2, adam2)
    for _ in range(5):
        step(net, gate, sgd, adam)
        step(net2, gate2, joint)
    assert torch.equal(weights(net, gate), weights(net2, gate2))


def test_restored_optimizer_continues_exactly():
    net, gate, sgd, adam = problem()
    joint = JointOptimizer(sgd, adam)
    schedule = torch.optim.lr_scheduler.LambdaLR(joint, [lambda s: 1 / (s + 1), lambda s: 1.0])
    step(net, gate, joint)
    schedule.step()
    saved = copy.deepcopy((net.state_dict(), gate.state_dict(), joint.state_dict()))
    step(net, gate, joint)
    net2, gate2, sgd2, adam2 = problem()
    joint2 = JointOptimizer(sgd2, adam2)
    net2.load_state_dict(saved[0])
    gate2.load_state_dict(saved[1])
    joint2.load_state_dict(saved[2])
    assert [g["lr"] for g in joint2.param_groups] == pytest.approx([0.05, 0.02])
    step(net2, gate2, joint2)
    assert torch.equal(weights(net, gate), weights(net2, gate2))
    # A scheduler's changes after resuming reach the parts.
    joint2.param_groups[0]["lr"] = 0.7
    assert sgd2.param_groups[0]["lr"] == 0.7


def test_closure_runs_once():
    _, _, sgd, adam = problem()
    calls = []
    joint = JointOptimizer(sgd, adam)
    assert joint.step(lambda: calls.append(1) or 3.0) == 3.0
    assert len(calls) == 1


def test_schedule_rises_then_falls_to_0():
    factors = [warmup_cosine(s, 10, 100) for s in range(101)]
    assert factors[0] == pytest.approx(1 / 25)
    assert factors[10] == pytest.approx(1)
    assert factors[100] == pytest.approx(0)
    assert all(a < b for a, b in itertools.pairwise(factors[:11]))
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert warmup_cosine(0, 0, 10) == 1


OPTIONS = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 0.01, "warmup": 0.0, "gate_lr": 0.02}


def built(backbone, **options):
    return build_optimizer(backbone, None, OPTIONS | options, 100)[0]


def rate_of(optimizer, backbone):
    """Learning rate of each parameter of a backbone, by name."""
    groups = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: groups[id(p)] for name, p in backbone.named_parameters()}


def learn(backbone, optimizer, steps=3):
    for seed in range(steps):
        images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(backbone(images), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
    return weights(backbone)


@pytest.fixture
def resnet():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=3)


def test_fused_sgd_gives_the_bits_of_plain_sgd(resnet):
    plain = copy.deepcopy(resnet)
    wide, rest = [p for p in plain.parameters() if p.ndim > 1], [p for p in plain.parameters() if p.ndim <= 1]
    groups = [{"params": wide, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    expected = learn(plain, torch.optim.SGD(groups, 0.01, 0.9, nesterov=True, fused=False))
    optimizer = built(resnet)
    assert optimizer.defaults["fused"]
    assert torch.equal(learn(resnet, optimizer), expected)


def test_sgd_that_resumes_an_unfused_state_gives_the_same_bits(resnet):
    # Checkpoints of earlier versions say fused: None.
    other, optimizer = copy.deepcopy(resnet), built(resnet)
    learn(resnet, optimizer)
    state, second = copy.deepcopy(optimizer.state_dict()), built(other)
    for group in state["param_groups"]:
        group["fused"] = None
    other.load_state_dict(resnet.state_dict())
    second.load_state_dict(state)
    assert torch.equal(learn(resnet, optimizer), learn(other, second))


def test_lamb_is_timms(resnet):
    other = copy.deepcopy(resnet)
    expected = learn(other, timm.optim.create_optimizer_v2(other, "lamb", lr=0.01, weight_decay=0.01))
    # The norm of all gradients is added up in another order.
    assert torch.allclose(learn(resnet, built(resnet, optimizer="lamb")), expected, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lamb"])
def test_layer_decay_gives_torchvisions_resnet_the_rates_that_timm_gives_its_own(resnet, optimizer):
    other = timm.create_model("resnet18", num_classes=3)
    groups = timm.optim.param_groups_layer_decay(other, 0.01, layer_decay=0.7)
    names = {id(p): name for name, p in other.named_parameters()}
    expected = {names[id(p)]: 0.01 * group["lr_scale"] for group in groups for p in group["params"]}
    decayed = built(resnet, optimizer=optimizer, layer_decay=0.7)
    assert rate_of(decayed, resnet) == pytest.approx(expected)
    assert isinstance(decayed, {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW, "lamb": timm.optim.Lamb}[optimizer])
    weight_decay = {id(p): group["weight_decay"] for group in decayed.param_groups for p in group["params"]}
    assert all(weight_decay[id(p)] == (0.01 if p.ndim > 1 else 0) for p in resnet.parameters())
    learn(resnet, decayed, 1)


def test_layer_decay_falls_from_the_head_to_the_entry_of_mobilenet_v2():
    backbone = torchvision.models.mobilenet_v2(num_classes=3)
    rates = rate_of(built(backbone, layer_decay=0.5), backbone)
    order = ["features.0.0.weight", "features.1.conv.0.0.weight", "features.17.conv.0.0.weight", "features.18.0.weight"]
    found = [rates[name] for name in [*order, "classifier.1.weight"]]
    assert found == [pytest.approx(0.01 * 0.5**n) for n in (19, 18, 2, 1, 0)]


def test_layer_decay_spares_the_entry_of_the_channels():
    network = FrequencyNet(["a", "b"], channels="square-6", image_size=32)
    options = OPTIONS | {"layer_decay": 0.5}
    optimizer = build_optimizer(network.backbone, None, options, 100, network.family.entry)[0]
    rates = rate_of(optimizer, network.backbone)
    full = {name for name, rate in rates.items() if rate == 0.01}
    assert full == {f"{network.family.entry}.weight", "fc.weight", "fc.bias"}


def test_layer_decay_of_1_and_none_are_the_same_training(resnet):
    other = copy.deepcopy(resnet)
    assert torch.equal(learn(resnet, built(resnet, layer_decay=1.0)), learn(other, built(other)))


def test_layer_decay_needs_an_order_of_layers():
    with pytest.raises(UserError, match=r"--model.layer_decay 0.7: the order of the layers of Sequential is not known"):
        built(torch.nn.Sequential(torch.nn.Linear(2, 2)), layer_decay=0.7)


def test_position_embeddings_of_timm_do_not_decay():
    backbone = timm.create_model("test_vit", num_classes=3)
    decaying = {id(p) for group in built(backbone).param_groups if group["weight_decay"] for p in group["params"]}
    assert id(backbone.pos_embed) not in decaying
    assert id(backbone.patch_embed.proj.weight) in decaying
