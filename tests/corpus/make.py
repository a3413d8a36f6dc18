"""Files of many kinds, from Pillow, libjpeg-turbo, or by hand."""

import io
import os
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from tests.pictures import encode_jpeg, insert_segment, waves

WIDTH, HEIGHT = 96, 80
PICTURE = waves(WIDTH, HEIGHT, noise=4)
_DC_OF_NOTHING, _AC_OF_NOTHING, _AC_OF_A_RUN = 0, 0, 0xE0


def saved(kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT), **options: object) -> bytes:
    """The picture as Pillow writes it."""
    file = io.BytesIO()
    image = Image.fromarray(waves(*size, noise=4)).convert(mode)
    image.save(file, kind, **({"quality": 90} | options if kind == "JPEG" else options))
    return file.getvalue()


def turbo(sampling: str = "4:2:0", progressive: bool = False, arithmetic: bool = False) -> bytes:
    """The picture as libjpeg-turbo writes it."""
    before = os.environ.pop("TJ_ARITHMETIC", None)
    try:
        os.environ |= {"TJ_ARITHMETIC": "1"} if arithmetic else {}  # the library has no other switch for it
        return encode_jpeg(PICTURE, sampling, progressive=progressive)
    finally:
        os.environ.pop("TJ_ARITHMETIC", None)
        os.environ |= {} if before is None else {"TJ_ARITHMETIC": before}


def place_of(data: bytes, marker: int) -> int:
    """Where a marker's segment begins; those within other segments' content do not count."""
    place = 2
    while data[place + 1] != marker:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place


def patched(data: bytes, marker: int, offset: int, new: bytes) -> bytes:
    """The same with other bytes at an offset from a marker."""
    place = place_of(data, marker) + offset
    return data[:place] + new + data[place + len(new) :]


def scan_of(data: bytes) -> int:
    """Where the first scan's samples begin."""
    place = place_of(data, 0xDA)
    return place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")


def share(data: bytes, percent: int) -> bytes:
    """The first part of the scan, with all that precedes it."""
    start = scan_of(data)
    return data[: start + (len(data) - start) * percent // 100]


def spoilt(data: bytes, new: bytes, at: float = 0.5) -> bytes:
    """The same with other bytes within its scan."""
    start = scan_of(data)
    place = start + int((len(data) - start) * at)
    return data[:place] + new + data[place + len(new) :]


def exif(orientation: int, **others: object) -> bytes:
    """A segment's content, of which other entries may be given by name."""
    entries = Image.Exif()
    entries[ExifTags.Base.Orientation] = orientation
    for name, value in others.items():
        entries[ExifTags.Base[name]] = value
    return entries.tobytes()


def oriented(data: bytes, orientation: int, **others: object) -> bytes:
    """The same with EXIF in front."""
    return insert_segment(data, 0xE1, exif(orientation, **others))


def much_exif(megabytes: int) -> bytes:
    """EXIF that goes on over many segments; its orientation stands in the first."""
    count = (megabytes << 20) // 65535
    return many_segments(saved(), 0xE1, lambda n: b"Exif\0\0" if n else exif(6), count)


def renamed(data: bytes, names: bytes) -> bytes:
    """The same without marks of JFIF and Adobe, its components named otherwise."""
    for marker in (0xE0, 0xEE):
        if bytes((0xFF, marker)) in data[: place_of(data, 0xDB)]:
            place = place_of(data, marker)
            data = data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]
    for number, name in enumerate(names):
        data = patched(data, 0xC0, 10 + 3 * number, bytes((name,)))
        data = patched(data, 0xDA, 5 + 2 * number, bytes((name,)))
    return data


def segment(marker: int, body: bytes) -> bytes:
    """A marker, the length, the content."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def flat(
    width: int, height: int, frame: int = 0xC0, bits: int = 8, scans: int = 1, unit: int = 8, step: int = 1
) -> bytes:
    """A grey JPEG file by hand, of one tone: each code is a single 0 bit, so each scan consists of zeros.

    Args:
        width: In pixels.
        height: The same, vertically.
        frame: The marker of the frame: baseline C0, extended C1, progressive C2, lossless C3.
        bits: A sample.
        scans: Of a progressive file, all AC scans but for the first.
        unit: Side of what one code stands for: 8, of a lossless file 1.
        step: Of the quantisation table.
    """
    codes = -(-width // unit) * -(-height // unit)
    tables = segment(0xDB, b"\0" + bytes((step,)) * 64)
    ac = _AC_OF_A_RUN if frame == 0xC2 else _AC_OF_NOTHING
    for name, symbol in ((0x00, _DC_OF_NOTHING), (0x10, ac)):
        tables += segment(0xC4, bytes((name, 1)) + bytes(15) + bytes((symbol,)))
    frames = segment(frame, struct.pack(">BHHB", bits, height, width, 1) + b"\1\x11\0")
    spectrum = {0xC2: b"\0\0\0", 0xC3: b"\1\0\0"}.get(frame, b"\0\x3f\0")
    content = segment(0xDA, b"\1\1\0" + spectrum) + bytes(-(-codes * (2 if frame in (0xC0, 0xC1) else 1) // 8))
    run = segment(0xDA, b"\1\1\0\1\x3f\0") + bytes(-(-15 * -(-codes // (1 << 14)) // 8))
    return b"\xff\xd8" + tables + frames + content + run * (scans - 1) + b"\xff\xd9"


def many_segments(data: bytes, marker: int, head: Callable[[int], bytes], count: int) -> bytes:
    """The same with segments of 64 kB behind its first marker."""
    bodies = (head(number) for number in range(count))
    return data[:2] + b"".join(segment(marker, body + bytes(65533 - len(body))) for body in bodies) + data[2:]


def plain(kind: str, side: int, **options: object) -> bytes:
    """A square of one colour as Pillow writes it."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 150)).save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, pixels)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def sixteen_bits() -> bytes:
    """A PNG of 16 bits a sample."""
    file = io.BytesIO()
    Image.fromarray(PICTURE[..., 0].astype(np.uint16) << 8).save(file, "PNG")
    return file.getvalue()


def several() -> bytes:
    """A file of two pictures as cameras write them (MPO)."""
    file = io.BytesIO()
    other = Image.fromarray(waves(40, 40))
    Image.fromarray(PICTURE).save(file, "MPO", save_all=True, append_images=[other], quality=90)
    return file.getvalue()


def zeroed_tables(data: bytes) -> bytes:
    """The same with quantisation steps of 0."""
    return patched(data, 0xDB, 5, bytes(64))
