"""Markers and segments of a JPEG file, with bounds on the work that a crafted file can cause."""

import re
import struct
from collections.abc import Iterator

SOI, EOI, SOS, DQT, APP0, APP1, APP14 = 0xD8, 0xD9, 0xDA, 0xDB, 0xE0, 0xE1, 0xEE
_WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xD8)}
# The markers that end a scan. 0xFF 0x00 is a sample, a scan continues after a restart marker, and libjpeg skips markers
# below 0xC0.
_ENDS_SCAN = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
# No encoder writes so many markers, or so much before the first scan. Pillow needs minutes for such files: it joins
# EXIF segments one by one and copies all previous ones each time.
_MAX_MARKERS, _MAX_HEADER = 10_000, 1 << 24


class JpegError(ValueError):
    """Not a JPEG file that dctnet parses; the message is the reason. Other decoders may be able to read it."""


class DamagedError(JpegError):
    """A damaged JPEG file, of which decoders would show something else; the message is the reason."""


def segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yields marker, content and end offset of each segment, up to and including the header of the first scan.

    Raises:
        DamagedError: There are over 10,000 markers, or 17 MB, before the first scan.
        JpegError: There is no scan.
        struct.error, IndexError: The data end within a segment header.
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
        if marker in (EOI, SOI):
            raise JpegError("no scan in it")
        (length,) = struct.unpack_from(">H", data, place)
        yield marker, data[place + 2 : place + length], place + length
        if marker == SOS:
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
        *_, (_, _, start) = segments(data)
    except (struct.error, IndexError) as error:
        raise JpegError("the header is cut short") from error
    scans = 1
    for _ in range(_MAX_MARKERS):
        found = _ENDS_SCAN.search(data, start)
        if found is None:
            raise DamagedError("truncated, no end-of-image marker after the scan")
        marker = data[found.end() - 1]
        if marker == EOI:
            return scans
        scans += marker == SOS
        # Skips the segment, whose content may contain the bytes of a marker.
        start = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise DamagedError(f"{_MAX_MARKERS:,} markers after the first scan and no end")


def reaches_scan(data: bytes) -> bool:
    """Whether the first bytes of a JPEG file include the header of the first scan.

    Raises:
        DamagedError: As :func:`segments`.
    """
    try:
        return any(marker == SOS for marker, _, _ in segments(data))
    except DamagedError:
        raise
    except (struct.error, IndexError, JpegError):
        return False
