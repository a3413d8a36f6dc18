"""The joint optimizer and the learning rate schedule."""

import copy
import itertools

import pytest
import torch

from dctnet.training.optimizers import JointOptimizer, warmup_cosine


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
