"""What Pillow opens of a photograph, as samples of YCbCr."""

import functools
import os
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from dctnet.data.images.header import read_orientation

# Pixels that are converted at a time. Pillow keeps four bytes for each and copies them twice on their way to NumPy.
_STRIP = 1 << 24
# What photographs come in. JPEG's plug-in opens MPO too. Pillow knows some thirty more, whatever the file's name says:
# among them EPS, for which it starts Ghostscript, and TGA, whose files no mark tells from any others.
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "JPEG2000", "GIF", "BMP", "DIB", "TIFF", "PPM")


def open_image(file: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Opens a photograph: JPEG, PNG, WebP, AVIF, JPEG 2000, GIF, BMP, TIFF or PPM; HEIF with a plug-in.

    Raises:
        Exception: Whatever Pillow's plug-ins raise; ``UnidentifiedImageError`` of a file that is none of these.
    """
    return Image.open(file, formats=_registered())


@functools.cache
def _registered() -> tuple[str, ...]:
    # Pillow fails at the name of a format that it was built without.
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def is_rgb_jpeg(image: Image.Image) -> bool:
    """Whether an opened JPEG file holds RGB."""
    # libjpeg reads these marks as "stored as RGB", and converts YCbCr to RGB but not RGB to YCbCr.
    components = [layer[0] for layer in getattr(image, "layer", [])]
    return image.info.get("adobe_transform") == 0 or components == list(b"RGB")


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation of an opened file; 1 where there is none that can be read."""
    if image.format in ("JPEG", "MPO"):
        # As read_header does; Pillow's own would look into XMP as well, and the decoders would disagree.
        return read_orientation(image.info.get("exif", b""))
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF beside sound pixels: viewers show such a file as it lies
        return 1


def ycbcr_samples(image: Image.Image) -> np.ndarray:
    """All samples of an opened image; transparency lies over white, 16 bits are scaled to 8.

    Shape:
        - output: (H, W), uint8, of a grey image in 8 bits, (H, W, 3) of all others

    Raises:
        ValueError: A mode with no defined white.
        Exception: Whatever Pillow's plug-ins raise on a damaged file.
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
    # Pillow converts to YCbCr only from RGB and L; CMYK, palettes and the rest pass through RGB.
    return (image if image.mode in ("L", "RGB") else image.convert("RGB")).convert("YCbCr")


def _sixteen_to_eight(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips at 255 and turns most of a 16-bit image white.
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > 65535:
        raise ValueError(f"samples of {samples.min()}…{samples.max()} are beyond 16 bits")
    return Image.fromarray(((samples * 255 + 32767) // 65535).astype(np.uint8))
