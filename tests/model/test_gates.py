"""Gates: sampled in training, deterministic at evaluation."""

import pytest
import torch

from dctnet.model.gates import DynamicGate, StaticGate, sample_gate


def test_evaluation_is_deterministic():
    logits = torch.tensor([[-3.0, -0.01, 0.01, 3.0]])
    masks = [sample_gate(logits, tau, training=False) for tau in (0.1, 1.0, 9.0)]
    assert all(m.tolist() == [[0, 0, 1, 1]] for m in masks)


def test_training_samples_with_the_probability_of_the_logits():
    torch.manual_seed(0)
    logits = torch.tensor([-2.0, 0.0, 1.0, 4.0]).expand(20_000, 4)
    for tau in (0.3, 1.0):
        mask = sample_gate(logits, tau, training=True)
        assert set(mask.unique().tolist()) == {0.0, 1.0}
        assert torch.allclose(mask.mean(0), logits[0].sigmoid(), atol=0.015)


def test_gradient_is_straight_through_and_sharpens_with_low_tau():
    torch.manual_seed(0)
    spread = []
    for tau in (5.0, 0.2):
        logits = torch.zeros(4000, 1, requires_grad=True)
        sample_gate(logits, tau, training=True).sum().backward()
        assert (logits.grad >= 0).all()
        spread.append(float(logits.grad.std() / logits.grad.mean()))
    assert spread[1] > 3 * spread[0]


def test_static_gate_is_the_same_for_all_images():
    gate = StaticGate(6)
    logits = gate(torch.randn(5, 6, 4, 4))
    assert logits.shape == (5, 6)
    assert torch.equal(logits[0], logits[4])
    assert logits[0, 0].sigmoid().item() == pytest.approx(0.87, abs=0.01)


def randomised(gate: DynamicGate) -> DynamicGate:
    """A gate whose logits depend on the image, as after training."""
    torch.nn.init.normal_(gate.scale)
    return gate.eval()


def test_dynamic_gate_starts_like_a_static_one_and_learns_to_depend_on_the_image():
    torch.manual_seed(0)
    gate, channels = DynamicGate(6), torch.randn(8, 6, 4, 4) * torch.rand(8, 6, 1, 1)
    assert torch.allclose(gate(channels).sigmoid(), torch.tensor(0.87), atol=0.01)
    assert randomised(gate)(channels).std(0).min() > 0


def test_energy_distinguishes_amplitudes_that_the_mean_does_not():
    torch.manual_seed(0)
    wave = torch.tensor([1.0, -1.0]).repeat(8).view(1, 1, 4, 4).expand(2, 6, 4, 4).clone()
    wave[1] *= 5
    energy, mean = randomised(DynamicGate(6, "energy")), randomised(DynamicGate(6, "mean"))
    assert not torch.allclose(energy(wave)[0], energy(wave)[1])
    assert torch.allclose(mean(wave)[0], mean(wave)[1])


@pytest.mark.parametrize("squeeze", ["energy", "mean"])
def test_constant_channels_give_finite_logits_and_gradients(squeeze):
    gate = DynamicGate(3, squeeze)
    logits = gate(torch.zeros(4, 3, 2, 2))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in gate.parameters())
