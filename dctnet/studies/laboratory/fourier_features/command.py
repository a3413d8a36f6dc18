"""The command: options, and the units of the study."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dctnet.errors import UserError, printable
from dctnet.signals import SignalRecorder
from dctnet.studies.laboratory.fourier_features.image import Fit, read_picture
from dctnet.studies.laboratory.fourier_features.kernel_report import SMALL_BIAS
from dctnet.studies.laboratory.fourier_features.mappings import (
    DISTRIBUTIONS,
    FIXED,
)
from dctnet.studies.laboratory.fourier_features.measure import (
    KernelOptions,
    measure_bicubic,
    measure_fit,
    measure_kernel,
    measure_training,
)
from dctnet.studies.laboratory.fourier_features.noise_signals import signal_rows
from dctnet.studies.laboratory.fourier_features.report import write_report
from dctnet.studies.laboratory.seeds import STREAMS
from dctnet.studies.laboratory.study import Measurement, Place, Study

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
    place: Place | None = None,
) -> None:
    """Measures how a mapping of coordinates to sines and cosines chooses the bandwidth of a network.

    Networks learn a photograph from a quarter of its pixels, without a mapping and with several, and are tested on the
    other pixels. On one dimension, the neural tangent kernel (NTK) predicts how fast each frequency is learned; its
    prediction is compared with a training. Both follow Tancik et al. 2020.

    Args:
        image: A photograph; its central square is used.
        out: Folder for rows.csv, figures and report.html. A stopped study goes on in it.
        preset: ``small``: 128 px, width 128, 64 features, 600 steps of 512 points, learning rate 3e-3. ``paper``:
            512 px, width 256, 256 features, 2,000 steps of all points, 1e-3; takes hours for each network.
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
        place: Where the units are measured; None for this process.

    Raises:
        UserError: The photograph cannot be read or is too small, or an option is out of range.
        Stopped: A signal came; the finished units are recorded.
    """
    given = {key: value for key, value in locals().items() if key not in ("out", "signals", "place", "image")}
    options: dict[str, Any] = given | {k: given[k] if given[k] is not None else v for k, v in _PRESETS[preset].items()}
    _check(options)
    fit = Fit(options["width"], depth, options["steps"], options["batch"], options["lr"])
    kernel = KernelOptions(kernel_width, kernel_depth, kernel_bias, points, kernel_steps)
    picture = read_picture(image, options["image_size"])
    study = Study("fourier-features", out, COLUMNS, options | {"image": Path(image).name}, [image], signals, STREAMS)
    units: dict[str, Callable[[], list[Measurement]]] = {"image/bicubic": partial(measure_bicubic, picture, seed)}
    for own in range(seed, seed + draws):
        fit_one = partial(measure_fit, study, picture, fit, options["features"], keep=own == seed)
        for name in FIXED:
            units[f"image/{name}/draw {own}"] = partial(fit_one, name, 0.0, own)
        for distribution in DISTRIBUTIONS:
            for sigma in sigmas if distribution == "gaussian" else compare_sigmas:
                units[f"image/{distribution} {sigma:g}/draw {own}"] = partial(fit_one, distribution, sigma, own)
    for name in KERNELS:
        units[f"kernel/{name}"] = partial(measure_kernel, kernel, name, name, kernel_bias, seed)
    units[f"kernel/{SMALL_BIAS}"] = partial(measure_kernel, kernel, "circle", SMALL_BIAS, _ODD_BIAS, seed)
    for name in _TRAINED:
        for amplitude in _AMPLITUDES:
            units[f"training/{name}/{amplitude:g}"] = partial(measure_training, study, kernel, name, amplitude, seed)
    for alpha in _ALPHAS:
        for name in _POWERS:
            units[f"signals/{alpha:g}/{name}"] = partial(
                signal_rows, alpha, name, points, kernel_bias, kernel_depth, num_signals, seed
            )
    quick = [name for name in units if name.startswith(("kernel/", "signals/")) or name == "image/bicubic"]
    study.run(units, place, quick)
    page = write_report(study, picture, sigmas, compare_sigmas)
    print(f"report: {printable(str(page))}")


def _check(options: dict[str, Any]) -> None:
    least = {
        "image_size": 8, "features": 2, "width": 1, "depth": 1, "steps": 1, "batch": 0, "draws": 1,
        "kernel_width": 1, "kernel_depth": 1, "kernel_bias": 0, "points": 16, "kernel_steps": 2, "num_signals": 1,
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
    if len(set(map("{:g}".format, sigmas))) < len(sigmas):
        raise UserError(f"--sigmas: two of them have the same first six digits; got {sigmas}")
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
