"""Decoding by Pillow: accepted formats, EXIF orientation, and any mode to YCbCr samples."""

import contextlib
import errno
import functools
import importlib
import os
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dctnet.data.images.header import read_orientation
from dctnet.data.images.signatures import describe_missing, name_other

# Pixels that are converted at a time. Pillow stores four bytes per pixel and copies them twice on the way to NumPy.
_STRIP = 1 << 24
# The formats of photographs. The JPEG plug-in opens MPO too. Pillow detects about thirty others by their content: among
# them EPS, for which it starts Ghostscript, and TGA, which has no signature.
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "JXL", "JPEG2000", "GIF", "BMP", "DIB", "TIFF", "PPM")

# Packages with a plug-in for a format, and the function that registers it.
_PLUGINS = {"HEIF": ("pillow_heif", "register_heif_opener"), "AVIF": ("pillow_avif", ""), "JXL": ("pillow_jxl", "")}


def open_image(file: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Opens a photograph: JPEG, PNG, WebP, AVIF, JPEG 2000, GIF, BMP, TIFF or PPM; HEIF and JPEG XL with a plug-in.

    Raises:
        Exception: Nearly any, from Pillow's plug-ins; ``UnidentifiedImageError`` for other formats, with the name of
            the format if ``file`` is open and the format is known.
    """
    try:
        return Image.open(file, formats=_registered())
    except UnidentifiedImageError as error:
        if isinstance(file, (str, os.PathLike)):
            raise
        file.seek(0)
        head = file.read(256)
        reason = describe_missing(head, _registered())
        if reason is None and (other := name_other(head)):
            reason = f"cannot identify image file: {other}"
        if reason is None:
            raise
        raise UnidentifiedImageError(errno.EINVAL, reason) from error


@functools.cache
def _registered() -> tuple[str, ...]:
    # Pillow raises an error for the name of a format that it was built without.
    Image.init()
    for name, (package, register) in _PLUGINS.items():
        if name not in Image.OPEN:
            with contextlib.suppress(ImportError):
                module = importlib.import_module(package)
                if register:  # the others register themselves
                    getattr(module, register)()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def is_rgb_jpeg(image: Image.Image) -> bool:
    """Whether an open JPEG file is stored as RGB, which libjpeg does not convert to YCbCr."""
    components = [layer[0] for layer in getattr(image, "layer", [])]
    return image.info.get("adobe_transform") == 0 or components == list(b"RGB")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation of an open image; 1 if it is absent or unreadable."""
    if image.format in ("JPEG", "MPO"):
        # As read_header() does. Image.getexif() would also read XMP, so that the decoders could disagree.
        return read_orientation(image.info.get("exif", b""))
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # viewers ignore broken EXIF data
        return 1


def ycbcr_samples(image: Image.Image) -> np.ndarray:
    """Decodes an open image to YCbCr; transparency is composited over white, 16 bits are scaled to 8.

    Shape:
        - output: uint8, (H, W) for grey of 8 bits, (H, W, 3) for all others

    Raises:
        ValueError: A mode without a defined white.
        Exception: Nearly any, from Pillow's plug-ins, for a damaged file.
    """
    width, height = image.size
    rows = max(1, _STRIP // width)
    if height <= rows:
        return np.asarray(_to_ycbcr(image))
    samples = np.empty((0,), np.uint8)
    for top in range(0, height, rows):
        strip = np.asarray(_to_ycbcr(image.crop((0, top, width, min(height, top + rows)))))
        if not top:
            samples = np.empty((height, *strip.shape[1:]), np.uint8)
        samples[top : top + rows] = strip
    return samples


def _to_ycbcr(image: Image.Image) -> Image.Image:
    if image.mode in ("YCbCr", "L") and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I"):
        return _sixteen_to_eight(image).convert("YCbCr")
    if image.mode == "F":
        raise ValueError("floating-point samples have no defined white")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    # Pillow converts to YCbCr only from RGB and L; other modes are converted to RGB first.
    return (image if image.mode in ("L", "RGB") else image.convert("RGB")).convert("YCbCr")


def _sixteen_to_eight(image: Image.Image) -> Image.Image:
    # Pillow's conversion clips at 255, which turns most of a 16-bit image white.
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 65535:
        raise ValueError(f"samples of {samples.min()}…{samples.max()} are beyond 16 bits")
    return Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8))
