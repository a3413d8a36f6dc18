"""One image file to YCbCr planes, upright and no larger than needed, or one sentence that says why not."""

import io
import os
from typing import Literal, NamedTuple

import numpy as np

from dctnet.data.images import turbojpeg
from dctnet.data.images.files import ImageError, open_file, translate_image_errors
from dctnet.data.images.header import DamagedError, JpegError, JpegHeader, count_scans, reaches_scan, read_header
from dctnet.data.images.pillow import is_rgb_jpeg, open_image, orientation_of, ycbcr_samples
from dctnet.errors import UserError

# 134 megapixels: more than any camera's single shot, 400 MB as planes. Pillow itself only warns from 89 to 179.
MAX_PIXELS = 1 << 27
# Huffman coding spends at least one bit on the DC coefficient of each 8×8 block.
PIXELS_A_BYTE = 8 * 64
# Every scan of a progressive file goes over all blocks, and may do so with a few bytes. This is the largest picture in
# 16 scans, six more than what encoders write.
MAX_PIXELS_IN_SCANS = 16 * MAX_PIXELS
_HEAD = 1 << 16  # most headers are shorter
Box = tuple[float, float, float, float]
Decoder = Literal["turbojpeg", "pillow"]
# EXIF orientations whose upright image has the rows, or the columns, the other way round (after the transposition that
# those from 5 on have as well).
MIRRORED_ROWS, MIRRORED_COLUMNS = (3, 4, 7, 8), (2, 3, 6, 7)


class Plane(NamedTuple):
    """One component of an image.

    Args:
        samples: (rows, columns), 0 … 255, uint8.
        across: How many pixels of the image a sample spans.
        down: The same, vertically.
        left: Where the first sample begins, in pixels of the image. Sizes are rounded up, so the last sample may reach
            beyond the edge; in a mirrored image that is the first, and this is negative.
        top: The same, vertically.
    """

    samples: np.ndarray
    across: int
    down: int
    left: int = 0
    top: int = 0

    def locate(self, box: Box) -> Box:
        """A box in pixels of the image, in samples of this plane."""
        (x, y), (w, h) = (self.left, self.top), (self.across, self.down)
        return (box[0] - x) / w, (box[1] - y) / h, (box[2] - x) / w, (box[3] - y) / h


def choose_decoder(asked: Literal["auto", "turbojpeg", "pillow"]) -> Decoder:
    """The decoder to use: libjpeg-turbo where its library is found, Pillow otherwise, or the one asked for.

    Raises:
        UserError: ``turbojpeg`` is asked for and its library is not there.
    """
    if asked == "turbojpeg" and turbojpeg.describe() is None:
        raise UserError("--data.decoder turbojpeg: its library is not found; dctnet doctor says how to install it")
    if asked == "auto":
        return "pillow" if turbojpeg.describe() is None else "turbojpeg"
    return asked


def describe_decoder(decoder: Decoder) -> str:
    """The decoder with its version, as it is recorded."""
    import PIL

    return f"Pillow {PIL.__version__}" if decoder == "pillow" else str(turbojpeg.describe())


