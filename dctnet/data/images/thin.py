"""A JPEG file in which only the coefficients of some channels are left."""

import struct

import numpy as np

from dctnet.data.images.files import ImageError
from dctnet.data.images.header import JpegError, JpegHeader, read_header
from dctnet.data.images.photo import Photo
from dctnet.data.images.turbojpeg import edit_coefficients, with_coefficients
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK


def thin_jpeg(photo: Photo, channel_set: ChannelSet, progressive: bool = False, metadata: bool = True) -> bytes:
    """A JPEG file with the coefficients of a photograph in the channels of a set; the others are zero.

    The channels are those of the upright photograph. Without any stored frequency of chroma the file is grey.

    Args:
        photo: A JPEG file, opened with the decoder ``turbojpeg``.
        channel_set: The channels to keep.
        progressive: Writes a progressive file.
        metadata: Copies EXIF data, colour profile and comments; without, only the orientation is kept.

    Raises:
        ImageError: The file is no JPEG file of Y or YCbCr that libjpeg-turbo reads without a warning, or what was
            written does not have the same coefficients when it is read again.
    """
    header = photo.header
    if header is None:
        raise ImageError(photo.path, f"cannot be thinned without loss: {photo.refused}")
    keep = _kept(header, channel_set, transposed=photo.orientation >= 5)
    grey = not keep[1:].any()

    def edit(views: list[np.ndarray]) -> None:
        for view, kept in zip(views, keep, strict=False):
            view *= kept

    try:
        expected = with_coefficients(
            photo.data, header, lambda views: [v * k for v, k in zip(views, keep, strict=False)]
        )
        written = edit_coefficients(photo.data, header, edit, grey, progressive, metadata)
        found = with_coefficients(written, read_header(written), lambda views: [view.copy() for view in views])
    except JpegError as error:
        raise ImageError(photo.path, f"cannot be thinned without loss: {error}") from error
    if not all(np.array_equal(a, b) for a, b in zip(expected, found, strict=False)):
        raise ImageError(photo.path, "cannot be thinned: the coefficients changed when they were coded again")
    return written if metadata or photo.orientation == 1 else _with_orientation(written, photo.orientation)


def _kept(header: JpegHeader, channel_set: ChannelSet, transposed: bool) -> np.ndarray:
    """Which stored frequencies of each component are kept, (components, 64), int16, 0 or 1."""
    keep = np.zeros((len(header.components), BLOCK, BLOCK), np.int16)
    for kept, (across, down), frequencies in zip(keep, header.factors, channel_set.frequencies(), strict=False):
        for v, u in (divmod(frequency, BLOCK) for frequency in frequencies):
            rows, columns = (u, v) if transposed else (v, u)
            kept[_stored(rows, down), _stored(columns, across)] = 1
    return keep.reshape(-1, BLOCK**2)


def _stored(frequency: int, factor: int) -> slice:
    """The stored frequencies, of a grid that is coarser by a factor, that are less than one from a frequency.

    A stored block spans ``factor`` blocks of luma, so that its frequency f has f / factor periods in each of them.
    """
    return slice(max(0, factor * (frequency - 1) + 1), factor * (frequency + 1))


def _with_orientation(data: bytes, orientation: int) -> bytes:
    """Adds EXIF data with nothing but the orientation, behind the JFIF segment."""
    exif = b"Exif\0\0" + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    start = 2
    if data[2:4] == b"\xff\xe0":
        start += 2 + int.from_bytes(data[4:6], "big")
    return data[:start] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[start:]
