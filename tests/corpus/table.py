"""The corpus: input files of every sort with the expected outcome for each reader.

A file is read as Pillow shows it, or by pixels where libjpeg-turbo was to decode it, or left out with a reason.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.corpus.build import (
    exif,
    find_segment,
    large_exif,
    many_segments,
    one_color,
    overwritten,
    patched,
    png_header,
    png_of_16_bits,
    renamed_components,
    saved,
    tiff_of_32_bits,
    truncated,
    two_pictures,
    uniform,
    with_comment_after_the_scan,
    with_end_in_a_comment,
    with_exif,
    without_a_restart_interval,
)
from tests.pictures import FILES, SAMPLINGS, insert_segment, jpeg_file

READERS = ("pillow", "turbojpeg", "coefficients", "pack")
TURBOJPEG_READERS = READERS[1:]


@dataclass(frozen=True)
class CorpusFile:
    """An input file and its expected outcome for each reader; without any reason every reader reads it.

    Args:
        content: Returns the bytes; or, with ``special``, creates the file at a path.
        by_pixels: Part of the reason why ``turbojpeg`` and ``coefficients`` leave the file to Pillow.
        left_out: Part of the reason why every reader rejects the file, or of each reader that does.
        undetected: Readers that return the damaged picture: only a checksum detects the damage.
        special: Whether ``content`` takes a path.
        suffix: Suffix of the file's name.
    """

    content: Callable[..., bytes | None]
    by_pixels: str = ""
    left_out: str | dict[str, str] = ""
    undetected: tuple[str, ...] = ()
    special: bool = False
    suffix: str = ".jpg"

    def expected(self, reader: str) -> str:
        """``read``, ``by pixels: REASON`` or ``left out: REASON``."""
        reason = self.left_out if isinstance(self.left_out, str) else self.left_out.get(reader, "")
        if reason:
            return f"left out: {reason}"
        return f"by pixels: {self.by_pixels}" if self.by_pixels and reader in ("turbojpeg", "coefficients") else "read"

    def write(self, path: Path) -> None:
        """Creates the file."""
        if self.special:
            self.content(path)
        else:
            path.write_bytes(self.content() or b"")


_File = CorpusFile
_UNKNOWN = "cannot identify"
_NO_END = "damaged: truncated, no end-of-image marker"
_TIFF = b"Exif\0\0II*\0\x08\0\0\0"
_SMALL = {"coefficients": "hold no aligned crop of 16"}
_THIN = _SMALL | {"pack": "at most 16:1"}


def _detected_by_turbojpeg(content: Callable[[], bytes], words: str = "", **pillow: str) -> CorpusFile:
    """A file whose damage libjpeg-turbo detects; Pillow shows it, or rejects it with a reason of its own."""
    reasons = dict.fromkeys(TURBOJPEG_READERS, f"damaged: Corrupt JPEG data{words}")
    return CorpusFile(content, left_out=reasons | pillow, undetected=() if pillow else ("pillow",))


def _committed(name: str) -> bytes:
    return (FILES / name).read_bytes()


JPEG = {
    **{sampling: _File(partial(jpeg_file, sampling)) for sampling in SAMPLINGS},
    **{f"progressive {sampling}": _File(partial(jpeg_file, sampling, progressive=True)) for sampling in SAMPLINGS},
    **{f"orientation {n}": _File(lambda n=n: jpeg_file(orientation=n)) for n in range(1, 9)},
    **{f"quality {q}": _File(partial(saved, quality=q)) for q in (1, 100)},
    "optimised Huffman codes": _File(partial(saved, optimize=True)),
    "restart intervals": _File(partial(saved, restart_marker_blocks=2)),
    "extended, 8 bits": _File(partial(uniform, 96, 80, 0xC1)),
    "odd sides": _File(partial(saved, size=(75, 53))),
    "1×80": _File(partial(saved, size=(1, 80)), left_out=_THIN),
    "96×1": _File(partial(saved, size=(96, 1)), left_out=_THIN),
    "1×1": _File(partial(saved, size=(1, 1)), left_out=_SMALL),
    "CMYK": _File(partial(saved, mode="CMYK"), "4 components"),
    "YCCK": _File(lambda: patched(saved(mode="CMYK"), 0xEE, 15, b"\2"), "4 components"),
    "RGB, by Adobe's marker": _File(partial(saved, keep_rgb=True), "stored as RGB"),
    "RGB, by its components' identifiers": _File(
        lambda: renamed_components(saved(subsampling="4:4:4"), b"RGB"), "stored as RGB"
    ),
    "arithmetic coding": _File(partial(_committed, "arithmetic.jpg"), "arithmetic coding"),
    "progressive, arithmetic coding": _File(partial(_committed, "arithmetic-progressive.jpg"), "arithmetic coding"),
    "lossless": _File(partial(uniform, 96, 80, 0xC3, unit=1), "lossless coding"),
    "12 bits": _File(partial(uniform, 96, 80, 0xC1, 12), left_out=_UNKNOWN),
    "hierarchical": _File(lambda: patched(saved(), 0xC0, 1, b"\xc5"), left_out="broken data stream"),
    "500 scans": _File(partial(uniform, 96, 80, 0xC2, scans=500)),
    "700 scans": _File(partial(uniform, 96, 80, 0xC2, scans=700), "more than 500 scans"),
    "two files in one": _File(lambda: saved() + saved(size=(40, 40))),
    "two pictures of a camera (MPO)": _File(two_pictures),
    "trailing bytes": _File(lambda: saved() + bytes(range(256)) * 40),
    "zeros before the end": _File(lambda: saved()[:-2] + bytes(20) + b"\xff\xd9", "extraneous bytes"),
    "a comment after the scan": _File(lambda: with_comment_after_the_scan(saved())),
    "10 MB of EXIF": _File(partial(large_exif, 10)),
    "10 MB of ICC profile": _File(
        lambda: many_segments(saved(), 0xE2, lambda n: b"ICC_PROFILE\0" + bytes((n + 1, 160)), 160)
    ),
    "truncated EXIF segment": _File(lambda: insert_segment(saved(), 0xE1, exif(6)[:-9])),
    "EXIF with another size": _File(lambda: with_exif(saved(), 1, ExifImageWidth=7, ExifImageHeight=5)),
    "EXIF with orientation 9": _File(lambda: with_exif(saved(), 9)),
    "EXIF that is not TIFF": _File(lambda: insert_segment(saved(), 0xE1, b"Exif\0\0rubbish" * 99)),
    "EXIF of 65,535 entries": _File(lambda: insert_segment(saved(), 0xE1, _TIFF + b"\xff\xff" + bytes(99))),
    "EXIF that refers to itself": _File(lambda: insert_segment(saved(), 0xE1, _TIFF + b"\0\0\x08\0\0\0")),
}

DAMAGED = {
    **{f"truncated at {p} %": _File(lambda p=p: truncated(saved(), p), left_out=_NO_END) for p in (10, 50, 90)},
    **{
        f"progressive, truncated at {p} %": _File(
            lambda p=p: truncated(jpeg_file(progressive=True), p), left_out=_NO_END
        )
        for p in (10, 50, 90)
    },
    "no end": _File(lambda: saved()[:-2], left_out=_NO_END),
    "truncated, padded with zeros": _File(lambda: truncated(saved(), 50) + bytes(5000), left_out=_NO_END),
    "truncated, with an end": _detected_by_turbojpeg(
        lambda: truncated(saved(), 50) + b"\xff\xd9", ": premature end of data segment"
    ),
    "truncated, followed by another file": _detected_by_turbojpeg(
        lambda: truncated(saved(), 50) + saved(), ": premature end", pillow="broken data stream"
    ),
    "only a header": _File(lambda: saved()[: find_segment(saved(), 0xDA)], left_out="cannot load this image"),
    "half a header": _File(lambda: saved()[:100], left_out="Truncated File Read"),
    "two bytes": _File(lambda: saved()[:2], left_out=_UNKNOWN),
    "without the first bytes": _File(lambda: saved()[100:], left_out=_UNKNOWN),
    "zeros within the scan, detected": _detected_by_turbojpeg(
        lambda: overwritten(saved(), bytes(100)), ": premature end"
    ),
    "zeros within the scan, undetected": _File(lambda: overwritten(jpeg_file(), bytes(100), 0.7), undetected=READERS),
    "stray restart marker": _detected_by_turbojpeg(lambda: overwritten(saved(), b"\xff\xd3")),
    "a restart interval is missing": _detected_by_turbojpeg(without_a_restart_interval),
    "quantisation steps of 0": _File(
        lambda: patched(saved(), 0xDB, 5, bytes(64)), left_out="damaged: a quantisation step of 0"
    ),
    "no quantisation table": _File(lambda: patched(saved(), 0xC0, 12, b"\3"), left_out="broken data stream"),
    "no Huffman table": _File(lambda: patched(saved(), 0xDA, 6, b"\x33"), left_out="broken data stream"),
    "marker of arithmetic coding on Huffman codes": _File(
        lambda: patched(saved(), 0xC0, 1, b"\xc9"), "arithmetic coding", undetected=READERS
    ),
    "lossless marker on a baseline file": _File(
        lambda: patched(saved(), 0xC0, 1, b"\xc3"), left_out="broken data stream"
    ),
    "12 bits in the header of 8-bit data": _File(lambda: patched(saved(), 0xC0, 4, b"\x0c"), left_out=_UNKNOWN),
    "no height": _File(lambda: patched(saved(), 0xC0, 5, b"\0\0"), left_out=_UNKNOWN),
    "larger than its bytes can be": _File(
        lambda: patched(saved(), 0xC0, 5, b"\x27\x10" * 2), left_out="cannot be stored in"
    ),
}

BOMBS = {
    "65500×65500": _File(
        lambda: patched(saved(), 0xC0, 5, b"\xff\xdc" * 2),
        left_out=dict.fromkeys(("turbojpeg", "coefficients"), "65500×65500 pixels")
        | dict.fromkeys(("pillow", "pack"), "DecompressionBomb"),
    ),
    "PNG of 65500×65500": _File(lambda: png_header(65500, 65500), left_out="DecompressionBomb"),
    "PNG of 12000×12000": _File(lambda: png_header(12000, 12000), left_out="12000×12000 pixels"),
    "500 scans of 4000×4000": _File(partial(uniform, 4000, 4000, 0xC2, scans=500), left_out="500 scans of 4000×4000"),
    "400 scans of 11000×11000, an end in a comment before the second": _File(
        lambda: with_end_in_a_comment(uniform(11000, 11000, 0xC2, scans=400)), left_out="400 scans of 11000×11000"
    ),
    "20 MB of EXIF": _File(partial(large_exif, 20), left_out="damaged: no scan in the first 16,777,216 bytes"),
    "3 MB of fill bytes": _File(
        lambda: saved()[:2] + b"\xff" * 3_000_000 + saved()[2:], left_out="damaged: 10,000 markers"
    ),
    "a million empty segments": _File(
        lambda: saved()[:2] + b"\xff\xe5\0\2" * 1_000_000 + saved()[2:], left_out="damaged: 10,000 markers"
    ),
    "a sparse file of 8 GB": _File(lambda path: _sparse(path), left_out="bytes; at most", special=True),
}

OTHERS = {
    "PNG": _File(partial(saved, "PNG"), "not a JPEG file"),
    "PNG of 16 bits": _File(png_of_16_bits, "not a JPEG file"),
    "PNG with transparency": _File(partial(saved, "PNG", "RGBA"), "not a JPEG file"),
    "WebP": _File(partial(saved, "WEBP"), "not a JPEG file"),
    "GIF": _File(partial(saved, "GIF"), "not a JPEG file"),
    "BMP": _File(partial(saved, "BMP"), "not a JPEG file"),
    "TIFF": _File(partial(saved, "TIFF"), "not a JPEG file"),
    "TIFF of 32 bits": _File(tiff_of_32_bits, left_out="beyond 16 bits"),
    "TIFF of floating-point samples": _File(partial(saved, "TIFF", "F"), left_out="no defined white"),
    "EPS": _File(partial(saved, "EPS"), left_out=_UNKNOWN),
    "truncated PNG": _File(lambda: saved("PNG")[:2000], left_out="truncated"),
    "empty": _File(bytes, left_out=_UNKNOWN),
    "text": _File(lambda: b"<html>404 Not Found</html>\n" * 40, left_out=_UNKNOWN),
    "zeros": _File(lambda: bytes(5000), left_out=_UNKNOWN),
    "a name of two lines": _File(lambda: saved()[:-2], left_out=_NO_END, suffix="\n.jpg"),
    "a name that is not UTF-8": _File(saved, suffix="\udcff.jpg"),
    "a name that is not UTF-8, truncated": _File(lambda: saved()[:-2], left_out=_NO_END, suffix="\udcff.jpg"),
    "a name in capitals": _File(saved, suffix=".JPEG"),
    "a name without a suffix": _File(saved, suffix=""),
    "a folder": _File(os.mkdir, left_out=dict.fromkeys(READERS, "directory") | {"pack": "not listed"}, special=True),
    "a link to nothing": _File(lambda path: path.symlink_to("nothing"), left_out="no such file", special=True),
    "a link to itself": _File(lambda path: path.symlink_to(path.name), left_out="symbolic links", special=True),
    "a link to a picture": _File(lambda path: _link(path), special=True),
    "a pipe": _File(os.mkfifo, left_out="a pipe, socket or device", special=True),
    "a device": _File(lambda path: path.symlink_to("/dev/zero"), left_out="a pipe, socket or device", special=True),
    "without read permission": _File(lambda path: _forbidden(path), left_out="Permission denied", special=True),
}

CORPUS = JPEG | DAMAGED | BOMBS | OTHERS
# The largest files that are read: their cost is measured, and has no limit.
LARGEST = {
    "128 scans of 4000×4000": _File(partial(uniform, 4000, 4000, 0xC2, scans=128)),
    "grey JPEG of 134 megapixels": _File(partial(uniform, 11585, 11585)),
    "progressive grey JPEG of 134 megapixels": _File(partial(uniform, 11585, 11585, 0xC2, scans=16)),
    "PNG of 134 megapixels": _File(partial(one_color, "PNG", 11585), "not a JPEG file"),
    "JPEG of 134 megapixels, 4:4:4": _File(partial(one_color, "JPEG", 11585, subsampling="4:4:4")),
}


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(8_000_000_000)


def _link(path: Path) -> None:
    path.with_name(f".{path.name}").write_bytes(saved())
    path.symlink_to(f".{path.name}")


def _forbidden(path: Path) -> None:
    path.write_bytes(saved())
    path.chmod(0)
