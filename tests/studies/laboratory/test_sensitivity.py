"""Sensitivity to frequencies against planted truth, and the command."""

import json
import math
import sys
import types

import numpy as np
import pytest
import torch

from dctnet.data.planted import TRUTH
from dctnet.errors import Stopped
from dctnet.frequency.bands import band_mask, octave_bands, project, radius
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.frequency.maskfile import read_mask
from dctnet.model.network import FrequencyNet
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.opening import open_subject
from dctnet.studies.laboratory.photographs import Photographs, read_photographs
from dctnet.studies.laboratory.sensitivity.bands import (
    NOISE,
    ORIENTATIONS,
    RINGS,
    Noisy,
    Removed,
    frequency_cells,
    lower_contrast,
    polar_cells,
)
from dctnet.studies.laboratory.sensitivity.channels import CODINGS, ChannelStudy
from dctnet.studies.laboratory.sensitivity.command import sensitivity
from dctnet.studies.laboratory.sensitivity.layers import high_share, layer_profile
from dctnet.studies.laboratory.sensitivity.report.report import lowest
from dctnet.studies.laboratory.sensitivity.thresholds import bandwidth, half_accuracy_noise, read_thresholds
from dctnet.studies.laboratory.spectrum import band_noise
from dctnet.studies.laboratory.subject import Subject
from tests.commands import CKPT, fails, read_csv, run
from tests.studies.laboratory.planted import planted_subject

pytestmark = pytest.mark.usefixtures("small_backbones")


@pytest.fixture(scope="module")
def study() -> ChannelStudy:
    return ChannelStudy(*planted_subject(), batch=64, seed=0)


def area_under_curve(scores: torch.Tensor) -> float:
    """Share of pairs of a channel of the truth and another one that the scores order correctly."""
    truth = torch.zeros(NUM_CHANNELS, dtype=torch.bool)
    truth[list(TRUTH.indices)] = True
    return float((scores[truth][:, None] > scores[~truth]).double().mean())


def test_swaps_find_the_planted_channels(study):
    clean = study.answers({}).loss.mean()
    rise = [study.answers({c: study.changed("swap", c)}).loss.mean() - clean for c in range(NUM_CHANNELS)]
    assert area_under_curve(torch.tensor(rise)) >= 0.98


def test_gradients_find_the_planted_channels(study):
    assert area_under_curve(study.gradients()) >= 0.98


def test_the_gradient_is_that_of_the_channels(study):
    channels = study.channels[:4].clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(study.subject.from_channels(channels), study.targets[:4], reduction="sum")
    (direct,) = torch.autograd.grad(loss, channels)
    subject, photographs = planted_subject()
    few = ChannelStudy(subject, type(photographs)(photographs.planes[:4], photographs.targets[:4], ["x"] * 4), 2, 0)
    expected = direct.flatten(2).norm(dim=2).double().mean(0) * few.std.double()
    torch.testing.assert_close(few.gradients(), expected, rtol=1e-3, atol=1e-9)


def test_a_swap_changes_one_channel_and_gives_every_image_another_one(study):
    for channel in (0, 77):
        other = study.others(channel)
        assert sorted(other.tolist()) == list(range(len(other)))
        assert not bool((other == torch.arange(len(other))).any())
        assert torch.equal(study.changed("swap", channel), study.channels[other, channel])
    assert bool((study.changed("mean", 5) == study.channels[:, 5].mean()).all())


def test_noise_of_a_channel_has_its_strength(study):
    for method, rms in (("noise_abs", 32.0), ("noise_rel", float(study.std[3]))):
        noise = study.changed(method, 3) - study.channels[:, 3]
        assert float(noise.std()) == pytest.approx(rms, rel=0.05)


