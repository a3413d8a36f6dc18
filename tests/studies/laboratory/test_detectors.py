"""High–low frequency detectors: stimuli, receptive fields and polarity against planted truth."""

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from dctnet.errors import UserError
from dctnet.model.network import FrequencyNet
from dctnet.studies.laboratory.detectors import pictures
from dctnet.studies.laboratory.detectors.layers import Field, Network
from dctnet.studies.laboratory.detectors.polarity import (
    admissible,
    canvas_for,
    is_detector,
    largest_gap,
    polarity,
    respond,
    shuffle_weights,
)
from dctnet.studies.laboratory.detectors.stimuli import (
    ORIENTATIONS,
    PHASES,
    RMS,
    boundaries,
    edges,
    textures,
    to_planes,
)
from dctnet.studies.laboratory.subject import Subject
from dctnet.studies.proportions import share_interval
from tests.studies.laboratory.planted_detectors import DETECTOR, FIELD, Branching, planted

HALF = ((0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module")
def network():
    return Network(Subject("planted", planted(), 64, normalise=HALF))


@pytest.fixture(scope="module")
def found(network):
    """Polarity of each unit of the planted layer at 4 px, by ratio."""
    canvas, read = canvas_for(network.field("relu3")), network.read(["relu3"])
    responses = {
        ratio: respond(network, read, "relu3", boundaries(4, ratio, canvas.size, canvas.center, canvas.jump), canvas)
        for ratio in (1, 2, 4)
    }
    return {ratio: polarity(each, responses[4] if ratio > 1 else None) for ratio, each in responses.items()}


def detected(found) -> list[bool]:
    return [is_detector(*each) for each in zip(found[4].index, found[2].index, found[4].dprime, strict=True)]


def test_the_planted_detectors_are_found_and_nothing_else(found):
    index, planted = found[4].index, torch.tensor(DETECTOR)
    auc = (index[planted][:, None] > index[~planted]).float().mean()
    assert auc == 1
    assert index[planted].min() > 0.8
    assert index[~planted].abs().max() < 0.1  # isotropic, edges, stripes, bars
    assert detected(found) == DETECTOR


def test_the_preferred_directions_are_those_planted(found):
    assert found[4].orientation[torch.tensor(DETECTOR)].tolist() == list(range(0, ORIENTATIONS, 2))


def test_textures_of_equal_frequency_have_no_polarity(found):
    assert found[1].index.abs().max() < 0.1
    assert not any(is_detector(*each) for each in zip(found[1].index, found[1].index, found[1].dprime, strict=True))


@pytest.mark.parametrize("center", [20.0, 19.5])
def test_turned_by_180_degrees_the_boundaries_are_those_with_the_textures_exchanged(center):
    images = boundaries(4, 4, round(2 * center) + 1, center, jump=8)
    turned = images.flip(-1, -2)
    for orientation in (0, 3):
        opposite = images[(orientation + ORIENTATIONS // 2) % ORIENTATIONS]
        torch.testing.assert_close(turned[orientation], opposite, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("off", "least", "most"), [(0, 0, 0.005), (0.5, 0.03, 1)])
def test_a_centre_half_a_pixel_off_would_fake_polarity(off, least, most):
    """A unit without polarity, the energy of the Laplacian in 21 × 21 pixels, read at one position."""
    images = boundaries(4, 4, 41, 20 + off, jump=0).flatten(0, 1)[:, None]
    laplacian = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    energy = F.conv2d(images, laplacian, padding=1).square()[:, 0, 10:31, 10:31].mean((-2, -1))
    index = polarity(energy.reshape(ORIENTATIONS, PHASES, 1)).index.abs()
    assert least <= index <= most


@pytest.mark.parametrize("ratio", [2, 4])
def test_both_halves_have_mean_0_and_the_same_rms(ratio):
    size = 65
    image = boundaries(4, ratio, size, size // 2, jump=1)[0, 0].double()  # fine side on the right
    for half in (image[:, : size // 2], image[:, size // 2 + 1 :]):
        assert half.mean() == pytest.approx(0, abs=0.03 * RMS)
        assert half.square().mean().sqrt() == pytest.approx(RMS, rel=0.03)


def test_the_fine_side_has_the_fine_wavelength():
    size = 96
    image = boundaries(4, 4, size, (size - 1) / 2, jump=1)[0, 0].double()
    for half, wavelength in ((image[:, 48:], 4), (image[:, :48], 16)):
        spectrum = torch.fft.rfft2(half).abs()
        row, column = divmod(int(spectrum.argmax()), spectrum.shape[1])
        assert min(row, size - row) == size // wavelength
        assert column == 48 // wavelength


def test_stimuli_are_grey_within_range():
    for images in (boundaries(6, 2, 40, 20.0, 4), edges(40, 20.0, 4), textures(8, 40)):
        planes = to_planes(images.flatten(0, 1))
        assert planes.min() > 0
        assert planes.max() < 255
        assert (planes[:, 1:] == 128).all()


def resnet() -> Network:
    torch.manual_seed(0)
    return Network(Subject("resnet18", torchvision.models.resnet18(num_classes=3).eval(), 64, normalise=HALF))


def test_receptive_fields_are_those_of_the_formula():
    """Size r and jump j: r + (k − 1) j and j s for each convolution or pooling, of the longest way."""
    network = resnet()
    assert network.blocks == [f"layer{n}.{m}" for n in (1, 2, 3, 4) for m in (0, 1)]
    size, jump = 1, 1
    for kernel, stride in ((7, 2), (3, 2), (3, 1), (3, 1)):  # stem, pooling, first block
        size, jump = size + (kernel - 1) * jump, jump * stride
    assert network.field("layer1.0") == Field(size, jump, -(size // 2)) == Field(27, 4, -13)
    assert network.field("layer1.1") == Field(43, 4, -21)


@pytest.mark.slow
def test_receptive_fields_of_deep_layers():
    network = resnet()
    assert network.field("layer3.1") == Field(211, 16, -105)
    assert network.field("avgpool") is None  # sees everything


def test_a_receptive_field_of_even_size_has_its_centre_between_two_pixels():
    patches = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    field = Network(Subject("patches", patches, 64, normalise=HALF)).field("1")
    assert field == Field(8, 8, 0)
    assert field.center(2) == 19.5


def test_an_output_changes_exactly_with_the_pixels_of_its_receptive_field(network):
    field = network.field("relu3")
    assert field == Field(FIELD, 1, -(FIELD // 2))
    canvas = canvas_for(field)
    read = network.read(["relu3"])
    planes = torch.full((2, 3, canvas.size, canvas.size), 128.0)
    planes += 20 * torch.randn(planes.shape[1:], generator=torch.Generator().manual_seed(0))
    top = field.start + field.jump * canvas.first
    outside = torch.ones(canvas.size, canvas.size, dtype=torch.bool)
    outside[top : top + field.size, top : top + field.size] = False
    planes[1] += 50 * outside
    output = read(network.input(planes))["relu3"][:, :, canvas.first, canvas.first]
    torch.testing.assert_close(output[0], output[1], atol=1e-4, rtol=0)


def channels_network() -> Network:
    torch.manual_seed(0)
    net = FrequencyNet(["a", "b", "c"], "square-24", image_size=64, gate="dynamic").eval()
    return Network(Subject("channels", net, 64, net.channels))


def test_a_network_on_channels_gets_the_stimuli_through_the_dct():
    network = channels_network()
    planes = to_planes(boundaries(8, 2, 64, 31.5, 8)[0, :2])
    inner = network.subject.network
    seen = []
    hook = inner.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.subject(planes)
        torch.testing.assert_close(network.input(planes), seen[0])
    hook.remove()
    assert network.field("layer1.0") == Field(40, 8, -16)  # five blocks
    assert network.field("layer1.0").center(0) == 3.5  # the middle of the first block


def test_the_canvas_holds_the_receptive_fields_of_its_central_positions():
    for field in (Field(27, 4, -13), Field(184, 16, -88), Field(37, 1, -18), Field(8, 8, 0), Field(15, 1, 0)):
        canvas = canvas_for(field)
        last = canvas.first + canvas.count - 1
        assert field.start + field.jump * canvas.first >= 0
        assert field.start + field.jump * last + field.size <= canvas.size
        assert canvas.center == field.center(canvas.first + canvas.count // 2)


def test_the_coarse_wavelength_is_at_most_half_the_receptive_field():
    assert admissible(4, Field(32, 1, 0)) == [1, 2, 4]
    assert admissible(4, Field(31, 1, 0)) == [1, 2]
    assert admissible(20, Field(31, 1, 0)) == []


def test_the_index_is_measured_by_phases_that_did_not_choose_the_direction():
    """Noise has no polarity, although its largest response is far above the opposite one."""
    noise = torch.rand(ORIENTATIONS, PHASES, 4000, generator=torch.Generator().manual_seed(0))
    assert polarity(noise).index.mean().abs() < 0.01


def test_a_unit_that_is_tuned_to_stripes_has_no_polarity_beside_its_peaks():
    responses = torch.zeros(ORIENTATIONS, PHASES, 1)
    responses[[2, 6, 10, 14]] = 10  # peaks at every quarter of a turn
    responses[0] = 0.5  # and a little response beside none
    assert polarity(responses).index == 0


def test_a_silent_unit_has_no_polarity():
    silent = polarity(torch.zeros(ORIENTATIONS, PHASES, 1))
    assert silent.index == silent.dprime == 0


def test_shuffled_weights_keep_each_filter_and_normalise_again():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    before = {name: p.clone() for name, p in net.named_parameters()}
    images = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    shuffle_weights(net, [images], torch.Generator().manual_seed(1))
    for name, after in net.named_parameters():
        rows = 1 if after.ndim == 1 else len(after)  # biases and batch norms are not shuffled
        sorted_after, sorted_before = (each.reshape(rows, -1) for each in (after, before[name]))
        if after.ndim > 1:
            sorted_after, sorted_before = sorted_after.sort(1).values, sorted_before.sort(1).values
        assert torch.equal(sorted_after, sorted_before)
    assert not torch.equal(net[0].weight, before["0.weight"])
    assert not net[1].training
    torch.testing.assert_close(net[:2](images).mean((0, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)


def test_shuffled_weights_have_no_planted_detectors():
    module = planted()
    shuffle_weights(module, [], torch.Generator().manual_seed(0))
    network = Network(Subject("shuffled", module, 64, normalise=HALF))
    canvas, read = canvas_for(Field(FIELD, 1, -(FIELD // 2))), network.read(["relu3"])
    responses = respond(network, read, "relu3", boundaries(4, 4, canvas.size, canvas.center, 1), canvas)
    assert polarity(responses).index[torch.tensor(DETECTOR)].median() < 0.5


def test_the_widest_range_of_directions():
    assert largest_gap([]) == 360
    assert largest_gap([3]) == 360
    assert largest_gap([0, 8]) == 180
    assert largest_gap(list(range(0, 16, 2))) == 45
    assert largest_gap([15, 1, 2]) == pytest.approx(13 * 22.5)


def test_the_interval_of_a_share_is_wilsons():
    z = 1.959964
    for count, total in ((0, 64), (5, 128), (64, 64)):
        middle, width = count + z * z / 2, z * (count * (total - count) / total + z * z / 4) ** 0.5
        expected = (middle - width) / (total + z * z), (middle + width) / (total + z * z)
        np.testing.assert_allclose(share_interval(count, total), expected, atol=1e-6)
    assert share_interval(0, 0) == (0, 1)


def test_examples_are_the_places_of_the_largest_activation(network):
    """A unit for the coarse band sees a patch of the coarse texture."""
    generator = torch.Generator().manual_seed(0)
    planes = torch.full((12, 3, 64, 64), 128.0) + torch.randn(12, 3, 64, 64, generator=generator)
    places = [(24, 40), (40, 30), (30, 24)]
    for image, (y, x) in enumerate(places):
        planes[image, 0, y - 8 : y + 8, x - 8 : x + 8] += textures(16, 16)[0, 0] * (3 - image) / 3
    found, activity = pictures.best_examples(network, "relu3", [9], planes, network.field("relu3"), lambda: None)
    best = found[9]
    assert len(best) == pictures.EXAMPLES
    assert [each.image for each in best[:3]] == [0, 1, 2]
    assert len({each.image for each in best}) == len(best)  # one place in each photograph
    for each, (y, x) in zip(best, places, strict=False):
        assert abs(each.y - y) <= 4
        assert abs(each.x - x) <= 4
    assert activity.shape == (len(DETECTOR),)


def test_a_photograph_smaller_than_the_receptive_field_has_examples(network):
    planes = 255 * torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    found, _ = pictures.best_examples(network, "relu3", [9], planes, network.field("relu3"), lambda: None)
    assert all(4 <= place <= 11 and each.activation >= 0 for each in found[9] for place in (each.y, each.x))


def test_a_crop_is_the_receptive_field_with_grey_outside():
    planes = torch.arange(64.0).expand(3, 64, 64)
    field = Field(21, 4, -10)
    crop = pictures.crop_field(planes, field, 5, 5)
    assert torch.equal(crop, planes[:, 10:31, 10:31])
    corner = pictures.crop_field(planes, field, 0, 0)
    assert (corner[:, :10] == 128).all()
    assert torch.equal(corner[:, 10:, 10:], planes[:, :11, :11])


def test_an_image_made_for_a_unit_excites_it(network):
    field, unit = network.field("relu3"), 0
    images = pictures.visualise(network, "relu3", unit, field, 12, 2, 0, lambda: None)
    assert images.shape == (2, 3, FIELD, FIELD)
    assert torch.equal(images, pictures.visualise(network, "relu3", unit, field, 12, 2, 0, lambda: None))
    start = pictures.visualise(network, "relu3", unit, field, 0, 2, 0, lambda: None)
    read = network.read(["conv3"])

    def response(rgb: torch.Tensor) -> torch.Tensor:
        output = read(network.input(pictures.rgb_planes(rgb)))["conv3"]
        return output[:, unit, FIELD // 2, FIELD // 2]

    assert (response(images) > response(start) + 0.05).all()


def test_a_network_that_cannot_be_traced_is_one_line():
    with pytest.raises(UserError, match="branching: its layers cannot be traced"):
        Network(Subject("branching", Branching().eval(), 64, normalise=HALF))


def test_a_layer_that_does_not_exist_is_refused_with_the_nearest_name(network):
    network.check("relu3")
    with pytest.raises(UserError, match="no such layer. Did you mean 'relu3'"):
        network.check("relu33")
    blocks = resnet()
    blocks.check("layer2")
    with pytest.raises(UserError, match="Did you mean 'layer2.0'"):
        blocks.check("layer2.00")


def test_depth_counts_the_convolutions_on_the_way(network):
    assert network.depth("relu3") == 3 / 5
    assert resnet().depth("layer2.1") == 9 / 18
