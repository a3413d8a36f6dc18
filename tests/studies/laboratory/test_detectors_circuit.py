"""Circuit of detectors: factorisation, tuning of factors, and use behind, against planted truth."""

import pytest
import torch
import torchvision
from torch import nn

from dctnet.errors import Stopped, UserError
from dctnet.studies.laboratory.detectors.circuit import (
    WAVELENGTHS,
    choose_rank,
    correlation,
    downstream,
    expand_weights,
    input_activity,
    input_tuning,
    is_invariant_to_equivariant,
    log_center,
)
from dctnet.studies.laboratory.detectors.layers import Network
from dctnet.studies.laboratory.detectors.measured_layers import check_first_rank, choose_layers
from dctnet.studies.laboratory.detectors.stimuli import to_planes
from dctnet.studies.laboratory.subject import Subject
from tests.studies.laboratory.planted_detectors import ORIENTATIONS, planted

HALF = ((0.5,) * 3, (0.25,) * 3)


def planted_weights() -> torch.Tensor:
    """Twelve units that read fine inputs with a map, and coarse inputs with its opposite and a little noise."""
    draw = torch.Generator().manual_seed(0)
    fine = torch.cat([torch.rand(10, generator=draw), torch.zeros(22)])
    coarse = torch.cat([torch.zeros(12), torch.rand(20, generator=draw)])
    maps = torch.randn(12, 3, 3, generator=draw)
    opposite = -maps + 0.3 * torch.randn(12, 3, 3, generator=draw)
    return torch.einsum("c,uij->ucij", fine, maps) + torch.einsum("c,uij->ucij", coarse, opposite)


def test_two_planted_factors_are_recovered():
    pytest.importorskip("sklearn")
    from dctnet.studies.laboratory.detectors.circuit import factorise

    weights = planted_weights()
    factors = factorise(weights, 2)
    again = torch.einsum("cr,urij->ucij", factors.channels, factors.maps)
    assert (again - weights).norm() / weights.norm() < 0.02
    assert (factors.channels >= 0).all()
    assert factors.explained / factors.bound > 0.999
    assert correlation(factors.maps).mean() < -0.8


def test_the_factorisation_does_not_depend_on_the_order_of_units():
    pytest.importorskip("sklearn")
    from dctnet.studies.laboratory.detectors.circuit import factorise

    weights = planted_weights() + 0.1 * torch.randn(12, 32, 3, 3, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    first, second = factorise(weights, 2), factorise(weights[order], 2)
    swap = (
        [0, 1]
        if (first.channels * second.channels).sum() > (first.channels * second.channels.flip(1)).sum()
        else [1, 0]
    )
    torch.testing.assert_close(second.channels[:, swap], first.channels, atol=0.02, rtol=0)
    torch.testing.assert_close(second.maps[:, swap], first.maps[order], atol=0.05, rtol=0)
    assert second.explained == pytest.approx(first.explained, abs=1e-3)


def test_no_factorisation_exceeds_the_bound_of_its_rank():
    pytest.importorskip("sklearn")
    from dctnet.studies.laboratory.detectors.circuit import factorise

    weights = torch.randn(5, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    results = [factorise(weights, rank) for rank in (1, 2, 3)]
    for factors in results:
        assert 0 < factors.explained <= factors.bound + 1e-9
    assert results[0].bound < results[1].bound < results[2].bound


def test_a_rank_above_the_input_units_is_refused():
    assert choose_rank(None, nn.Conv2d(64, 8, 3), "conv2") == 4
    assert choose_rank(None, nn.Conv2d(3, 8, 3), "conv1") == 3
    with pytest.raises(UserError, match="--rank 5: conv1 has 3 input units; the rank must be 1 … 3"):
        choose_rank(5, nn.Conv2d(3, 8, 3), "conv1")


def test_a_wrong_rank_is_refused_before_a_field_is_measured(monkeypatch):
    network = Network(Subject("planted", planted(), 64))
    monkeypatch.setattr(Network, "field", lambda *args: pytest.fail("measured"))
    with pytest.raises(UserError, match="--rank 15: conv3, in front of relu3, has 14 input units"):
        choose_layers(network, "relu3", 15, lambda: None)


def test_a_wrong_rank_is_refused_when_a_network_is_opened(monkeypatch):
    # Before the networks that were opened earlier are measured.
    network = Network(Subject("planted", planted(), 64))
    monkeypatch.setattr(Network, "field", lambda *args: pytest.fail("measured"))
    with pytest.raises(UserError, match="--rank 15: conv3, in front of relu3, has 14 input units"):
        check_first_rank(network, "relu3", 15)
    check_first_rank(network, "relu3", 14)


def test_a_signal_stops_while_a_field_is_measured():
    calls = []

    def check_stop():
        calls.append(None)
        if len(calls) == 3:
            raise Stopped("stopped")

    with pytest.raises(Stopped):
        choose_layers(Network(Subject("planted", planted(), 64)), "relu3", None, check_stop)
    assert len(calls) == 3


def test_a_bottleneck_block_has_no_circuit_but_its_spatial_convolution_has():
    resnet = torchvision.models.resnet.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1])
    network = Network(Subject("resnet", resnet, 64))
    assert network.conv_before("layer1.0") is None
    assert network.conv_before("layer1.0.relu_1") == "layer1.0.conv2"
    network.check("layer1.0.relu_1")
    found = choose_layers(network, None, None, lambda: None)
    assert next(iter(found.fields)) == "layer1.0"
    assert found.ranks == {}