def test_curves_begin_and_end_at_the_same_accuracies(study):
    clean, order = study.answers({}), list(range(NUM_CHANNELS))
    rows = {name: next(iter(unit())) for name, unit in study.curve_units(clean, order, "frequency")}
    assert rows["deletion_frequency/0"]["accuracy"] == rows["insertion_frequency/192"]["accuracy"] == clean.accuracy
    assert rows["deletion_frequency/192"]["accuracy"] == rows["insertion_frequency/0"]["accuracy"]


def test_codings_keep_what_they_say(study):
    part = slice(0, 8)
    seen = {}

    def look(images):
        seen["planes"] = images
        return torch.zeros(len(images), 8)

    subject = study.subject
    original, from_channels = subject.forward, subject.from_channels
    subject.forward = look
    subject.from_channels = lambda channels: look(channels)
    try:
        found = {}
        for number, name in enumerate(CODINGS):
            study._coded(name, number, part)
            found[name] = seen["planes"]
    finally:
        subject.forward, subject.from_channels = original, from_channels
    own, ac = study.channels[part], [c for c in range(NUM_CHANNELS) if c % 64]
    torch.testing.assert_close(found["dct_signs"].abs(), own.abs())
    assert 0.4 < float((found["dct_signs"][:, ac] == own[:, ac]).float().mean()) < 0.6
    assert float((found["dct_magnitudes"] * own)[:, ac].min()) >= 0
    others = study.channels[study.others(NUM_CHANNELS + list(CODINGS).index("dct_magnitudes"))[part]]
    signed = own[:, ac].sign() != 0
    torch.testing.assert_close(found["dct_magnitudes"][:, ac][signed].abs(), others[:, ac][signed].abs())
    spectrum = torch.fft.rfft2(study.planes[part])
    coded = {name: torch.fft.rfft2(found[name]) for name in ("fourier_phases", "fourier_amplitudes")}
    torch.testing.assert_close(coded["fourier_phases"].abs(), spectrum.abs(), rtol=1e-2, atol=2.0)
    strong = spectrum.abs() > 300
    same = torch.cos(coded["fourier_amplitudes"].angle() - spectrum.angle())[strong]
    assert float(same.min()) > 0.9


