"""JPEG files without decoding: markers, size, sampling, quantisation tables and EXIF orientation.

The work that a crafted file can cause is bounded.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from dctnet.frequency.channels import zigzag_order

SOI = b"\xff\xd8"
_EOI, _SOS, _DQT, _APP0, _APP1, _APP14 = 0xD9, 0xDA, 0xDB, 0xE0, 0xE1, 0xEE
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_OTHER_FRAMES = {0xC3: "lossless", **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical")}
_OTHER_FRAMES |= dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic")
_WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xD8)}
# The markers that end a scan. 0xFF 0x00 is a sample, a scan continues after a restart marker, and libjpeg skips markers
# below 0xC0.
_ENDS_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
# No encoder writes so many markers, or so much before the first scan. Pillow needs minutes for such files: it joins
# EXIF segments one by one and copies all previous ones each time.
_MAX_MARKERS, _MAX_HEADER = 10_000, 1 << 24
_ZIGZAG = zigzag_order()


class JpegError(ValueError):
    """Not a JPEG file that dctnet parses; the message is the reason. Other decoders may be able to read it."""


class DamagedError(JpegError):
    """A damaged JPEG file, of which decoders would show something else; the message is the reason."""


@dataclass(frozen=True)
class Component:
    """One component of a frame: sampling factors and quantisation table, 64 steps in row-major order."""

    horizontal: int
    vertical: int
    table: np.ndarray


@dataclass(frozen=True)
class JpegHeader:
    """The header of a JPEG file with Y, or Y, Cb, Cr, of 8 bits; ``width`` and ``height`` as stored.

    ``orientation`` is the EXIF orientation; 1 without a readable one.
    """

    width: int
    height: int
    components: tuple[Component, ...]
    orientation: int

    @property
    def factors(self) -> list[tuple[int, int]]:
        """Width and height of a sample of each component, in luma samples."""
        luma = self.components[0]
        return [(luma.horizontal // c.horizontal, luma.vertical // c.vertical) for c in self.components]

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """Rows and columns of 8×8 blocks of each component, including those cut by the edge."""
        # T.81, A.1.1: a component has ceil(size / factor) samples.
        return [(-(-self.height // (8 * down)), -(-self.width // (8 * across))) for across, down in self.factors]


def read_header(data: bytes) -> JpegHeader:
    """Parses a JPEG file up to its first scan.

    Args:
        data: The file, or at least its header.

    Raises:
        DamagedError: A quantisation step is 0, or there are over 10,000 markers, or 17 MB, before the first scan.
        JpegError: Not a JPEG file, truncated, or not Y or YCbCr of 8 bits in Huffman-coded DCT; or sampling factors
            of which luma is not a multiple, or that differ between Cb and Cr. Has the reason.

    Source: ITU-T T.81 (1992), annex B; T.871 (JFIF); T.872, 6.5.3 (Adobe's marker).
    """
    if data[:2] != SOI:
        raise JpegError("not a JPEG file")
    try:
        return _parse(data)
    except (struct.error, IndexError) as error:
        raise JpegError("the header is cut short") from error


def _parse(data: bytes) -> JpegHeader:
    tables: dict[int, np.ndarray] = {}
    exif, frame, adobe, jfif = b"", None, None, False
    for marker, body, _ in _segments(data):
        if marker == _DQT:
            tables |= _parse_tables(body)
        elif marker in _FRAMES:
            frame = body
        elif marker in _OTHER_FRAMES:
            raise JpegError(f"{_OTHER_FRAMES[marker]} coding")
        elif marker == _APP1 and body[:6] == b"Exif\0\0":
            exif += body[6:] if exif else body  # EXIF data too long for one segment continue in the next
        elif marker == _APP14 and body[:5] == b"Adobe":
            adobe = body[11]
        elif marker == _APP0 and body[:5] == b"JFIF\0":
            jfif = True
    if frame is None:
        raise JpegError("a scan without a frame")
    bits, height, width, count = struct.unpack_from(">BHHB", frame)
    if bits != 8:
        raise JpegError(f"{bits} bits per sample")
    if not height or not width:
        raise JpegError(f"{width}×{height} samples")
    if count not in (1, 3):
        raise JpegError(f"{count} components")
    specs = [frame[place : place + 3] for place in range(6, 6 + 3 * count, 3)]
    # libjpeg's rule: JFIF means YCbCr; otherwise Adobe's marker decides; otherwise the identifiers of the components.
    if count == 3 and not jfif and (adobe == 0 or (adobe is None and b"".join(s[:1] for s in specs) == b"RGB")):
        raise JpegError("stored as RGB")
    components = tuple(_parse_component(spec[1], tables.get(spec[2])) for spec in specs)
    if count == 1:  # not interleaved, so its factors are ignored (T.81, A.2.2)
        components = (Component(1, 1, components[0].table),)
    _check_factors(components)
    return JpegHeader(width, height, components, read_orientation(exif))


def _parse_component(sampling: int, table: np.ndarray | None) -> Component:
    horizontal, vertical = sampling >> 4, sampling & 15
    if not (1 <= horizontal <= 4 and 1 <= vertical <= 4):
        raise JpegError(f"sampling factors {horizontal}×{vertical}")
    if table is None:
        raise JpegError("a quantisation table is missing")
    return Component(horizontal, vertical, table)


def _check_factors(components: tuple[Component, ...]) -> None:
    luma, *chroma = components
    whole = all(luma.horizontal % c.horizontal == luma.vertical % c.vertical == 0 for c in chroma)
    if not whole or len({(c.horizontal, c.vertical) for c in chroma}) > 1:
        factors = ", ".join(f"{c.horizontal}×{c.vertical}" for c in components)
        raise JpegError(f"unsupported sampling factors {factors}")


def _parse_tables(body: bytes) -> dict[int, np.ndarray]:
    """Quantisation tables of one segment, by identifier."""
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
    """The EXIF orientation in the content of an APP1 segment; 1 if it is absent or unreadable."""
    try:
        exif = Image.Exif()
        exif.load(body)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # viewers ignore broken EXIF data
        return 1


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yields marker, content and end offset of each segment, up to and including the header of the first scan.

    Raises struct.error or IndexError if the data end within a segment header.
    """
    place = 2
    for _ in range(_MAX_MARKERS):
        place = data.find(b"\xff", place) + 1
        if place > _MAX_HEADER:
            raise DamagedError(f"no scan in the first {_MAX_HEADER:,} bytes")
        if not place:
            raise JpegError("no scan in it")
        marker = data[place]
        if marker == 0xFF:  # T.81, B.1.1.2: fill bytes may precede any marker
            continue
        place += 1
        if marker in _WITHOUT_LENGTH:
            continue
        if marker in (_EOI, SOI[1]):
            raise JpegError("no scan in it")
        (length,) = struct.unpack_from(">H", data, place)
        yield marker, data[place + 2 : place + length], place + length
        if marker == _SOS:
            return
        place += length
    raise DamagedError(f"{_MAX_MARKERS:,} markers and no scan")


def count_scans(data: bytes) -> int:
    """Counts the scans of a JPEG file, up to its end-of-image marker.

    Bytes within segments do not count, nor does anything after the end.

    Raises:
        DamagedError: There is no end-of-image marker (a truncated file, possibly padded), or there are over 10,000
            markers.
        JpegError: There is no scan, or the header is truncated.
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
        # Skips the segment, whose content may contain the bytes of a marker.
        start = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise DamagedError(f"{_MAX_MARKERS:,} markers after the first scan and no end")


def reaches_scan(data: bytes) -> bool:
    """Whether the first bytes of a JPEG file include the header of the first scan.

    Raises:
        DamagedError: There are over 10,000 markers, or 17 MB, before the first scan.
    """
    try:
        return any(marker == _SOS for marker, _, _ in _segments(data))
    except DamagedError:
        raise
    except (struct.error, IndexError, JpegError):
        return False