class Photo:
    """An image file, opened as full-range YCbCr, upright; its samples are decoded when planes are asked for.

    A JPEG goes straight to YCbCr, without the detour over RGB. Grey has no Cb and Cr, transparency lies over white, 16
    bits are scaled to 8, of an animation the first frame counts. EXIF that cannot be read turns nothing.

    What libjpeg-turbo refuses or warns of, and what is not a JPEG of Y or YCbCr, is left to Pillow; ``refused`` says
    why. Where it warns of damage within a scan the file is refused altogether: Pillow would show it without a word.

    Args:
        path: A file of a format that :func:`~dctnet.data.images.pillow.open_image` names, whatever its ending.
        decoder: For JPEG files.

    Raises:
        ImageError: Missing, no image, cut short, damaged, over 134 megapixels, scans without end, or a mode with no
            defined white; some of it only when planes are asked for.
    """

    def __init__(self, path: str | os.PathLike[str], decoder: Decoder = "pillow") -> None:
        self.path = path
        with open_file(path) as file:
            self.data = file.read()
        self.header: JpegHeader | None = None
        self.refused: str | None = None
        try:
            self.header = read_header(self.data)
            self.header.factors  # noqa: B018 - raises if there are none
        except DamagedError as error:
            raise _damaged(path, error) from error
        except JpegError as error:
            self.header, self.refused = None, str(error)
        self._huffman_coded = self.data[:2] == b"\xff\xd8" and self.refused != "arithmetic coding"
        self._lossless = self.refused == "lossless coding"  # without a DCT there is no scaling in it
        if decoder == "pillow":
            self.header, self.refused = None, "read by Pillow"
        if self.header is None:
            with translate_image_errors(self.path), open_image(io.BytesIO(self.data)) as image:
                size, orientation = image.size, orientation_of(image)
        else:
            size, orientation = (self.header.width, self.header.height), self.header.orientation
        _check_size(path, *size)
        self._check_length(*size)
        self._check_scans(*size)
        self.orientation = orientation if 1 <= orientation <= 8 else 1
        self.width, self.height = size if self.orientation < 5 else size[::-1]
        self._decoded: dict[int, list[Plane]] = {}

    def _check_length(self, width: int, height: int) -> None:
        # Otherwise a few bytes could ask for seconds of work, all of it on samples that are not there.
        if self._huffman_coded and width * height > PIXELS_A_BYTE * len(self.data):
            size = f"{width}×{height} pixels"
            raise ImageError(self.path, f"truncated: {size} cannot lie in {len(self.data):,} bytes")

    def _check_scans(self, width: int, height: int) -> None:
        if self.data[:2] != b"\xff\xd8":
            return
        try:
            scans = count_scans(self.data)
        except DamagedError as error:
            raise _damaged(self.path, error) from error
        except JpegError:  # Pillow shall say what it makes of it
            return
        if scans * width * height > MAX_PIXELS_IN_SCANS:
            raise ImageError(
                self.path, f"{scans:,} scans of {width}×{height} pixels; at most 16 of the largest picture"
            )

    @property
    def chroma_factor(self) -> int:
        """How many luma samples one of chroma spans, along the axis where it is more; 1 where Pillow decodes."""
        return 1 if self.header is None else max(max(factors) for factors in self.header.factors)

    def planes(self, denominator: int = 1) -> list[Plane]:
        """Y, or Y, Cb, Cr at their own resolution, upright; a JPEG is scaled to 1/2, 1/4 or 1/8 while it is decoded.

        Args:
            denominator: 1, 2, 4 or 8. What is no JPEG comes whole all the same.

        Raises:
            ImageError: As the class.
        """
        if denominator not in self._decoded:
            self._decoded = {denominator: [self._upright(plane) for plane in self._decode(denominator)]}
        return self._decoded[denominator]

    def _upright(self, stored: Plane) -> Plane:
        samples, turned = upright(stored.samples, self.orientation), self.orientation >= 5
        across, down = (stored.down, stored.across) if turned else (stored.across, stored.down)
        # As the class says; whatever a decoder gives beyond that is its own filling.
        columns, rows = -(-self.width // across), -(-self.height // down)
        left = self.width - columns * across if self.orientation in MIRRORED_COLUMNS else 0
        top = self.height - rows * down if self.orientation in MIRRORED_ROWS else 0
        x = samples.shape[1] - columns if self.orientation in MIRRORED_COLUMNS else 0
        y = samples.shape[0] - rows if self.orientation in MIRRORED_ROWS else 0
        return Plane(samples[y : y + rows, x : x + columns], across, down, left, top)

    def _decode(self, denominator: int) -> list[Plane]:
        if self.header is not None:
            try:
                samples = turbojpeg.decode_planes(self.data, self.header, denominator)
            except DamagedError as error:
                raise _damaged(self.path, error) from error
            except JpegError as error:
                self.header, self.refused = None, str(error)
            else:
                factors = self.header.factors
                return [Plane(s, f * denominator, g * denominator) for s, (f, g) in zip(samples, factors, strict=True)]
        with translate_image_errors(self.path), open_image(io.BytesIO(self.data)) as image:
            width, height = image.size
            wanted = (max(1, width // denominator), max(1, height // denominator))
            mode = None if is_rgb_jpeg(image) else "YCbCr"
            drafted = None if self._lossless else image.draft(mode, wanted)
            span = 1 if drafted is None else round(width / drafted[1][2])
            pixels = ycbcr_samples(image)
        return [Plane(samples, span, span) for samples in np.moveaxis(np.atleast_3d(pixels), -1, 0)]


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of an image file, upright, from its header.

    Raises:
        ImageError: As :class:`Photo`.
    """
    with open_file(path) as file:
        head = file.read(_HEAD)
        try:  # what Pillow would be at for minutes is found here
            if head[:2] == b"\xff\xd8" and not reaches_scan(head):
                reaches_scan(head + file.read())
        except DamagedError as error:
            raise _damaged(path, error) from error
        file.seek(0)
        with open_image(file) as image:
            (width, height), orientation = image.size, orientation_of(image)
    _check_size(path, width, height)
    return (width, height) if orientation not in range(5, 9) else (height, width)


def _damaged(path: str | os.PathLike[str], error: DamagedError) -> ImageError:
    return ImageError(path, f"damaged: {error}")


def _check_size(path: str | os.PathLike[str], width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(path, f"{width}×{height} pixels; at most {MAX_PIXELS:,} are decoded")


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """A view of samples as EXIF says they are to be seen.

    Args:
        samples: Rows and columns first.
        orientation: EXIF's, 1…8.

    Source: CIPA DC-008 (Exif 2.32), 4.6.4, tag 274.
    """
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in MIRRORED_ROWS:
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in MIRRORED_COLUMNS else samples