@pytest.mark.parametrize("size", [48, 64])
def test_cells_of_the_fourier_map_partition_the_spectrum(size):
    for cells in (polar_cells(size), frequency_cells(size)):
        total = torch.stack(list(cells.values())).sum(0)
        assert total[0, 0] == 0
        assert total.max() == 1
        noise = [band_noise(1, mask, 1.0, torch.Generator().manual_seed(0))[0, 0].double() for mask in cells.values()]
        few = torch.stack(noise[:: max(1, len(noise) // 40)]).flatten(1) / size
        torch.testing.assert_close(few @ few.T, torch.eye(len(few), dtype=torch.float64), atol=1e-6, rtol=0)
    assert torch.equal(torch.stack(list(polar_cells(size).values())).any(0), radius(size) >= 1 / 32)
    assert set(polar_cells(size)) <= {(r, o) for r in range(RINGS) for o in range(ORIENTATIONS)}
    # one of each conjugate pair: all frequencies but the mean
    own = len(frequency_cells(size))
    assert own == (size * size - 4) // 2 + 3


def test_orientation_0_has_vertical_stripes():
    stripes = torch.cos(2 * math.pi * 12 * torch.arange(48) / 48).expand(48, 48)
    cells = {place: mask for place, mask in polar_cells(48).items() if float(project(stripes, mask).std()) > 1e-3}
    assert [orientation for _, orientation in cells] == [0]


def test_a_removed_band_and_only_the_band_add_up():
    planes = 255 * torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mask = band_mask(octave_bands(64)[1], 64)
    mean = planes.mean((-2, -1), keepdim=True)
    torch.testing.assert_close(
        Removed(mask, only=False)(planes, 0) + Removed(mask, only=True)(planes, 0) - mean, planes, atol=1e-3, rtol=0
    )


def test_noise_depends_on_the_image_not_on_the_batch():
    planes = torch.full((4, 3, 32, 32), 128.0)
    noisy = Noisy(band_mask(octave_bands(32)[0], 32), 0.02, seed=3)
    assert torch.equal(noisy(planes, 0), noisy(planes, 0))
    assert not torch.equal(noisy(planes, 0), noisy(planes, 4))
    torch.testing.assert_close(torch.cat([noisy(planes[:3], 0), noisy(planes[3:], 3)]), noisy(planes, 0))


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([0.8, 0.8, 0.6, 0.2], 0.08 * 2**0.5),
        ([0.8, 0.4, 0.2, 0.1], 0.04),
        ([0.8, 0.8, 0.8, 0.5], math.inf),
        ([0.3, 0.2, 0.1, 0.0], None),
    ],
)
def test_the_noise_that_halves_the_accuracy_is_interpolated(accuracies, expected):
    found = half_accuracy_noise(dict(zip(NOISE, accuracies, strict=True)), 0.8)
    assert found is None if expected is None else found == pytest.approx(expected)


def test_the_bandwidth_is_the_width_at_half_of_the_sensitivity():
    # A triangle over octaves: sensitivity 10 at the peak, 5 an octave and a half to each side.
    centers = [2.0**octave for octave in range(-6, 0)]
    triangle = [(c, 1 / max(1e-9, 10 - abs(math.log2(c) + 3) * 10 / 3)) for c in centers]
    width, bound = bandwidth(triangle)
    assert (width, bound) == (pytest.approx(3), False)
    assert bandwidth([(1, 0.1), (2, 0.1), (4, math.inf)]) == (pytest.approx(1.5), True)
    assert bandwidth([(1, 0.1), (2, None)]) is None
    assert bandwidth([(1, math.inf), (2, math.inf)]) is None


@pytest.mark.parametrize(("cycles", "share"), [(2, 0.0), (10, 1.0)])
def test_the_share_of_high_frequencies_of_a_wave(cycles, share):
    for side in (28, 27):
        wave = torch.sin(2 * math.pi * cycles * torch.arange(side) / side).expand(1, 1, side, side) + 5
        assert float(high_share(wave)) == pytest.approx(share, abs=1e-6)
    assert math.isnan(float(high_share(torch.ones(1, 1, 8, 8))))


def test_white_maps_have_the_share_of_the_area():
    maps = torch.randn(4, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = 1 - math.pi / 4 * 0.25 / 0.25 * 0.25  # outside a circle of half the highest frequency
    assert float(high_share(maps).mean()) == pytest.approx(expected, abs=0.02)


def test_a_gate_that_decides_per_image_is_measured_free_and_fixed():
    torch.manual_seed(0)
    network = FrequencyNet(["a", "b", "c"], "square-24", 64, gate="dynamic").eval()
    network.gate.forward = lambda normalised: normalised.mean((-2, -1))  # keeps what is positive on average
    subject = Subject("gated", network, 64, network.channels, network.classes)
    planes = 255 * torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    study = ChannelStudy(subject, Photographs(planes, torch.arange(6) % 3, ["x"] * 6), 3, 0)
    free, fixed = study.answers({}), study.answers({}, fixed=True)
    np.testing.assert_allclose(free.loss, fixed.loss, rtol=1e-5)
    names = dict(study.units(free, ["swap"]))
    assert {name.split("/")[0] for name in names} == {"swap", "swap_fixed"}
    assert len(names) == 2 * 24
    opposite = {0: -study.channels[:, 0]}
    assert not np.allclose(study.answers(opposite).loss, study.answers(opposite, fixed=True).loss)


def test_curves_are_measured_on_other_photographs_than_the_order():
    photographs = planted_subject()[1]
    for count in (1, 30, 78):
        chosen, rest = photographs.spread(count), photographs.apart_from(count)
        assert sorted(chosen.paths + rest.paths) == sorted(photographs.paths)
    assert photographs.apart_from(80).paths == photographs.paths


def command(folder, out, *more):
    few = ("--images", 6, "--channel_images", 4, "--batch", 4)
    return "lab", "sensitivity", folder / CKPT, "--out", out, *few, *more


def test_the_command_writes_page_rows_and_mask(gated_run, tmp_path, capsys):
    mask = gated_run / "out" / "tiny" / "version_0" / "mask.json"
    assert (
        run(*command(gated_run, tmp_path / "out", "--mask", tmp_path / "mask.json", "--keep", 5, "--gate", mask)) == 0
    )
    rows = read_csv(tmp_path / "out" / "rows.csv")
    swaps = {int(row["level"]): float(row["loss"]) for row in rows if row["part"] == "swap"}
    assert len(swaps) == 24
    best = sorted(swaps, key=lambda channel: -swaps[channel])[:5]
    assert read_mask(tmp_path / "mask.json")[0].indices == tuple(sorted(best))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Fourier map" in page
    assert "by chance" in page
    assert 'src="http' not in page
    assert str(tmp_path / "out" / "report.html") in capsys.readouterr().out
    first = (tmp_path / "out" / "rows.csv").read_bytes()
    assert run(*command(gated_run, tmp_path / "out", "--gate", mask)) == 0
    assert (tmp_path / "out" / "rows.csv").read_bytes() == first
    assert "made with images 6, now 5" in fails(capsys, *command(gated_run, tmp_path / "out", "--images", 5))


def test_a_mask_is_not_written_over_another_file(gated_run, tmp_path, capsys):
    gate = gated_run / "out" / "tiny" / "version_0" / "mask.json"
    assert f"--gate {gate} compares with it" in fails(capsys, *command(gated_run, tmp_path / "out", "--mask", gate))
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    assert "exists and is no mask" in fails(capsys, *command(gated_run, tmp_path / "out", "--mask", other))
    assert other.read_text() == "mine"


@pytest.mark.slow
def test_a_stopped_study_ends_with_the_same_rows(gated_run, tmp_path):
    with SignalRecorder() as signals:
        signals.received = 15
        with pytest.raises(Stopped):
            sensitivity(str(gated_run / CKPT), str(tmp_path / "out"), images=4, channel_images=3, signals=signals)
    assert json.loads((tmp_path / "out" / "study.json").read_text())["options"]["images"] == 4
    rows = []
    for name in ("out", "whole"):
        sensitivity(str(gated_run / CKPT), str(tmp_path / name), images=4, channel_images=3)
        rows.append((tmp_path / name / "rows.csv").read_bytes())
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", 1], "--images must be at least 2"),
        (["--keep", 0], "--keep must be 1…192"),
        (["--keep", 25, "--mask", "mask.json"], "reads 24 channels"),
        (["--seed=-1"], "--seed must be at least 0"),
        (["--contrast", 1.5], "--contrast must be a share"),
        (["--bands", "[0.001,0.002]"], "no frequency"),
        (["--methods", "[swop]"], "methods"),
        (["--gate", "none.json"], "none.json"),
        (["--mask", "no/such/folder/mask.json"], "does not exist"),
        (["--data.root", "nowhere"], "nowhere"),
        (["--split", "test"], "test"),
    ],
)
def test_bad_options_are_one_line(gated_run, tmp_path, capsys, options, message):
    assert message in fails(capsys, *command(gated_run, tmp_path / "out", *options))


