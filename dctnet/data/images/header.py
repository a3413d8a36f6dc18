"""The header of a JPEG file: size, sampling, quantisation tables and EXIF orientation."""

import struct
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from dctnet.data.images.markers import APP0, APP1, APP14, DQT, SOI, DamagedError, JpegError, segments
from dctnet.frequency.channels import zigzag_order

_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}
_OTHER_FRAMES = {0xC3: "lossless", **dict.fromkeys((0xC5, 0xC6, 0xC7), "hierarchical")}
_OTHER_FRAMES |= dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic")
_ZIGZAG = zigzag_order()


@dataclass(frozen=True)
class Component:
    """One component of a frame: sampling factors and quantisation table, 64 steps in row-major order."""

    horizontal: int
    vertical: int
    table: np.ndarray


@dataclass(frozen=True)
class JpegHeader:
    """The header of a JPEG file with Y, or Y, Cb, Cr, of 8 bits.

    Args:
        width: Columns of samples, as stored.
        height: Rows of samples, as stored.
        components: Sampling factors and quantisation tables.
        orientation: EXIF orientation, 1…8; 1 without a readable one.
        process: ``baseline``, ``extended`` or ``progressive``.
    """

    width: int
    height: int
    components: tuple[Component, ...]
    orientation: int
    process: str

    @property
    def factors(self) -> list[tuple[int, int]]:
        """Width and height of a sample of each component, in luma samples.

        Raises:
            JpegError: Not whole numbers, luma is not the finest component, or Cb and Cr differ.
        """
        wide = max(c.horizontal for c in self.components)
        tall = max(c.vertical for c in self.components)
        first = self.components[0]
        whole = all(wide % c.horizontal == 0 and tall % c.vertical == 0 for c in self.components)
        differ = len({(c.horizontal, c.vertical) for c in self.components[1:]}) > 1
        if not whole or differ or (first.horizontal, first.vertical) != (wide, tall):
            factors = ", ".join(f"{c.horizontal}×{c.vertical}" for c in self.components)
            raise JpegError(f"unsupported sampling factors {factors}")
        return [(wide // c.horizontal, tall // c.vertical) for c in self.components]

    def blocks(self, component: int) -> tuple[int, int]:
        """Rows and columns of 8×8 blocks of a component, including those cut by the edge."""
        # T.81, A.1.1: a component has ceil(size · its factor / largest factor) samples.
        c, tall = self.components[component], max(c.vertical for c in self.components)
        wide = max(c.horizontal for c in self.components)
        return -(-self.height * c.vertical // (8 * tall)), -(-self.width * c.horizontal // (8 * wide))


def read_header(data: bytes) -> JpegHeader:
    """Parses a JPEG file up to its first scan.

    Args:
        data: The file, or at least its header.

    Raises:
        DamagedError: A quantisation step is 0, or there are over 10,000 markers, or 17 MB, before the first scan.
        JpegError: Not a JPEG file, truncated, or not Y or YCbCr of 8 bits in Huffman-coded DCT. Has the reason.

    Source: ITU-T T.81 (1992), annex B; T.871 (JFIF); T.872, 6.5.3 (Adobe's marker).
    """
    if data[:2] != bytes((0xFF, SOI)):
        raise JpegError("not a JPEG file")
    try:
        return _parse(data)
    except (struct.error, IndexError) as error:
        raise JpegError("the header is cut short") from error


def _parse(data: bytes) -> JpegHeader:
    tables: dict[int, np.ndarray] = {}
    exif, frame, process, adobe, jfif = b"", None, "", None, False
    for marker, body, _ in segments(data):
        if marker == DQT:
            tables |= _parse_tables(body)
        elif marker in _FRAMES:
            frame, process = body, _FRAMES[marker]
        elif marker in _OTHER_FRAMES:
            raise JpegError(f"{_OTHER_FRAMES[marker]} coding")
        elif marker == APP1 and body[:6] == b"Exif\0\0":
            exif += body[6:] if exif else body  # EXIF data too long for one segment continue in the next
        elif marker == APP14 and body[:5] == b"Adobe":
            adobe = body[11]
        elif marker == APP0 and body[:5] == b"JFIF\0":
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
    components = [_parse_component(spec[1], tables.get(spec[2])) for spec in specs]
    if count == 1:  # not interleaved, so its factors are ignored (T.81, A.2.2)
        components = [Component(1, 1, components[0].table)]
    return JpegHeader(width, height, tuple(components), read_orientation(exif), process)


def _parse_component(sampling: int, table: np.ndarray | None) -> Component:
    horizontal, vertical = sampling >> 4, sampling & 15
    if not (1 <= horizontal <= 4 and 1 <= vertical <= 4):
        raise JpegError(f"sampling factors {horizontal}×{vertical}")
    if table is None:
        raise JpegError("a quantisation table is missing")
    return Component(horizontal, vertical, table)


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
    if not body:
        return 1
    try:
        exif = Image.Exif()
        exif.load(body)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # viewers ignore broken EXIF data
        return 1
