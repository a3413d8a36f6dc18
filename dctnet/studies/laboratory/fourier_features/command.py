"""The command: options, and the units of the study."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image

from dctnet.errors import UserError, printable
from dctnet.io.atomic import atomic_write
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.fourier_features.dynamics import train_and_predict
from dctnet.studies.laboratory.fourier_features.image import Fit, Picture, bicubic_psnr, fit_picture, read_picture
from dctnet.studies.laboratory.fourier_features.kernel import (
    jacobian_kernel,
    limit_kernel,
    make_parameters,
    mode_eigenvalues,
    nonstationarity,
)
from dctnet.studies.laboratory.fourier_features.kernel_report import SMALL_BIAS
from dctnet.studies.laboratory.fourier_features.mappings import (
    DISTRIBUTIONS,
    FIXED,
    draw_frequencies,
    fixed_frequencies,
    map_series,
    series_weights,
)
from dctnet.studies.laboratory.fourier_features.noise_signals import signal_rows
from dctnet.studies.laboratory.fourier_features.report import PICTURES, write_report
from dctnet.studies.laboratory.study import Measurement, Study

COLUMNS = ("part", "name", "level", "seed", "measure", "k", "x", "value")
# Mappings on one dimension; Tancik et al. weight harmonics by 1/j^p.
KERNELS = ("none", "circle", "power 1", "power 0", "gaussian 1", "gaussian 2", "gaussian 4", "gaussian 8")
_TRAINED = ("circle", "power 1", "power 0")
_AMPLITUDES = (0.01, 1.0)
_ODD_BIAS = 0.1  # of the part SMALL_BIAS
_ALPHAS = (0.5, 1.0, 1.5)
_POWERS = ("power 0", "power 0.5", "power 1", "power 1.5", "power 2", "circle")
_PRESETS: dict[str, dict[str, Any]] = {
    "small": {"image_size": 128, "width": 128, "features": 64, "steps": 600, "batch": 512, "lr": 3e-3},
    "paper": {"image_size": 512, "width": 256, "features": 256, "steps": 2000, "batch": 0, "lr": 1e-3},
}
_MAX_GRADIENTS = 4e9  # bytes of the Jacobian


@dataclass(frozen=True)
class KernelOptions:
    """The network on one dimension."""

    width: int
    depth: int
    bias: float
    points: int
    steps: int


def fourier_features(
    image: str,
    out: str = "checkpoints/fourier-features",
    preset: Literal["small", "paper"] = "small",
    image_size: int | None = None,
    sigmas: list[float] = [1, 2, 4, 8, 16, 32],  # noqa: B006
    compare_sigmas: list[float] = [2, 8, 32],  # noqa: B006
    features: int | None = None,
    width: int | None = None,
    depth: int = 3,
    steps: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    draws: int = 3,
    kernel_width: int = 4096,
    kernel_depth: int = 1,
    kernel_bias: float = 1.0,
    points: int = 32,
    kernel_steps: int = 1000,
    num_signals: int = 20,
    seed: int = 0,
    *,
    signals: SignalRecorder | None = None,
) -> None:
    """Measures how a mapping of coordinates to sines and cosines chooses the bandwidth of a network.

    Networks learn a photograph from a quarter of its pixels, without a mapping and with several, and are tested on the
    other pixels. On one dimension, the neural tangent kernel (NTK) predicts how fast each frequency is learned; its
    prediction is compared with a training. Both follow Tancik et al. 2020.

    Args:
        image: A photograph; its central square is used.
        out: Folder for rows.csv, figures and report.html. A stopped study goes on in it.
        preset: ``small``: 128 px, width 128, 64 features, 600 steps of 512 points, learning rate 3e-3. ``paper``:
            512 px, width 256, 256 features, 2,000 steps of all points, 1e-3; needs a GPU's worth of time.
        image_size: Side in pixels, even. Default: of the preset.
        sigmas: Standard deviations of Gaussian frequencies, in cycles per image.
        compare_sigmas: Deviations at which Laplace and uniform distributions are compared with the Gaussian; also
            among ``sigmas``.
        features: Number of frequencies, each with a sine and a cosine. Default: of the preset.
        width: Units per hidden layer. Default: of the preset.
        depth: Number of hidden layers.
        steps: Of Adam. Default: of the preset.
        batch: Points per step, 0 for all. Default: of the preset.
        lr: Learning rate. Default: of the preset.
        draws: Number of draws of the frequencies, each with its own initial weights.
        kernel_width: Units per hidden layer of the network on one dimension.
        kernel_depth: Its number of hidden layers.
        kernel_bias: Scale of its biases.
        points: Its number of training points, even.
        kernel_steps: Its steps of gradient descent.
        num_signals: Number of random signals for each spectrum 1/f^p.
        seed: Of the first draw.
        signals: Recorder of the signals that stop the study.

    Raises:
        UserError: The photograph cannot be read or is too small, or an option is out of range.
        Stopped: A signal came; the finished units are recorded.
    """
    given = {key: value for key, value in locals().items() if key not in ("out", "signals", "image")}
    options: dict[str, Any] = given | {k: given[k] if given[k] is not None else v for k, v in _PRESETS[preset].items()}
    _check(options)
    fit = Fit(options["width"], depth, options["steps"], options["batch"], options["lr"])
    kernel = KernelOptions(kernel_width, kernel_depth, kernel_bias, points, kernel_steps)
    picture = read_picture(image, options["image_size"])
    study = Study("fourier-features", out, COLUMNS, options | {"image": Path(image).name}, [image], signals)
    units: dict[str, Callable[[], list[Measurement]]] = {
        "image/bicubic": lambda: [_row("image", "bicubic", 0, seed, "test_psnr", bicubic_psnr(picture))]
    }
    for own in range(seed, seed + draws):
        measure = partial(_measure_fit, study, picture, fit, options["features"], keep=own == seed)
        for name in FIXED:
            units[f"image/{name}/draw {own}"] = partial(measure, name, 0.0, own)
        for distribution in DISTRIBUTIONS:
            for sigma in sigmas if distribution == "gaussian" else compare_sigmas:
                units[f"image/{distribution} {sigma:g}/draw {own}"] = partial(measure, distribution, sigma, own)
    for name in KERNELS:
        units[f"kernel/{name}"] = partial(_measure_kernel, kernel, name, name, kernel_bias, seed)
    units[f"kernel/{SMALL_BIAS}"] = partial(_measure_kernel, kernel, "circle", SMALL_BIAS, _ODD_BIAS, seed)
    for name in _TRAINED:
        for amplitude in _AMPLITUDES:
            units[f"training/{name}/{amplitude:g}"] = partial(_measure_training, study, kernel, name, amplitude, seed)
    for alpha in _ALPHAS:
        for name in _POWERS:
            units[f"signals/{alpha:g}/{name}"] = partial(
                signal_rows, alpha, name, points, kernel_bias, kernel_depth, num_signals, seed
            )
    study.run(units)
    page = write_report(study, picture, sigmas, compare_sigmas)
    print(f"report: {printable(str(page))}")


def _row(
    part: str, name: str, level: float, seed: int, measure: str, value: float, k: int = 0, x: float = 0
) -> Measurement:
    return {"part": part, "name": name, "level": float(level), "seed": seed, "measure": measure, "k": k, "x": x,
            "value": float(f"{value:.8g}")}  # fmt: skip


def _measure_fit(
    study: Study, picture: Picture, fit: Fit, features: int, name: Any, sigma: float, seed: int, keep: bool
) -> list[Measurement]:
    """PSNR of a mapping; the image of the first draw is kept for the page."""
    if name in FIXED:
        frequencies = fixed_frequencies(name, features, picture.size / 4)
    else:
        frequencies = draw_frequencies(name, sigma, features, seed)
    train, test, result = fit_picture(picture, frequencies, fit, seed, study.check_stop)
    if keep:
        pixels = (255 * result).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png")
        folder = study.out / PICTURES
        folder.mkdir(exist_ok=True)
        atomic_write(folder / f"{name}-{sigma:g}.png", file.getvalue())
    return [
        _row("image", name, sigma, seed, "train_psnr", train, x=fit.steps),
        _row("image", name, sigma, seed, "test_psnr", test, x=fit.steps),
    ]


def _points(kernel: KernelOptions, name: str) -> torch.Tensor:
    place = torch.arange(kernel.points, dtype=torch.float64) / kernel.points
    return place[:, None] if name == "none" else map_series(place, series_weights(name, kernel.points // 2))


def _measure_kernel(kernel: KernelOptions, name: str, label: str, bias: float, seed: int) -> list[Measurement]:
    """Eigenvalues by frequency and deviation from stationarity, in the limit and of one network."""
    x, rows = _points(kernel, name), []
    parameters = make_parameters(x.shape[1], kernel.width, kernel.depth, seed)
    found = {"limit": limit_kernel(x, bias, kernel.depth), "network": jacobian_kernel(parameters, x.float(), bias)}
    for kind, matrix in found.items():
        rows += [
            _row("kernel", label, bias, seed, f"eigenvalue_{kind}", float(value), k)
            for k, value in enumerate(mode_eigenvalues(matrix))
        ]
        rows.append(_row("kernel", label, bias, seed, f"nonstationarity_{kind}", nonstationarity(matrix)))
    return rows


def _measure_training(study: Study, kernel: KernelOptions, name: str, amplitude: float, seed: int) -> list[Measurement]:
    """The part of each frequency that is not yet learned, measured and predicted."""
    x = _points(kernel, name).float()
    frequencies = range(1, kernel.points // 4 + 1)
    parameters = make_parameters(x.shape[1], kernel.width, kernel.depth, seed)
    found = train_and_predict(
        parameters, x, kernel.bias, frequencies, amplitude, kernel.steps, study.check_stop
    )  # fmt: skip
    return [
        _row("training", name, amplitude, seed, kind, float(value), k, step)
        for kind, values in (("measured", found.measured), ("predicted", found.predicted))
        for step, row in zip(found.steps, values, strict=True)
        for k, value in zip(frequencies, row, strict=True)
    ]


def _check(options: dict[str, Any]) -> None:
    least = {
        "image_size": 8, "features": 2, "width": 1, "depth": 1, "steps": 1, "batch": 0, "draws": 1,
        "kernel_width": 1, "kernel_depth": 1, "kernel_bias": 0, "points": 8, "kernel_steps": 2, "num_signals": 1,
    }  # fmt: skip
    for name, limit in least.items():
        if not limit <= options[name] < math.inf:
            raise UserError(f"--{name} must be at least {limit}, got {options[name]}")
    for name in ("image_size", "features", "points"):
        if options[name] % 2:
            raise UserError(f"--{name} must be even, got {options[name]}")
    if not 0 < options["lr"] < math.inf:
        raise UserError(f"--lr must be a positive number, got {options['lr']}")
    sigmas, compared = options["sigmas"], options["compare_sigmas"]
    if len(sigmas) < 3 or sorted(set(sigmas)) != list(sigmas) or not 0 < sigmas[0] <= sigmas[-1] < math.inf:
        raise UserError(f"--sigmas must be three or more ascending numbers above 0, got {sigmas}")
    if missing := [sigma for sigma in compared if sigma not in sigmas]:
        raise UserError(f"--compare_sigmas: {missing[0]:g} is not among --sigmas {sigmas}")
    parameters = options["kernel_width"] * (
        options["points"] + 2 + options["kernel_width"] * (options["kernel_depth"] - 1)
    )
    if 4 * parameters * options["points"] > _MAX_GRADIENTS:
        raise UserError(
            f"--kernel_width {options['kernel_width']} with --kernel_depth {options['kernel_depth']}: the gradients of "
            f"{parameters:,} parameters at {options['points']} points need "
            f"{4e-9 * parameters * options['points']:.0f} GB, "
            f"more than {_MAX_GRADIENTS / 1e9:.0f} GB"
        )
