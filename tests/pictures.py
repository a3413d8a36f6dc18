"""Smooth pictures and JPEG files of every sampling, for tests that compare readers."""

import numpy as np
from PIL import ExifTags, Image

from dctnet.data.images.photo import Photo
from dctnet.data.images.turbojpeg import library

SAMPLINGS = ["4:4:4", "4:2:2", "4:2:0", "4:4:0", "4:1:1", "grey"]


def waves(width: int, height: int, noise: float = 0.0) -> np.ndarray:
    """RGB within 40 … 215, so that no decoder clamps anything."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.stack([128 + 40 * np.sin(x / 9 + i) + 30 * np.cos(y / (7 + i)) for i in range(3)], -1)
    picture += np.random.default_rng(0).normal(0, 1, picture.shape) * noise
    return np.clip(picture, 40, 215).astype(np.uint8)


def encode_jpeg(picture: np.ndarray, sampling: str = "4:2:0", orientation: int = 1, progressive: bool = False) -> bytes:
    """A JPEG file of RGB in one of SAMPLINGS, with EXIF's orientation in front unless it is 1."""
    import turbojpeg

    name = "TJSAMP_" + ("GRAY" if sampling == "grey" else sampling.replace(":", ""))
    data = turbojpeg.TurboJPEG(library()).encode(
        picture,
        quality=92,
        jpeg_subsample=getattr(turbojpeg, name),
        pixel_format=turbojpeg.TJPF_RGB,
        flags=turbojpeg.TJFLAG_PROGRESSIVE if progressive else 0,
    )
    return data if orientation == 1 else insert_orientation(data, orientation)


def insert_orientation(data: bytes, orientation: int) -> bytes:
    """The same JPEG file with an EXIF segment after its first marker."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return insert_segment(data, 0xE1, exif.tobytes())


def insert_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """The same JPEG file with one more segment after its first marker."""
    return data[:2] + bytes((0xFF, marker)) + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def see(photo: Photo) -> np.ndarray:
    """YCbCr of a whole photograph (rows, columns, 3), each plane enlarged to its full size on its own."""
    size = (photo.width, photo.height)
    parts = [
        Image.fromarray(plane.samples).resize(size, Image.Resampling.BILINEAR, box=plane.locate((0, 0, *size)))
        for plane in photo.planes()
    ]
    return np.stack([np.asarray(p) for p in parts] + [np.full(size[::-1], 128, np.uint8)] * (3 - len(parts)), -1)
