"""One image, from a file or from memory, as upright YCbCr planes decoded no larger than needed."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Literal

import numpy as np
import PIL
from PIL import Image

from dctnet.data.images import turbojpeg
from dctnet.data.images.files import ImageError, open_image_file, translate_image_errors
from dctnet.data.images.header import SOI, DamagedError, JpegError, JpegHeader, count_scans, reaches_scan, read_header
from dctnet.data.images.pillow import is_rgb_jpeg, open_image, orientation_of, ycbcr_samples
from dctnet.data.images.planes import Plane, upright_plane
from dctnet.errors import UserError

# 134 megapixels: more than one exposure of any camera; 400 MB as planes. Pillow only warns from 89 to 179.
_MAX_PIXELS = 1 << 27
# Huffman coding spends at least one bit on the DC coefficient of each 8×8 block.
_PIXELS_PER_BYTE = 8 * 64
# Each scan of a progressive file visits all blocks, and may take only a few bytes. The limit is the largest picture in
# 16 scans; encoders write at most 10.
_MAX_PIXELS_IN_SCANS = 16 * _MAX_PIXELS
_HEAD = 1 << 16  # most headers are shorter

Source = str | os.PathLike[str] | bytes | Image.Image
Decoder = Literal["turbojpeg", "pillow"]


def choose_decoder(decoder: Literal["auto", "turbojpeg", "pillow"]) -> Decoder:
    """Resolves ``auto`` to libjpeg-turbo if its library is found, else to Pillow.

    Raises:
        UserError: ``turbojpeg`` without its library.
    """
    if decoder == "turbojpeg" and turbojpeg.describe() is None:
        raise UserError("--data.decoder turbojpeg: its library is not found; dctnet doctor says how to install it")
    if decoder == "auto":
        return "pillow" if turbojpeg.describe() is None else "turbojpeg"
    return decoder


def describe_decoder(decoder: Decoder) -> str:
    """Name and version of a decoder, as recorded in checkpoints."""
    return f"Pillow {PIL.__version__}" if decoder == "pillow" else str(turbojpeg.describe())


class Photo:
    """An image as full-range YCbCr, upright; :meth:`planes` decodes it.

    JPEG files are not converted to RGB and back. Grey images have no Cb and Cr. Transparency is composited over white,
    16 bits are scaled to 8, and the first frame of an animation is read.

    With the decoder ``turbojpeg``, files that are not a JPEG of Y or YCbCr, or that libjpeg-turbo rejects or warns
    about, are decoded by Pillow; ``refused`` has the reason. If libjpeg-turbo warns of damage within a scan, the file
    is rejected: Pillow would return damaged pixels without a warning.

    Args:
        source: The path or the content of a file in one of the formats of
            :func:`~dctnet.data.images.pillow.open_image`; or an open Pillow image, read as Pillow decodes it.
        decoder: For JPEG files.

    Raises:
        UserError: ``source`` is none of these.
        ImageError: The image is missing, of no known format, truncated, damaged, larger than 134 megapixels, has too
            many scans, or a mode without a defined white. Some of these only in :meth:`planes`.
    """

    def __init__(self, source: Source, decoder: Decoder = "pillow") -> None:
        self.path: str | os.PathLike[str] = "<bytes>"
        self.data = b""
        self.header: JpegHeader | None = None
        self._image: Image.Image | None = None
        self._decoded: dict[int, list[Plane]] = {}
        if isinstance(source, Image.Image):
            self.path, self._image = "<image>", source
        elif isinstance(source, bytes):
            self.data = source
        elif not isinstance(source, (str, os.PathLike)):  # open() would take an integer for an open file
            kind = type(source).__name__
            raise UserError(f"expected the path or the bytes of an image file, or a Pillow image; got {kind}")
        else:
            self.path = source
            with open_image_file(source) as file:
                self.data = file.read()
        self._unparsed = self._read_header()
        self.refused = self._unparsed
        if decoder == "pillow":
            self.header, self.refused = None, "read by Pillow"
        if self.header is None:
            with self._open_by_pillow() as image:
                size, orientation = image.size, orientation_of(image)
        else:
            size, orientation = (self.header.width, self.header.height), self.header.orientation
        _check_size(self.path, *size)
        self._check_cost(*size)
        self.orientation = orientation if 1 <= orientation <= 8 else 1
        self.width, self.height = size if self.orientation < 5 else size[::-1]

    def _read_header(self) -> str | None:
        """Reads the header of a JPEG file; returns the reason why there is none."""
        if self._image is not None:
            return "an open image"
        try:
            self.header = read_header(self.data)
        except DamagedError as error:
            raise ImageError(self.path, f"damaged: {error}") from error
        except JpegError as error:
            return str(error)
        return None

    def _check_cost(self, width: int, height: int) -> None:
        """Rejects JPEG files of a few bytes that would take seconds to decode."""
        if self.data[:2] != SOI:
            return
        size = f"{width}×{height} pixels"
        if self._unparsed != "arithmetic coding" and width * height > _PIXELS_PER_BYTE * len(self.data):
            raise ImageError(self.path, f"truncated: {size} cannot be stored in {len(self.data):,} bytes")
        try:
            scans = count_scans(self.data)
        except DamagedError as error:
            raise ImageError(self.path, f"damaged: {error}") from error
        except JpegError:  # Pillow reads it or has a better message
            return
        if scans * width * height > _MAX_PIXELS_IN_SCANS:
            raise ImageError(self.path, f"{scans:,} scans of {size}; at most 16 of the largest picture are decoded")

    @contextlib.contextmanager
    def _open_by_pillow(self) -> Iterator[Image.Image]:
        with translate_image_errors(self.path):
            if self._image is not None:
                yield self._image
            else:
                with open_image(io.BytesIO(self.data)) as image:
                    yield image

    @property
    def chroma_factor(self) -> int:
        """Luma samples per chroma sample, along the axis with the larger ratio; 1 for Pillow, which upsamples."""
        return 1 if self.header is None else max(max(factors) for factors in self.header.factors)

    def planes(self, denominator: int = 1) -> list[Plane]:
        """Decodes Y, or Y, Cb, Cr at their stored resolution, and turns them upright.

        Args:
            denominator: 1, 2, 4 or 8: JPEG files are decoded at a scale of one over it, other images at full size.

        Raises:
            ImageError: As :class:`Photo`.
        """
        if denominator not in self._decoded:
            stored = self._decode_by_turbojpeg(denominator) or self._decode_by_pillow(denominator)
            planes = [upright_plane(plane, self.orientation, self.width, self.height) for plane in stored]
            self._decoded = {denominator: planes}
        return self._decoded[denominator]

    def _decode_by_turbojpeg(self, denominator: int) -> list[Plane] | None:
        """The planes; None, with ``refused`` set, if the file is left to Pillow."""
        if self.header is None:
            return None
        try:
            samples = turbojpeg.decode_planes(self.data, self.header, denominator)
        except DamagedError as error:
            raise ImageError(self.path, f"damaged: {error}") from error
        except JpegError as error:
            self.header, self.refused = None, str(error)
            return None
        factors = self.header.factors
        return [Plane(s, f * denominator, g * denominator) for s, (f, g) in zip(samples, factors, strict=True)]

    def _decode_by_pillow(self, denominator: int) -> list[Plane]:
        with self._open_by_pillow() as image:
            width, height = image.size
            drafted = None
            # A lossless file has no DCT to scale; draft() would change the caller's image.
            if self._unparsed != "lossless coding" and self._image is None:
                wanted = (max(1, width // denominator), max(1, height // denominator))
                drafted = image.draft(None if is_rgb_jpeg(image) else "YCbCr", wanted)
            span = 1 if drafted is None else round(width / drafted[1][2])
            pixels = ycbcr_samples(image)
        return [Plane(samples, span, span) for samples in np.moveaxis(np.atleast_3d(pixels), -1, 0)]


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Reads width and height of the upright image from a file's header.

    Raises:
        ImageError: As :class:`Photo`.
    """
    with open_image_file(path) as file:
        head = file.read(_HEAD)
        try:  # rejects headers that would keep Pillow busy for minutes
            if head[:2] == SOI and not reaches_scan(head):
                reaches_scan(head + file.read())
        except DamagedError as error:
            raise ImageError(path, f"damaged: {error}") from error
        file.seek(0)
        with open_image(file) as image:
            (width, height), orientation = image.size, orientation_of(image)
    _check_size(path, width, height)
    return (width, height) if orientation not in range(5, 9) else (height, width)


def _check_size(path: str | os.PathLike[str], width: int, height: int) -> None:
    if width * height > _MAX_PIXELS:
        raise ImageError(path, f"{width}×{height} pixels; at most {_MAX_PIXELS:,} are decoded")
