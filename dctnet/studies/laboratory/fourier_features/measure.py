"""What the units of the study measure, as rows."""

import io
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from dctnet.io.atomic import atomic_write
from dctnet.studies.laboratory.fourier_features.dynamics import train_and_predict
from dctnet.studies.laboratory.fourier_features.image import (
    Fit,
    Picture,
    fit_picture,
    interpolate_bicubic,
    psnr_by_part,
)
from dctnet.studies.laboratory.fourier_features.kernel import (
    jacobian_kernel,
    limit_kernel,
    make_parameters,
    mode_eigenvalues,
    nonstationarity,
)
from dctnet.studies.laboratory.fourier_features.mappings import (
    FIXED,
    draw_frequencies,
    fixed_frequencies,
    map_series,
    series_weights,
)
from dctnet.studies.laboratory.study import Measurement, Study

PICTURES = "pictures"  # folder of the images of the first draw


@dataclass(frozen=True)
class KernelOptions:
    """The network on one dimension."""

    width: int
    depth: int
    bias: float
    points: int
    steps: int


def row(
    part: str, name: str, level: float, seed: int, measure: str, value: float, k: int = 0, x: float = 0
) -> Measurement:
    """A row of the study."""
    return {"part": part, "name": name, "level": float(level), "seed": seed, "measure": measure, "k": k, "x": x,
            "value": float(f"{value:.8g}")}  # fmt: skip


def measure_bicubic(picture: Picture, seed: int) -> list[Measurement]:
    """PSNR of bicubic interpolation at the points between the known ones."""
    found = psnr_by_part(interpolate_bicubic(picture), picture)
    return [row("image", "bicubic", 0, seed, name, value) for name, value in found.items() if name != "train_psnr"]


def measure_fit(
    study: Study, picture: Picture, fit: Fit, features: int, name: Any, sigma: float, seed: int, keep: bool
) -> list[Measurement]:
    """PSNR of a mapping; the image of the first draw is kept for the page."""
    if name in FIXED:
        frequencies = fixed_frequencies(name, features, picture.size / 4)
    else:
        frequencies = draw_frequencies(name, sigma, features, seed)
    colours = fit_picture(picture, frequencies, fit, seed, study.check_stop)
    if keep:
        pixels = (255 * colours).round().clamp(0, 255).byte().reshape(picture.size, picture.size, 3).numpy()
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png")
        folder = study.out / PICTURES
        folder.mkdir(exist_ok=True)
        atomic_write(folder / f"{name}-{sigma:g}.png", file.getvalue())
    found = psnr_by_part(colours, picture)
    return [row("image", name, sigma, seed, measure, value, x=fit.steps) for measure, value in found.items()]


def _points(kernel: KernelOptions, name: str) -> torch.Tensor:
    place = torch.arange(kernel.points, dtype=torch.float64) / kernel.points
    return place[:, None] if name == "none" else map_series(place, series_weights(name, kernel.points // 2))


def measure_kernel(kernel: KernelOptions, name: str, label: str, bias: float, seed: int) -> list[Measurement]:
    """Eigenvalues by frequency and deviation from stationarity, in the limit and of one network."""
    x, rows = _points(kernel, name), []
    parameters = make_parameters(x.shape[1], kernel.width, kernel.depth, seed)
    found = {"limit": limit_kernel(x, bias, kernel.depth), "network": jacobian_kernel(parameters, x.float(), bias)}
    for kind, matrix in found.items():
        rows += [
            row("kernel", label, bias, seed, f"eigenvalue_{kind}", float(value), k)
            for k, value in enumerate(mode_eigenvalues(matrix))
        ]
        rows.append(row("kernel", label, bias, seed, f"nonstationarity_{kind}", nonstationarity(matrix)))
    return rows


def measure_training(study: Study, kernel: KernelOptions, name: str, amplitude: float, seed: int) -> list[Measurement]:
    """The part of each frequency that is not yet learned, measured and predicted."""
    x = _points(kernel, name).float()
    frequencies = range(1, kernel.points // 4 + 1)
    parameters = make_parameters(x.shape[1], kernel.width, kernel.depth, seed)
    found = train_and_predict(
        parameters, x, kernel.bias, frequencies, amplitude, kernel.steps, study.check_stop
    )  # fmt: skip
    return [
        row("training", name, amplitude, seed, kind, float(value), k, step)
        for kind, values in (("measured", found.measured), ("predicted", found.predicted))
        for step, parts in zip(found.steps, values, strict=True)
        for k, value in zip(frequencies, parts, strict=True)
    ]