def test_studies_are_listed_and_misspelt_ones_are_named(capsys):
    assert run("lab", "--help") == 0
    assert "sensitivity" in capsys.readouterr().out
    assert "Did you mean 'sensitivity'?" in fails(capsys, "lab", "sensitivty")


class Tokens(torch.nn.Module):
    """A network without a convolution."""

    def forward(self, rgb):
        return torch.nn.functional.adaptive_avg_pool2d(rgb, 1).flatten(1)


def test_noise_on_grey_photographs_is_compared_with_those(gated_run, tmp_path):
    options = {"images": 6, "channel_images": 2, "contrast": 0.2}
    sensitivity(str(gated_run / CKPT), str(tmp_path / "out"), **options)
    rows = read_csv(tmp_path / "out" / "rows.csv")
    clean = {row["item"]: float(row["accuracy"]) for row in rows if row["part"] == "clean"}
    for row in rows:
        if row["part"] == "noise":
            assert float(row["accuracy"]) - float(row["change"]) == pytest.approx(clean["noise"])
            assert float(row["clipped"]) < 0.01
    grey = lower_contrast(torch.rand(1, 3, 8, 8) * 255, 0.2)
    assert 102 <= float(grey[:, 0].min()) <= float(grey[:, 0].max()) <= 153
    assert bool((grey[:, 1:] == 128).all())


