"""A slow stand-in for dctnet.data.images.turbojpeg that needs no libjpeg-turbo: jpeglib's coefficients, SciPy's DCT."""

import functools
import tempfile

import numpy as np

from dctnet.data.images import turbojpeg
from tests.slow_dct import slow_idct


@functools.lru_cache(maxsize=256)
def read_jpeglib(data: bytes):
    """The coefficients and tables of a JPEG file as jpeglib reads them."""
    import jpeglib

    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(data)
        file.flush()
        found = jpeglib.read_dct(file.name)
        found.load()
    return found


def coefficients(data: bytes) -> list[np.ndarray]:
    """The quantised coefficients of each component, (rows, columns, 64), without the padding of MCUs."""
    found = read_jpeglib(data)
    grids = [g for g in (found.Y, found.Cb, found.Cr) if g is not None]
    # T.81, A.1.1; the factors of a single component are ignored (A.2.2).
    factors = [(1, 1)] if len(grids) == 1 else [tuple(map(int, f)) for f in found.samp_factor]
    tall, wide = (max(axis) for axis in zip(*factors, strict=True))
    cropped = []
    for grid, (v, h) in zip(grids, factors, strict=True):
        rows, columns = -(-found.height * v // (8 * tall)), -(-found.width * h // (8 * wide))
        cropped.append(grid[:rows, :columns].reshape(rows, columns, 64))
    return cropped


def with_coefficients(data, header, take):
    return take(coefficients(data))


def decode_planes(data, header, denominator=1):
    assert denominator == 1
    found, planes = read_jpeglib(data), []
    for grid, number in zip(coefficients(data), found.quant_tbl_no, strict=True):
        samples = slow_idct((grid.astype(int) * found.qt[number].reshape(64)).transpose(2, 0, 1)) + 128
        planes.append(samples.round().clamp(0, 255).numpy().astype(np.uint8))
    return planes


def replace_turbojpeg(monkeypatch) -> None:
    """Lets dctnet use this module as libjpeg-turbo."""
    monkeypatch.setattr(turbojpeg, "describe", lambda: "slow")
    monkeypatch.setattr(turbojpeg, "with_coefficients", with_coefficients)
    monkeypatch.setattr(turbojpeg, "decode_planes", decode_planes)