def test_the_rule_of_the_pattern():
    assert is_invariant_to_equivariant(0.9, 1.5, -0.8)
    assert not is_invariant_to_equivariant(0.7, 1.5, -0.8)
    assert not is_invariant_to_equivariant(0.9, 0.2, -0.8)
    assert not is_invariant_to_equivariant(0.9, 1.5, -0.4)


def test_the_planted_detectors_have_a_fine_and_a_coarse_input_on_opposite_sides():
    pytest.importorskip("sklearn")
    from dctnet.studies.laboratory.detectors.circuit import factorise

    network = Network(Subject("planted", planted(), 64, normalise=HALF))
    conv = network.conv_before("relu3")
    assert conv == "conv3"
    curves = input_tuning(network, "relu3", conv, 64)
    fine, coarse = log_center(curves)[:2].tolist()  # local energy of the two bands
    assert coarse - fine > 1
    factors = factorise(expand_weights(network, conv, range(ORIENTATIONS), torch.ones(14)), 2)
    octaves = log_center(curves.double() @ factors.channels)
    assert is_invariant_to_equivariant(
        factors.explained / factors.bound, float(octaves[0] - octaves[1]), float(correlation(factors.maps).mean())
    )


def test_the_centre_of_a_tuning_is_its_wavelength():
    tuning = torch.zeros(len(WAVELENGTHS), 2)
    tuning[WAVELENGTHS.index(4), 0] = tuning[WAVELENGTHS.index(32), 1] = 2.0
    torch.testing.assert_close(log_center(tuning), torch.tensor([2.0, 5.0]))


def test_input_activity_is_the_mean_of_what_the_convolution_reads():
    network = Network(Subject("planted", planted(), 64, normalise=HALF))
    planes = to_planes(20 * torch.randn(40, 40, 40, generator=torch.Generator().manual_seed(0)))
    expected = network.read(["relu2"])(network.input(planes))["relu2"].mean((-2, -1))
    torch.testing.assert_close(
        input_activity(network, "relu3", "conv3", planes), expected.detach(), atol=1e-5, rtol=1e-4
    )


def test_weights_carry_the_batch_norm():
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn, self.relu = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU()
            self.fc = nn.Linear(5, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.relu(self.bn(self.conv(x))).mean((-2, -1)))

    module = Normed().eval()
    with torch.no_grad():
        module.bn.running_var.copy_(torch.rand(5) + 0.5)
        module.bn.weight.copy_(torch.randn(5))
    network = Network(Subject("normed", module, 64, normalise=HALF))
    images = torch.randn(2, 3, 9, 9)
    fused = expand_weights(network, "conv", None, torch.ones(3))
    change = module.bn(module.conv(images)) - module.bn(module.conv(torch.zeros_like(images)))
    torch.testing.assert_close(nn.functional.conv2d(images, fused), change, atol=1e-5, rtol=1e-4)


def use_of(same: bool):
    """Two opposite detectors, which one unit behind reads with equal or with opposite signs; eight units noise."""
    module = planted()
    with torch.no_grad():
        module.conv4.weight.copy_(0.01 * torch.randn(24, 23, 1, 1, generator=torch.Generator().manual_seed(0)))
        for unit in range(20):
            module.conv4.weight[unit, 0] = 1
            module.conv4.weight[unit, 4] = 1 if same else -1
    network = Network(Subject("planted", module, 64, normalise=HALF))
    return downstream(network, "relu3", [0, 4], [0, 8], torch.ones(23))


@pytest.mark.parametrize("same", [True, False])
def test_use_behind_tells_whether_polarity_is_ignored(same):
    use = use_of(same)
    assert use.pairs == 1
    assert use.same_sign == float(same)
    assert sorted(unit for _, unit, _ in use.units) == list(range(20))
    assert all(name == "conv4" and share > 0.8 for name, _, share in use.units)


def test_detectors_that_nothing_reads_have_no_use():
    network = Network(Subject("planted", planted(), 64, normalise=HALF))
    assert downstream(network, "relu4", [0], [0], torch.ones(24)) is None
    one = downstream(network, "relu3", [0], [0], torch.ones(23))
    assert one.pairs == 0
    assert one.same_sign is None
