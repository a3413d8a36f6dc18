"""What a JPEG file says of itself: markers up to the first scan."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

_SOI, _EOI, _SOS, _DQT, _APP1, _APP14 = 0xD8, 0xD9, 0xDA, 0xDB, 0xE1, 0xEE
_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}
_OTHER_FRAMES = {0xC3: "lossless", **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical")}
_OTHER_FRAMES |= dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic")
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
# What ends a scan. 0xFF before 0 is a sample, a restart goes on with it, and libjpeg passes over a marker below 0xC0.
_ENDS_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
# More of them, or of what fills the space between, is there to keep a reader busy: Pillow puts the pieces of EXIF
# together one by one, copying all that it has each time.
_MAX_MARKERS, _MAX_HEADER = 10_000, 1 << 24
# T.81, figure A.6: where the k-th value of a quantisation table belongs in row-major order.
_ZIGZAG = sorted(range(64), key=lambda f: (f // 8 + f % 8, f // 8 if (f // 8 + f % 8) % 2 else f % 8))


class JpegError(ValueError):
    """Not a JPEG file that is understood here; the message says in what. Others may still read it."""


class DamagedError(JpegError):
    """A JPEG file that is not as it was written, so that it shows something else; the message says why."""


@dataclass(frozen=True)
class Component:
    """One component of a frame: its sampling factors and its quantisation table, 64 steps row by row."""

    horizontal: int
    vertical: int
    table: np.ndarray


@dataclass(frozen=True)
class JpegHeader:
    """A JPEG file of one or three components of 8 bits, Y or Y, Cb, Cr.

    Args:
        width: Columns of samples, as stored.
        height: Rows of samples, as stored.
        components: Sampling and tables.
        orientation: EXIF's, 1…8; 1 where there is none that can be read.
        process: ``baseline``, ``extended`` or ``progressive``.
    """

    width: int
    height: int
    components: tuple[Component, ...]
    orientation: int
    process: str

    @property
    def factors(self) -> list[tuple[int, int]]:
        """For each component, how many luma samples one of its samples spans: horizontally, vertically.

        Raises:
            JpegError: Not a whole number, luma is not the finest, or Cb and Cr differ.
        """
        wide = max(c.horizontal for c in self.components)
        tall = max(c.vertical for c in self.components)
        first = self.components[0]
        whole = all(wide % c.horizontal == 0 and tall % c.vertical == 0 for c in self.components)
        unlike = len({(c.horizontal, c.vertical) for c in self.components[1:]}) > 1
        if not whole or unlike or (first.horizontal, first.vertical) != (wide, tall):
            raise JpegError(f"sampling {[(c.horizontal, c.vertical) for c in self.components]} cannot be matched")
        return [(wide // c.horizontal, tall // c.vertical) for c in self.components]

    def blocks(self, component: int) -> tuple[int, int]:
        """Rows and columns of 8×8 blocks of a component, those cut by the edge included."""
        # T.81, A.1.1: a component has ceil(size · its factor / largest factor) samples.
        c, all_ = self.components[component], self.components
        tall, wide = max(c.vertical for c in all_), max(c.horizontal for c in all_)
        return -(-self.height * c.vertical // (8 * tall)), -(-self.width * c.horizontal // (8 * wide))


def read_header(data: bytes) -> JpegHeader:
    """Reads the markers of a JPEG file up to its first scan.

    Args:
        data: The file, or as much of it as holds the header.

    Raises:
        DamagedError: A quantisation step of 0; thousands of markers, or 17 MB, before the first scan.
        JpegError: Not a JPEG file, cut short, or not Y or YCbCr of 8 bits by Huffman-coded DCT. Says what it is.

    Source: ITU-T T.81 (1992), annex B; T.871 (JFIF); T.872, 6.5.3 (Adobe's marker).
    """
    if data[:2] != bytes((0xFF, _SOI)):
        raise JpegError("no JPEG file")
    try:
        return _read_markers(data)
    except (struct.error, IndexError) as error:
        raise JpegError("the header is cut short") from error


def count_scans(data: bytes) -> int:
    """How many scans a JPEG file has; what follows its end, or lies within a segment, does not count.

    Raises:
        DamagedError: It has no end: cut short, if perhaps filled up with something else; or thousands of markers.
        JpegError: As :func:`read_header`, where it comes to no scan.
    """
    try:
        *_, (_, _, start) = _segments(data)
    except (struct.error, IndexError) as error:
        raise JpegError("the header is cut short") from error
    scans = 1
    for _ in range(_MAX_MARKERS):
        found = _ENDS_SCAN.search(data, start)
        if found is None:
            raise DamagedError("truncated, no end-of-image marker after the scan")
        marker = data[found.end() - 1]
        if marker == _EOI:
            return scans
        scans += marker == _SOS
        # A segment may hold what looks like an end, or like a scan.
        start = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise DamagedError(f"{_MAX_MARKERS:,} markers after the first scan and no end")


def reaches_scan(data: bytes) -> bool:
    """Whether the beginning of a JPEG file reaches to its first scan.

    Raises:
        DamagedError: Thousands of markers, or 17 MB, precede it.
    """
    try:
        return any(marker == _SOS for marker, _, _ in _segments(data))
    except (struct.error, IndexError):
        return False
    except DamagedError:
        raise
    except JpegError:
        return False


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of each segment up to the first scan's header."""
    place = 2
    for _ in range(_MAX_MARKERS):
        place = data.find(b"\xff", place) + 1
        if place > _MAX_HEADER:
            raise DamagedError(f"no scan in the first {_MAX_HEADER:,} bytes")
        if not place:
            raise JpegError("no scan in it")
        marker = data[place]
        if marker == 0xFF:  # any marker may be preceded by such
            continue
        place += 1
        if marker in _ALONE or marker == 0:
            continue
        if marker in (_EOI, _SOI):
            raise JpegError("no scan in it")
        (length,) = struct.unpack_from(">H", data, place)
        yield marker, data[place + 2 : place + length], place + length
        if marker == _SOS:
            return
        place += length
    raise DamagedError(f"{_MAX_MARKERS:,} markers and no scan")


def _read_markers(data: bytes) -> JpegHeader:
    tables: dict[int, np.ndarray] = {}
    exif: list[bytes] = []
    frame, process, adobe, jfif = None, "", None, False
    for marker, body, _ in _segments(data):
        if marker == _DQT:
            tables |= _read_tables(body)
        elif marker in _FRAMES:
            frame, process = (*struct.unpack_from(">BHHB", body), body[6:]), _FRAMES[marker]
        elif marker in _OTHER_FRAMES:
            raise JpegError(f"{_OTHER_FRAMES[marker]} coding")
        elif marker == _APP1 and body[:6] == b"Exif\0\0":
            exif.append(body[6:] if exif else body)  # what is too long for one segment goes on in the next
        elif marker == _APP14 and body[:5] == b"Adobe":
            adobe = body[11]
        jfif = jfif or (marker == 0xE0 and body[:5] == b"JFIF\0")
    if frame is None:
        raise JpegError("a scan without a frame")
    return _check_frame(frame, tables, process, read_orientation(b"".join(exif)), adobe, jfif)


def _check_frame(
    frame: tuple, tables: dict[int, np.ndarray], process: str, orientation: int, adobe: int | None, jfif: bool
) -> JpegHeader:
    bits, height, width, count, specs = frame
    if bits != 8:
        raise JpegError(f"{bits} bits a sample")
    if not height or not width:
        raise JpegError(f"{width}×{height} samples")
    if count not in (1, 3):
        raise JpegError(f"{count} components")
    ids = [specs[3 * i] for i in range(count)]
    # As libjpeg decides: JFIF is YCbCr; else Adobe's mark tells; else the names of the components.
    if count == 3 and not jfif and (adobe == 0 or (adobe is None and ids == list(b"RGB"))):
        raise JpegError("stored as RGB")
    components = []
    for i in range(count):
        sampling, table = specs[3 * i + 1], tables.get(specs[3 * i + 2])
        horizontal, vertical = sampling >> 4, sampling & 15
        if not (1 <= horizontal <= 4 and 1 <= vertical <= 4):
            raise JpegError(f"sampling factors {horizontal}×{vertical}")
        if table is None:
            raise JpegError("a quantisation table is missing")
        # A single component is never interleaved: its factors mean nothing (T.81, A.2.2).
        components.append(Component(1, 1, table) if count == 1 else Component(horizontal, vertical, table))
    return JpegHeader(width, height, tuple(components), orientation, process)


def _read_tables(body: bytes) -> dict[int, np.ndarray]:
    tables, place = {}, 0
    while place < len(body):
        wide, name = body[place] >> 4, body[place] & 15
        end = place + 1 + 64 * (1 + bool(wide))
        if end > len(body):
            raise JpegError("a quantisation table is cut short")
        table = np.empty(64, np.int32)
        table[_ZIGZAG] = np.frombuffer(body, ">u2" if wide else "u1", 64, place + 1)
        if not table.all():
            raise DamagedError("a quantisation step of 0")
        tables[name] = table
        place = end
    return tables


def read_orientation(body: bytes) -> int:
    """EXIF's orientation out of an APP1 segment's content; 1 where there is none that can be read."""
    if not body:
        return 1
    try:
        exif = Image.Exif()
        exif.load(body)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken EXIF beside sound pixels: viewers show such a file as it lies
        return 1