def test_a_network_without_feature_maps_has_a_page_that_says_so(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "my_networks", types.SimpleNamespace(tokens=Tokens))
    options = {"root": str(photos), "image_size": 64, "images": 6, "channel_images": 2}
    sensitivity("my_networks:tokens", str(tmp_path / "out"), **options)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "No convolution of this network" in page
    assert "No layer of this network" in page


def test_layers_have_depths_from_0_to_1(gated_run):
    subject = open_subject(str(gated_run / CKPT))
    photographs = read_photographs(subject, None, "val", 4, 0)
    subject.network.backbone = torch.nn.Sequential(*(torch.nn.Conv2d(24, 24, 3, padding=1) for _ in range(3)))
    layers = layer_profile(subject, photographs, 2)
    assert [layer.depth for layer in layers] == [0, 0.5, 1]
    assert {layer.side for layer in layers} == {8}


def test_the_worst_band_is_named_alone_only_if_it_is_shown_to_be_worse():
    rows = [
        {"item": name, "accuracy": right.count("r") / 40, "right": right}
        for name, right in (("a", "rw" * 20), ("b", "r" * 22 + "w" * 18), ("c", "r" * 40))
    ]
    assert lowest(rows)[1] == "a or b (not shown to differ)"
    assert lowest(rows, -1) == (rows[2], "c")
    assert lowest(rows[:1]) == (rows[0], "a")


def noise_rows(shares, images=400):
    """Rows of two bands, with the share of right answers at each noise; clean images are all right."""
    rng = np.random.default_rng(0)
    rows = [{"part": "clean", "item": "noise", "level": 0, "right": "r" * images}]
    for band, own in shares.items():
        for rms, share in zip(NOISE, own, strict=True):
            right = "".join("r" if each < share else "w" for each in rng.random(images))
            rows.append({"part": "noise", "item": band, "level": rms, "right": right})
    return rows


def test_the_noise_that_halves_the_accuracy_has_an_interval_over_images():
    rows = noise_rows({"low": [1, 0.7, 0.3, 0.1], "middle": [1, 0.69, 0.31, 0.1], "high": [1, 1, 1, 0.99]})
    found = read_thresholds(rows, {"low": 0.1, "middle": 0.2, "high": 0.4})
    assert found.values[0] == pytest.approx(0.04 * 2**0.5, rel=0.1)
    low, high = np.percentile(found.draws[:, 0], [2.5, 97.5])
    # The accuracy of 400 images deviates by 2.3 points, and falls by 40 points in an octave.
    deviation = 0.024 / 0.4 * math.log(2) / 2**0.5
    assert math.log(high / low) == pytest.approx(4 * deviation, rel=0.25)
    assert found.text(2) == "above 0.16 [above 0.16, above 0.16]"
    assert "(not shown to differ)" in found.most_disturbed
    apart = read_thresholds(noise_rows({"low": [1, 0.2, 0.1, 0], "high": [1, 1, 0.9, 0.3]}), {"low": 0.1, "high": 0.4})
    assert apart.most_disturbed.startswith("low: RMS")
    assert apart.width.startswith("at least")
    assert "[" in apart.width
    assert read_thresholds(noise_rows({"low": [1, 1, 1, 1]}), {"low": 0.1}).most_disturbed is None
