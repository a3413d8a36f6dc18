"""Smooth pictures and JPEG files of every sampling, for tests that compare readers."""

import io
import tempfile
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from dctnet.data.images.photo import Photo

FILES = Path(__file__).parent / "corpus" / "files"
SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "grey"]
SIZES = [(96, 80), (109, 75), (97, 81)]


def waves(width: int, height: int, noise: float = 0.0) -> np.ndarray:
    """RGB within 40 … 215, so that decoders clamp nothing."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([128 + 40 * np.sin(x / 9 + i) + 30 * np.cos(y / (7 + i)) for i in range(3)], -1)
    picture += np.random.default_rng(0).normal(0, 1, picture.shape) * noise
    return np.clip(picture, 40, 215).astype(np.uint8)


def file_name(sampling: str, size: tuple[int, int], progressive: bool = False) -> str:
    """Name of a committed file in tests/corpus/files/."""
    return f"{sampling.replace(':', '')}-{size[0]}x{size[1]}{'-progressive' if progressive else ''}.jpg"


def jpeg_file(
    sampling: str = "4:2:0", size: tuple[int, int] = SIZES[0], progressive: bool = False, orientation: int = 1
) -> bytes:
    """A committed JPEG file of ``waves(*size, noise=6)``, for any of SAMPLINGS and SIZES."""
    return insert_orientation((FILES / file_name(sampling, size, progressive)).read_bytes(), orientation)


def encode_jpeg(picture: np.ndarray, sampling: str = "4:2:0", orientation: int = 1, **options) -> bytes:
    """A JPEG file of RGB in one of SAMPLINGS; ``options`` are Pillow's."""
    if sampling in ("4:4:0", "4:1:1"):
        luma = (1, 2) if sampling == "4:4:0" else (4, 1)
        return insert_orientation(encode_with_factors(picture, [luma, (1, 1), (1, 1)]), orientation)
    file, image = io.BytesIO(), Image.fromarray(picture)
    if sampling == "grey":
        image = image.convert("L")
    else:
        options["subsampling"] = sampling
    image.save(file, "JPEG", **{"quality": 92, **options})
    return insert_orientation(file.getvalue(), orientation)


def encode_with_factors(picture: np.ndarray, factors: list[tuple[int, int]]) -> bytes:
    """A JPEG file of RGB with any sampling factors, horizontal and vertical, by jpeglib's own libjpeg."""
    import jpeglib

    image = jpeglib.from_spatial(picture)
    image.samp_factor = np.array([[vertical, horizontal] for horizontal, vertical in factors])
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        image.write_spatial(file.name, qt=92)
        return Path(file.name).read_bytes()


def insert_orientation(data: bytes, orientation: int) -> bytes:
    """Inserts an EXIF segment after the first marker, unless the orientation is 1."""
    if orientation == 1:
        return data
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return insert_segment(data, 0xE1, exif.tobytes())


def insert_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """Inserts a segment after the first marker."""
    return data[:2] + bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def see(photo: Photo) -> np.ndarray:
    """YCbCr of a whole photograph (rows, columns, 3), each plane resized to the full size."""
    size = (photo.width, photo.height)
    parts = [
        Image.fromarray(plane.samples).resize(size, Image.Resampling.BILINEAR, box=plane.locate((0, 0, *size)))
        for plane in photo.planes()
    ]
    return np.stack([np.asarray(p) for p in parts] + [np.full(size[::-1], 128, np.uint8)] * (3 - len(parts)), -1)
