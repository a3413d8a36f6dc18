"""Bands, projections and noise against theory."""

import math

import pytest
import torch

from dctnet.errors import UserError
from dctnet.frequency.bands import band_mask, bands_between, octave_bands, project
from dctnet.studies.laboratory.spectrum import band_noise, channel_radius, gradient_energy, predicted_gradient_energy

SIZES = [32, 40, 112]


def images(size: int) -> torch.Tensor:
    return torch.randn(2, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
def test_bands_partition_all_frequencies_but_the_mean(size):
    masks = torch.stack([band_mask(band, size) for band in octave_bands(size)])
    counts = masks.sum(0)
    assert counts[0, 0] == 0
    assert int(counts.sum()) == counts.numel() - 1
    assert counts.max() == 1


@pytest.mark.parametrize("size", SIZES)
def test_projections_are_idempotent_orthogonal_and_sum_to_the_identity(size):
    image = images(size)
    parts = [project(image, band_mask(band, size)) for band in octave_bands(size)]
    for i, part in enumerate(parts):
        torch.testing.assert_close(project(part, band_mask(octave_bands(size)[i], size)), part, atol=1e-10, rtol=0)
        for other in parts[:i]:
            assert abs(float((part * other).sum())) < 1e-8
    mean = image.mean((-2, -1), keepdim=True)
    torch.testing.assert_close(sum(parts) + mean, image, atol=1e-10, rtol=0)


def test_an_octave_band_has_the_wave_of_its_frequency():
    size = 64
    x = torch.arange(size, dtype=torch.float64)
    for band in octave_bands(size)[1:]:
        cycles = round(1.5 * band.low * size)
        wave = torch.cos(2 * math.pi * cycles * x / size).expand(size, size)
        torch.testing.assert_close(project(wave, band_mask(band, size)), wave, atol=1e-10, rtol=0)


@pytest.mark.parametrize("rms", [0.02, 0.16])
def test_noise_has_its_rms_in_each_colour_and_lies_in_its_band(rms):
    mask = band_mask(octave_bands(56)[1], 56)
    noise = band_noise(4, mask, rms, torch.Generator().manual_seed(1))
    torch.testing.assert_close(noise.square().mean((-2, -1)).sqrt(), torch.full((4, 3), rms), atol=1e-5 * rms, rtol=0)
    torch.testing.assert_close(project(noise, mask), noise, atol=1e-6, rtol=0)
    assert torch.equal(noise[:, 0].abs(), noise[:, 1].abs())
    assert {int(s) for s in torch.sign(noise[:, 0] * noise[:, 1]).unique()} <= {-1, 0, 1}


def test_gradient_energy_is_that_of_the_spectrum():
    size = 24
    image = images(size)
    f = torch.fft.fftfreq(size, dtype=torch.float64)
    gain = 4 * torch.sin(math.pi * f[:, None]) ** 2 + 4 * torch.sin(math.pi * f[None, :]) ** 2
    spectrum = torch.fft.fft2(image, norm="ortho").abs().square()
    torch.testing.assert_close(gradient_energy(image).sum((-2, -1)), (gain * spectrum).sum((-2, -1)), rtol=1e-5, atol=0)
    torch.testing.assert_close(predicted_gradient_energy(image), (gain * spectrum).sum((-2, -1)), rtol=1e-9, atol=0)


def test_a_channel_has_the_frequency_of_its_cosine():
    rho = channel_radius()
    assert rho[0] == rho[64] == 0
    assert rho[4] == rho[8 * 4] == 0.25  # four half waves in eight pixels
    assert rho[63] == pytest.approx(7 * math.sqrt(2) / 16)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([0.1], "ascending"),
        ([0.2, 0.1], "ascending"),
        ([-0.1, 0.2], "ascending"),
        ([0.001, 0.002], "no frequency"),
        ([0.25, 0.25001, 0.25002, 0.25003], "same first three digits"),
    ],
)
def test_bands_without_a_frequency_are_refused(edges, message):
    with pytest.raises(UserError, match=message):
        bands_between(edges, 64)
