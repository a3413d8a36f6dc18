"""One image file to YCbCr planes, upright, or one sentence that says why not."""

import os

import numpy as np
from PIL import ExifTags, Image, ImageOps

from dctnet.errors import UserError, first_line

# 134 megapixels: more than any camera's single shot, 400 MB as planes. Pillow itself only warns from 89 to 179.
MAX_PIXELS = 1 << 27


class ImageError(UserError):
    """A file that cannot be used as an image.

    Args:
        path: The file.
        reason: Why, in one line.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


def open_planes(path: str | os.PathLike[str]) -> Image.Image:
    """Opens an image file as full-range YCbCr, upright.

    A JPEG goes straight to YCbCr, without the detour over RGB. Grey has Cb = Cr = 128, transparency lies over white,
    16 bits are scaled to 8, of an animation the first frame counts. EXIF that cannot be read turns nothing.

    Args:
        path: Any file that Pillow opens.

    Returns:
        A loaded Pillow image of mode YCbCr.

    Raises:
        ImageError: Missing, no image, cut short, over 134 megapixels, or a mode with no defined white.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(path, f"{image.width}×{image.height} pixels; at most {MAX_PIXELS:,} are decoded")
            if not _is_rgb_jpeg(image):
                image.draft("YCbCr", None)
            # Before any conversion: a converted copy may lose the EXIF block.
            orientation = _orientation(image)
            planes = _to_ycbcr(image)
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(path, "no such file") from error
    # Pillow's plug-ins raise nearly anything on a damaged file: OSError, SyntaxError, struct.error, IndexError, …
    except Exception as error:
        raise ImageError(path, first_line(error).replace(str(path), "file")) from error
    return planes.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else planes


def _is_rgb_jpeg(image: Image.Image) -> bool:
    # libjpeg reads these marks as "stored as RGB", and converts YCbCr to RGB but not RGB to YCbCr.
    components = [layer[0] for layer in getattr(image, "layer", [])]
    return image.info.get("adobe_transform") == 0 or components == list(b"RGB")


_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF beside sound pixels: viewers show such a file as it lies
        return 1


def _to_ycbcr(image: Image.Image) -> Image.Image:
    if image.mode == "YCbCr":
        image.load()
        return image.copy()
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


def resize_crop(image: Image.Image, box: tuple[float, float, float, float], size: int, flip: bool) -> np.ndarray:
    """Cuts a box out of an image and resizes it to a square, antialiased bilinear.

    Args:
        image: What :func:`open_planes` returned.
        box: Left, top, right, bottom in source pixels; need not be whole numbers.
        size: Side of the result in pixels.
        flip: Mirror left and right.

    Returns:
        Planes Y, Cb, Cr, 0 … 255.

    Shape:
        - output: (3, size, size), uint8
    """
    crop = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if flip:
        crop = ImageOps.mirror(crop)
    return np.ascontiguousarray(np.moveaxis(np.asarray(crop), -1, 0))
