"""Fourier features: the kernel and its prediction against theory, and the optimum of σ on a photograph."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import map_coordinates

from dctnet.errors import Stopped
from dctnet.studies.laboratory.fourier_features.command import fourier_features
from dctnet.studies.laboratory.fourier_features.dynamics import train_and_predict
from dctnet.studies.laboratory.fourier_features.image import (
    Fit,
    fit_picture,
    interpolate_bicubic,
    psnr,
    psnr_by_part,
    to_picture,
)
from dctnet.studies.laboratory.fourier_features.kernel import (
    fourier_modes,
    jacobian_kernel,
    limit_kernel,
    make_parameters,
    mode_eigenvalues,
    nonstationarity,
    outputs_of,
)
from dctnet.studies.laboratory.fourier_features.kernel_report import best_mapping
from dctnet.studies.laboratory.fourier_features.mappings import (
    DISTRIBUTIONS,
    draw_frequencies,
    fixed_frequencies,
    map_series,
    series_weights,
)
from dctnet.studies.laboratory.fourier_features.mappings import (
    map_coordinates as map_points,
)
from dctnet.studies.laboratory.fourier_features.measure import row
from dctnet.studies.laboratory.fourier_features.noise_signals import draw_signals, interpolate
from dctnet.studies.laboratory.fourier_features.results import log_slope, odd_ratio, peak, read_sweep
from dctnet.studies.laboratory.page import REPORT
from dctnet.studies.laboratory.spectral_bias.results import first_reach
from dctnet.studies.laboratory.study import ROWS
from tests.commands import fails, read_csv, run
from tests.studies.laboratory.late_signal import LateSignal

TINY = {"image_size": 16, "sigmas": [1, 2, 4], "compare_sigmas": [2], "features": 4, "width": 8, "steps": 3,
        "draws": 2, "kernel_width": 16, "points": 16, "kernel_steps": 10, "num_signals": 2}  # fmt: skip


def points(count: int, mapping: str) -> torch.Tensor:
    return map_series(torch.arange(count, dtype=torch.float64) / count, series_weights(mapping, count // 2))


def natural_image(size: int) -> torch.Tensor:
    """Noise with the spectrum of photographs, 1/f in amplitude, 0 … 1: (3, S, S)."""
    rho = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None, :])
    rho[0, 0] = 1
    white = torch.fft.rfft2(torch.randn(3, size, size, generator=torch.Generator().manual_seed(0)))
    image = torch.fft.irfft2(white / rho**1.5, s=(size, size))
    image -= image.mean((1, 2), keepdim=True)
    return (0.5 + image / (6 * image.std((1, 2), keepdim=True))).clamp(0, 1)


# The kernel


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_jacobian_kernel_tends_to_the_arc_cosine_kernel(depth, bias):
    x = points(16, "power 1")
    limit = limit_kernel(x, bias, depth)
    kernels = [jacobian_kernel(make_parameters(x.shape[1], 256, depth, seed), x.float(), bias) for seed in range(12)]
    mean = torch.stack(kernels).mean(0)
    assert float((mean - limit).norm() / limit.norm()) < 0.06


def test_jacobian_kernel_is_the_product_of_gradients():
    parameters = {name: value.requires_grad_(True) for name, value in make_parameters(2, 5, 2, 0).items()}
    x = torch.randn(3, 2)
    rows = [
        torch.cat(
            [g.flatten() for g in torch.autograd.grad(outputs_of(parameters, point, 0.3), list(parameters.values()))]
        )
        for point in x
    ]
    gradients = torch.stack(rows).double()
    plain = {name: value.detach() for name, value in parameters.items()}
    torch.testing.assert_close(jacobian_kernel(plain, x, 0.3), gradients @ gradients.T, rtol=1e-5, atol=1e-5)


def test_waves_are_the_eigenvectors_of_a_stationary_kernel():
    kernel = limit_kernel(points(32, "power 1"), 1.0, 1)
    values, modes = mode_eigenvalues(kernel), fourier_modes(32, range(16))
    torch.testing.assert_close(kernel.to(modes.dtype) @ modes.T, modes.T * values, atol=1e-7, rtol=0)


def test_kernel_is_stationary_after_a_mapping_and_not_before():
    assert nonstationarity(limit_kernel(points(32, "power 0.5"), 1.0, 2)) < 1e-6
    assert nonstationarity(limit_kernel(torch.arange(32, dtype=torch.float64)[:, None] / 32, 1.0, 1)) > 0.5


def test_eigenvalues_on_the_circle_fall_with_a_power_of_two_and_are_flat_with_equal_harmonics():
    circle = mode_eigenvalues(limit_kernel(points(64, "circle"), 1.0, 1))
    assert log_slope(circle.numpy()) == pytest.approx(-2.2, abs=0.2)
    assert (circle.diff() < 0).all()
    flat = mode_eigenvalues(limit_kernel(points(64, "power 0"), 1.0, 1))[1:]
    assert float(flat.max() / flat.min()) < 1.01


def test_odd_frequencies_need_a_bias():
    ratios = {
        bias: odd_ratio(mode_eigenvalues(limit_kernel(points(64, "circle"), bias, 1)).numpy()) for bias in (0.1, 1)
    }
    assert ratios[0.1] < 0.4
    assert ratios[1] > 0.7
    none = mode_eigenvalues(limit_kernel(points(64, "circle"), 0.0, 1))
    assert none[[3, 5, 7]].abs().max() < 1e-6 * none[2]


def test_a_larger_deviation_lets_higher_frequencies_be_learned_earlier():
    relative = [
        (values := mode_eigenvalues(limit_kernel(points(64, f"gaussian {sigma}"), 1.0, 1)))[12] / values[0]
        for sigma in (1, 2, 4, 8)
    ]
    assert relative == sorted(relative)


# Its prediction


def check_prediction(width: int, steps: int, tolerance: float) -> None:
    x = points(32, "power 0.5").float()
    found = train_and_predict(make_parameters(x.shape[1], width, 1, 0), x, 1.0, range(1, 9), 0.01, steps, lambda: None)
    torch.testing.assert_close(found.measured[0], torch.ones(8, dtype=torch.float64), atol=1e-4, rtol=0)
    assert found.measured[-1].max() < 0.6
    assert found.gap < tolerance


def test_prediction_holds_for_a_small_target():
    check_prediction(width=1024, steps=120, tolerance=0.02)


@pytest.mark.slow
def test_prediction_holds_within_a_hundredth_at_width_4096():
    check_prediction(width=4096, steps=600, tolerance=0.01)


def test_prediction_fails_for_a_large_target():
    x = points(32, "circle").float()
    found = train_and_predict(make_parameters(x.shape[1], 128, 1, 0), x, 1.0, range(1, 5), 3.0, 150, lambda: None)
    assert found.gap > 0.1


def half_lives(width: int, frequencies: list[int], steps: int) -> np.ndarray:
    """Measured by predicted iterations to half on the circle."""
    x = points(32, "circle").float()
    found = train_and_predict(make_parameters(x.shape[1], width, 1, 0), x, 1.0, frequencies, 0.01, steps, lambda: None)
    times = [
        first_reach(np.array(found.steps, float), 1 - each.numpy(), 0.5) for each in (found.measured, found.predicted)
    ]
    assert np.isfinite(times[1]).all()
    return times[0] / times[1]


def test_iterations_to_half_on_the_circle_are_predicted():
    np.testing.assert_allclose(half_lives(2048, [1, 2, 3], 300), 1, atol=0.1)


@pytest.mark.slow
def test_iterations_to_half_on_the_circle_are_predicted_within_a_tenth_at_width_8192():
    np.testing.assert_allclose(half_lives(8192, [1, 2, 3, 4, 6, 8], 2500), 1, atol=0.1)


# Mappings


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_distributions_have_the_deviation(distribution):
    drawn = draw_frequencies(distribution, 3.0, 50_000, 0)
    assert float(drawn.std()) == pytest.approx(3, rel=0.02)
    assert abs(float(drawn.mean())) < 0.05
    torch.testing.assert_close(drawn, 3 * draw_frequencies(distribution, 1.0, 50_000, 0))


def test_mapped_points_have_equal_norm_and_products_depend_on_the_difference():
    frequencies = draw_frequencies("gaussian", 2.0, 6, 0)
    place = torch.rand(5, 2)
    mapped, moved = (map_points(place + shift, frequencies) for shift in (0, 0.37))
    torch.testing.assert_close(mapped.square().sum(1), torch.full((5,), 6.0))
    torch.testing.assert_close(mapped @ mapped.T, moved @ moved.T, atol=1e-4, rtol=0)
    assert torch.equal(map_points(place, None), place)


def test_fixed_mappings():
    assert fixed_frequencies("none", 8, 16) is None
    assert fixed_frequencies("basic", 8, 16).tolist() == [[1, 0], [0, 1]]
    positional = fixed_frequencies("positional", 8, 8.0)
    torch.testing.assert_close(positional[:4, 0], torch.tensor([1.0, 2, 4, 8]))
    assert positional.shape == (8, 2)


def test_gaussian_harmonics_have_the_inner_products_of_random_frequencies():
    x = torch.arange(64, dtype=torch.float64) / 64
    series = map_series(x, series_weights("gaussian 4", 32))
    drawn = 4 * torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    near = slice(0, 8)
    expected = torch.cos(2 * math.pi * x[near, None] * drawn).mean(1)
    # Frequency 0 has no harmonic, and the normal density there is left out.
    density = math.exp(0) / (1 + 2 * sum(math.exp(-(j**2) / 32) for j in range(1, 33)))
    torch.testing.assert_close((1 - density) * (series @ series.T)[0, near] + density, expected, atol=0.01, rtol=0)


# Signals


def test_interpolation_is_exact_at_training_points_and_prefers_the_spectrum_of_the_signal():
    rough, smooth = (draw_signals(alpha, 32, 20, 0) for alpha in (0.5, 2.0))
    error = {
        name: [float(interpolate(name, signals, 32, 1.0, 1)[10_000].mean()) for signals in (rough, smooth)]
        for name in ("power 0", "power 0.5", "power 1", "circle")
    }
    assert error["power 0.5"][0] < min(error["power 0"][0], error["circle"][0])
    assert error["power 1"][1] < error["power 0"][1]


# Photographs


def bicubic_psnr(picture):
    return psnr_by_part(interpolate_bicubic(picture), picture)["test_psnr"]


def test_bicubic_interpolation_is_that_of_a_polynomial_away_from_the_border():
    place = torch.arange(32) / 32
    image = (0.2 + 0.5 * place[:, None] + 0.2 * place[None, :]).expand(3, 32, 32)
    assert bicubic_psnr(to_picture(image)) > 35  # exact but at the last row and column, which it must extrapolate


def test_bicubic_psnr_is_near_a_spline_s():
    image = natural_image(64)
    picture = to_picture(image)
    half = image[:, ::2, ::2].numpy()
    grid = np.meshgrid(*[np.arange(64) / 2] * 2, indexing="ij")
    spline = torch.from_numpy(np.stack([map_coordinates(each, grid, order=3, mode="nearest") for each in half]))
    expected = psnr(spline.flatten(1).T[~picture.train], picture.colours[~picture.train])
    assert bicubic_psnr(picture) == pytest.approx(expected, abs=1)


def test_a_quarter_of_the_points_is_for_training():
    picture = to_picture(natural_image(16))
    assert int(picture.train.sum()) == 64
    torch.testing.assert_close(picture.colours[picture.train].T.reshape(3, 8, 8), natural_image(16)[:, ::2, ::2])


def test_the_pixels_that_choose_sigma_are_not_those_that_are_reported():
    parts = to_picture(natural_image(16)).parts
    choose, report = parts["choose_psnr"], parts["report_psnr"]
    assert not (choose & report).any()
    assert torch.equal(choose | report, ~parts["train_psnr"])
    # Pixels beside, below and across known ones are equally many in both.
    for down, right in ((0, 1), (1, 0), (1, 1)):
        assert [int(part.reshape(16, 16)[down::2, right::2].sum()) for part in (choose, report)] == [32, 32]


def planted_sweep(measures):
    """Rows of one mapping in which the half that chooses σ prefers 2, the half that is reported 4."""
    best = {"test_psnr": 4, "choose_psnr": 2, "report_psnr": 4, "train_psnr": 8}
    return [
        row("image", "gaussian", sigma, draw, measure, 20 - abs(math.log2(sigma / best[measure])) + 0.01 * draw)
        for draw in range(3)
        for sigma in (1, 2, 4, 8)
        for measure in measures
    ]


def test_sigma_is_chosen_by_one_half_and_reported_by_the_other():
    sweep = read_sweep(planted_sweep(["train_psnr", "test_psnr", "choose_psnr", "report_psnr"]), [1, 2, 4, 8])
    assert sweep.sigmas[sweep.best_place] == 2
    assert sweep.report[:, sweep.best_place].mean() == pytest.approx(19.01)
    old = read_sweep(planted_sweep(["train_psnr", "test_psnr"]), [1, 2, 4, 8])  # of an early version
    assert (old.sigmas[old.best_place], old.reported) == (4, "test_psnr")


def test_best_sigma_is_inside_the_sweep_and_known_pixels_are_fitted_better_past_it():
    picture, fit = to_picture(natural_image(48)), Fit(width=64, depth=2, steps=150, batch=0, lr=5e-3)
    found = [
        psnr_by_part(fit_picture(picture, draw_frequencies("gaussian", sigma, 32, 0), fit, 0, lambda: None), picture)
        for sigma in (0.3, 1.5, 6.0)
    ]
    low, middle, high = (each["train_psnr"] for each in found)
    low_test, middle_test, high_test = (each["test_psnr"] for each in found)
    assert middle_test > max(low_test, high_test) + 1.5
    assert low + 4 < middle < high - 8


def test_peak_is_the_vertex_of_a_parabola_in_log_sigma():
    sigmas = np.array([1.0, 2, 4, 8])
    assert peak(sigmas, -((np.log(sigmas) - math.log(3)) ** 2)) == pytest.approx(3)
    assert peak(sigmas, sigmas) == 8


# The command


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    pixels = (255 * natural_image(24)).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(path)
    return path


def arguments(photo, out, **changes) -> list[str]:
    options = {**TINY, "out": out, **changes}
    return ["lab", "fourier-features", str(photo), *(f"--{key}={value}" for key, value in options.items())]


def test_command_writes_rows_and_page(photo, tmp_path):
    assert run(*arguments(photo, tmp_path / "out")) == 0
    rows = read_csv(tmp_path / "out" / ROWS)
    images = {row["name"] for row in rows if row["part"] == "image"}
    assert images == {"bicubic", "none", "basic", "positional", *DISTRIBUTIONS}
    assert {row["part"] for row in rows} == {"image", "kernel", "training", "signals"}
    page = (tmp_path / "out" / REPORT).read_text()
    assert page.count("<svg") == 7
    assert "The best σ" in page


def test_stopped_study_goes_on_to_the_same_rows_and_page(photo, tmp_path):
    fourier_features(str(photo), **TINY, out=str(tmp_path / "whole"))
    with pytest.raises(Stopped, match=r"\d+ of \d+ units"):
        fourier_features(str(photo), **TINY, out=str(tmp_path / "parts"), signals=LateSignal(50))
    fourier_features(str(photo), **TINY, out=str(tmp_path / "parts"))
    for name in (ROWS, REPORT):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sigmas": [0, 1, 2]}, "--sigmas"),
        ({"sigmas": [-1, 1, 2]}, "above 0"),
        ({"sigmas": [2, 1, 4]}, "ascending"),
        ({"sigmas": [1, 2]}, "three or more"),
        ({"sigmas": [1, 2, 2.0000001]}, "same first six digits"),
        ({"compare_sigmas": [3]}, "not among --sigmas"),
        ({"image_size": 32}, "24×24 pixels, smaller than --image_size 32"),
        ({"image_size": 15}, "must be even"),
        ({"features": 0}, "--features"),
        ({"lr": 0}, "--lr"),
        ({"lr": "nan"}, "--lr"),
        ({"batch": -1}, "--batch"),
        ({"points": 17}, "--points must be even"),
        ({"kernel_width": 100_000, "kernel_depth": 3}, "GB"),
        ({"draws": 0}, "--draws"),
    ],
)
def test_mistakes_are_one_line(photo, tmp_path, capsys, changes, message):
    assert message in fails(capsys, *arguments(photo, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_image_are_one_line(tmp_path, capsys):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    assert "text.jpg" in fails(capsys, *arguments(text, tmp_path / "out"))
    assert "no such file" in fails(capsys, *arguments(tmp_path / "none.jpg", tmp_path / "out"))
    assert "dir" in fails(capsys, *arguments(tmp_path, tmp_path / "out")).lower()


def test_the_best_mapping_is_named_alone_only_if_it_is_shown_to_be_better():
    draws = np.random.default_rng(0).normal(1, 0.1, (3, 20))
    assert best_mapping({"a": draws[0], "b": draws[0] + 0.5, "c": draws[2] + 1}).startswith("a (relative")
    assert " or " not in best_mapping({"a": draws[0], "b": draws[0] + 0.5, "c": draws[2] + 1})
    assert "not shown to differ" in best_mapping({"a": draws[0], "b": draws[1], "c": draws[2] + 1})
