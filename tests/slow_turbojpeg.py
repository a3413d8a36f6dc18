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


def coefficients(data: bytes, header) -> list[np.ndarray]:
    """The quantised coefficients of each component, (rows, columns, 64)."""
    found = read_jpeglib(data)
    grids = [found.Y, found.Cb, found.Cr][: len(header.components)]
    shapes = header.blocks
    return [grid[:r, :c].reshape(r, c, 64) for grid, (r, c) in zip(grids, shapes, strict=True)]


def with_coefficients(data, header, take):
    return take(coefficients(data, header))


def decode_planes(data, header, denominator=1):
    assert denominator == 1
    planes = []
    for component, grid in zip(header.components, coefficients(data, header), strict=True):
        samples = slow_idct((grid.astype(int) * component.table).transpose(2, 0, 1)) + 128
        planes.append(samples.round().clamp(0, 255).numpy().astype(np.uint8))
    return planes


def replace_turbojpeg(monkeypatch) -> None:
    """Lets dctnet use this module as libjpeg-turbo."""
    monkeypatch.setattr(turbojpeg, "describe", lambda: "slow")
    monkeypatch.setattr(turbojpeg, "with_coefficients", with_coefficients)
    monkeypatch.setattr(turbojpeg, "decode_planes", decode_planes)
