"""Builds the files of the corpus: encoded by Pillow, patched, or assembled from JPEG segments."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from tests.pictures import encode_jpeg, insert_segment, waves

WIDTH, HEIGHT = 96, 80
PICTURE = waves(WIDTH, HEIGHT, noise=4)


def saved(kind: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT), **options: object) -> bytes:
    """The picture encoded by Pillow."""
    file = io.BytesIO()
    image = Image.fromarray(waves(*size, noise=4)).convert(mode)
    image.save(file, kind, **({"quality": 90} | options if kind == "JPEG" else options))
    return file.getvalue()


def find_segment(data: bytes, marker: int) -> int:
    """Offset of the first segment with a marker; bytes within other segments do not count."""
    place = 2
    while data[place + 1] != marker:
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return place


def find_scan(data: bytes) -> int:
    """Offset of the entropy-coded data of the first scan."""
    place = find_segment(data, 0xDA)
    return place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")


def patched(data: bytes, marker: int, offset: int, new: bytes) -> bytes:
    """Replaces bytes at an offset from a marker."""
    place = find_segment(data, marker) + offset
    return data[:place] + new + data[place + len(new) :]


def truncated(data: bytes, percent: int) -> bytes:
    """Keeps the header and a share of the first scan."""
    start = find_scan(data)
    return data[: start + (len(data) - start) * percent // 100]


def overwritten(data: bytes, new: bytes, at: float = 0.5) -> bytes:
    """Replaces bytes within the first scan."""
    start = find_scan(data)
    place = start + int((len(data) - start) * at)
    return data[:place] + new + data[place + len(new) :]


def exif(orientation: int, **others: object) -> bytes:
    """The content of an EXIF segment with an orientation and other entries by name."""
    entries = Image.Exif()
    entries[ExifTags.Base.Orientation] = orientation
    for name, value in others.items():
        entries[ExifTags.Base[name]] = value
    return entries.tobytes()


def with_exif(data: bytes, orientation: int, **others: object) -> bytes:
    """Inserts an EXIF segment."""
    return insert_segment(data, 0xE1, exif(orientation, **others))


def large_exif(megabytes: int) -> bytes:
    """A JPEG file with EXIF data in many segments; the orientation is in the first."""
    count = (megabytes << 20) // 65535
    return many_segments(saved(), 0xE1, lambda n: b"Exif\0\0" if n else exif(6), count)


def renamed_components(data: bytes, names: bytes) -> bytes:
    """Removes the markers of JFIF and Adobe, and changes the identifiers of the components."""
    for marker in (0xE0, 0xEE):
        if bytes((0xFF, marker)) in data[: find_segment(data, 0xDB)]:
            place = find_segment(data, marker)
            data = data[:place] + data[place + 2 + int.from_bytes(data[place + 2 : place + 4], "big") :]
    for number, name in enumerate(names):
        data = patched(data, 0xC0, 10 + 3 * number, bytes((name,)))
        data = patched(data, 0xDA, 5 + 2 * number, bytes((name,)))
    return data


def segment(marker: int, body: bytes) -> bytes:
    """A marker segment."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def many_segments(data: bytes, marker: int, head: Callable[[int], bytes], count: int) -> bytes:
    """Inserts segments of 64 kB after the first marker."""
    bodies = (head(number) for number in range(count))
    return data[:2] + b"".join(segment(marker, body + bytes(65533 - len(body))) for body in bodies) + data[2:]


def uniform(
    width: int, height: int, frame: int = 0xC0, bits: int = 8, scans: int = 1, unit: int = 8, step: int = 1
) -> bytes:
    """A uniform grey JPEG file in which every Huffman code is a single 0 bit, so that scans consist of zero bytes.

    Args:
        width: In pixels.
        height: In pixels.
        frame: Frame marker: baseline C0, extended C1, progressive C2, lossless C3.
        bits: Bits per sample.
        scans: Number of scans of a progressive file; all but the first are AC scans.
        unit: Side of the square of samples that one code covers: 8; 1 in a lossless file.
        step: Quantisation step.
    """
    codes = -(-width // unit) * -(-height // unit)
    tables = segment(0xDB, b"\0" + bytes((step,)) * 64)
    # A DC difference of 0; and end of block, or in progressive files a run of 2¹⁴ ends of block.
    for name, symbol in ((0x00, 0x00), (0x10, 0xE0 if frame == 0xC2 else 0x00)):
        tables += segment(0xC4, bytes((name, 1)) + bytes(15) + bytes((symbol,)))
    frames = segment(frame, struct.pack(">BHHB", bits, height, width, 1) + b"\1\x11\0")
    spectrum = {0xC2: b"\0\0\0", 0xC3: b"\1\0\0"}.get(frame, b"\0\x3f\0")
    first = segment(0xDA, b"\1\1\0" + spectrum) + bytes(-(-codes * (2 if frame in (0xC0, 0xC1) else 1) // 8))
    other = segment(0xDA, b"\1\1\0\1\x3f\0") + bytes(-(-15 * -(-codes // (1 << 14)) // 8))
    return b"\xff\xd8" + tables + frames + first + other * (scans - 1) + b"\xff\xd9"


def one_color(kind: str, side: int, **options: object) -> bytes:
    """A square of one color encoded by Pillow."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 150)).save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG file with a size and almost no pixel data."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, pixels)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def png_of_16_bits() -> bytes:
    """A PNG file with 16 bits per sample."""
    file = io.BytesIO()
    Image.fromarray(PICTURE[..., 0].astype(np.uint16) << 8).save(file, "PNG")
    return file.getvalue()


def tiff_of_32_bits() -> bytes:
    """A TIFF file of samples beyond 16 bits."""
    file = io.BytesIO()
    Image.fromarray(np.full((HEIGHT, WIDTH), 1 << 20, np.int32)).save(file, "TIFF")
    return file.getvalue()


def two_pictures() -> bytes:
    """A file of two pictures as written by cameras (MPO)."""
    file = io.BytesIO()
    other = Image.fromarray(waves(40, 40))
    Image.fromarray(PICTURE).save(file, "MPO", save_all=True, append_images=[other], quality=90)
    return file.getvalue()


def with_comment_after_the_scan(data: bytes) -> bytes:
    """Inserts a comment before the end-of-image marker."""
    return data[:-2] + segment(0xFE, b"a comment") + data[-2:]


def with_end_in_a_comment(data: bytes) -> bytes:
    """Inserts a comment that contains an end-of-image marker before the second scan."""
    second = data.index(b"\xff\xda", find_scan(data))
    return data[:second] + segment(0xFE, b"\xff\xd9") + data[second:]


def without_a_restart_interval() -> bytes:
    """A JPEG file from which the data between two restart markers are removed."""
    data = encode_jpeg(PICTURE, restart_marker_blocks=2)
    first = data.index(b"\xff\xd2", find_scan(data))
    return data[:first] + data[data.index(b"\xff\xd3", first) :]
