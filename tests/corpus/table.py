"""All kinds of files. The outcome of one that says nothing is ``read`` by every reader, as Pillow shows it."""

import os
from functools import partial
from pathlib import Path

from tests.corpus.kind import Kind
from tests.corpus.make import (
    exif,
    flat,
    many_segments,
    much_exif,
    oriented,
    patched,
    place_of,
    png_header,
    renamed,
    saved,
    scan_of,
    segment,
    several,
    share,
    sixteen_bits,
    spoilt,
    turbo,
    zeroed_tables,
)
from tests.pictures import SAMPLINGS, insert_segment

READERS = ("pillow", "turbojpeg", "coefficients")
_ALL = (*READERS, "pack")
_UNKNOWN = "cannot identify"
_NO_END = "damaged: truncated, no end-of-image marker"
_TIFF = b"Exif\0\0II*\0\x08\0\0\0"
_SMALL = {"coefficients": "hold no aligned crop of 16"}


def _seen_by_turbo(words: str) -> dict[str, str]:
    return dict.fromkeys(("turbojpeg", "coefficients", "pack"), f"damaged: {words}")


def _behind_scan(data: bytes, marker: int, body: bytes) -> bytes:
    return data[:-2] + insert_segment(b"\xff\xd8", marker, body)[2:] + data[-2:]


JPEG = {
    **{sampling: Kind(partial(turbo, sampling)) for sampling in SAMPLINGS},
    **{f"progressive {sampling}": Kind(partial(turbo, sampling, True)) for sampling in SAMPLINGS},
    **{f"orientation {n}": Kind(lambda n=n: oriented(turbo(), n)) for n in range(1, 9)},
    **{f"quality {q}": Kind(partial(saved, quality=q)) for q in (1, 100)},
    "optimised codes": Kind(partial(saved, optimize=True)),
    "restart intervals": Kind(partial(saved, restart_marker_blocks=2)),
    "extended, 8 bits": Kind(partial(flat, 96, 80, 0xC1)),
    "odd sides": Kind(partial(saved, size=(75, 53))),
    "1×80": Kind(partial(saved, size=(1, 80)), left_out=_SMALL | {"pack": "up to 16 to one"}),
    "96×1": Kind(partial(saved, size=(96, 1)), left_out=_SMALL | {"pack": "up to 16 to one"}),
    "1×1": Kind(partial(saved, size=(1, 1)), left_out=_SMALL),
    "CMYK": Kind(partial(saved, mode="CMYK"), "4 components"),
    "YCCK": Kind(lambda: patched(saved(mode="CMYK"), 0xEE, 15, b"\2"), "4 components"),
    "RGB, by Adobe's mark": Kind(partial(saved, keep_rgb=True), "stored as RGB"),
    "RGB, by its components' names": Kind(lambda: renamed(saved(subsampling="4:4:4"), b"RGB"), "stored as RGB"),
    "arithmetic coding": Kind(partial(turbo, arithmetic=True), "arithmetic coding"),
    "progressive, arithmetic coding": Kind(partial(turbo, "4:2:0", True, True), "arithmetic coding"),
    "lossless": Kind(partial(flat, 96, 80, 0xC3, unit=1), "lossless coding"),
    "12 bits": Kind(partial(flat, 96, 80, 0xC1, 12), left_out=_UNKNOWN),
    "hierarchical": Kind(lambda: patched(saved(), 0xC0, 1, b"\xc5"), left_out="broken data stream"),
    "500 scans": Kind(partial(flat, 96, 80, 0xC2, scans=500)),
    "700 scans": Kind(partial(flat, 96, 80, 0xC2, scans=700), "more than 500 scans"),
    "two files in one": Kind(lambda: saved() + saved(size=(40, 40))),
    "two pictures of a camera (MPO)": Kind(several),
    "trailing rubbish": Kind(lambda: saved() + bytes(range(256)) * 40),
    "fill bytes before the end": Kind(lambda: saved()[:-2] + bytes(20) + b"\xff\xd9", "extraneous bytes"),
    "a comment behind the scan": Kind(lambda: _behind_scan(saved(), 0xFE, b"a comment")),
    "10 MB of EXIF": Kind(partial(much_exif, 10)),
    "10 MB of ICC profile": Kind(
        lambda: many_segments(saved(), 0xE2, lambda n: b"ICC_PROFILE\0" + bytes((n + 1, 160)), 160)
    ),
    "EXIF cut within its segment": Kind(lambda: insert_segment(saved(), 0xE1, exif(6)[:-9])),
    "EXIF with another size": Kind(lambda: oriented(saved(), 1, ExifImageWidth=7, ExifImageHeight=5)),
    "EXIF with orientation 9": Kind(lambda: oriented(saved(), 9)),
    "EXIF that is rubbish": Kind(lambda: insert_segment(saved(), 0xE1, b"Exif\0\0rubbish" * 99)),
    "EXIF of 65,535 entries": Kind(
        lambda: insert_segment(saved(), 0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(99))
    ),
    "EXIF that goes round": Kind(lambda: insert_segment(saved(), 0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0")),
}

DAMAGED = {
    **{f"cut at {percent} %": Kind(lambda p=percent: share(saved(), p), left_out=_NO_END) for percent in (10, 50, 90)},
    **{
        f"progressive, cut at {percent} %": Kind(lambda p=percent: share(turbo("4:2:0", True), p), left_out=_NO_END)
        for percent in (10, 50, 90)
    },
    "no end": Kind(lambda: saved()[:-2], left_out=_NO_END),
    "cut, filled with zeros": Kind(lambda: share(saved(), 50) + bytes(5000), left_out=_NO_END),
    "cut, but ended": Kind(
        lambda: share(saved(), 50) + b"\xff\xd9",
        left_out=_seen_by_turbo("Corrupt JPEG data: premature end of data segment"), unseen=("pillow",),
    ),
    "cut, the next behind it": Kind(
        lambda: share(saved(), 50) + saved(),
        left_out=_seen_by_turbo("Corrupt JPEG data: premature end") | {"pillow": "broken data stream"},
    ),
    "header alone": Kind(lambda: saved()[: place_of(saved(), 0xDA)], left_out="cannot load this image"),
    "half a header": Kind(lambda: saved()[:100], left_out="Truncated File Read"),
    "two bytes": Kind(lambda: saved()[:2], left_out=_UNKNOWN),
    "begins later": Kind(lambda: saved()[100:], left_out=_UNKNOWN),
    "zeros within the scan, seen": Kind(
        lambda: spoilt(saved(), bytes(100)),
        left_out=_seen_by_turbo("Corrupt JPEG data: premature end"),
        unseen=("pillow",),
    ),
    "zeros within the scan, not seen": Kind(lambda: spoilt(turbo("4:4:4"), bytes(100), 0.7), unseen=_ALL),
    "stray restart marker": Kind(
        lambda: spoilt(saved(), b"\xff\xd3"), left_out=_seen_by_turbo("Corrupt JPEG data"), unseen=("pillow",)
    ),
    "a restart interval is lost": Kind(
        lambda: _lose_interval(saved(restart_marker_blocks=2)),
        left_out=_seen_by_turbo("Corrupt JPEG data"), unseen=("pillow",),
    ),
    "quantisation steps of 0": Kind(lambda: zeroed_tables(saved()), left_out="damaged: a quantisation step of 0"),
    "no quantisation table": Kind(lambda: patched(saved(), 0xC0, 12, b"\3"), left_out="broken data stream"),
    "no code table": Kind(lambda: patched(saved(), 0xDA, 6, b"\x33"), left_out="broken data stream"),
    "arithmetic mark on other codes": Kind(
        lambda: patched(saved(), 0xC0, 1, b"\xc9"), "arithmetic coding", unseen=_ALL
    ),
    "lossless mark on other codes": Kind(lambda: patched(saved(), 0xC0, 1, b"\xc3"), left_out="broken data stream"),
    "12 bits' mark on 8": Kind(lambda: patched(saved(), 0xC0, 4, b"\x0c"), left_out=_UNKNOWN),
    "no height": Kind(lambda: patched(saved(), 0xC0, 5, b"\0\0"), left_out=_UNKNOWN),
    "larger than its bytes can be": Kind(lambda: patched(saved(), 0xC0, 5, b"\x27\x10" * 2), left_out="cannot be stored in"),
}  # fmt: skip

BOMBS = {
    "65500×65500": Kind(
        lambda: patched(saved(), 0xC0, 5, b"\xff\xdc" * 2),
        left_out=dict.fromkeys(("turbojpeg", "coefficients"), "65500×65500 pixels")
        | dict.fromkeys(("pillow", "pack"), "DecompressionBomb"),
    ),
    "PNG of 65500×65500": Kind(lambda: png_header(65500, 65500), left_out="DecompressionBomb"),
    "PNG of 12000×12000": Kind(lambda: png_header(12000, 12000), left_out="12000×12000 pixels"),
    "500 scans of 4000×4000": Kind(partial(flat, 4000, 4000, 0xC2, scans=500), left_out="500 scans of 4000×4000"),
    "400 scans of 11000×11000, an end in a comment before the second": Kind(
        lambda: _end_in_comment(flat(11000, 11000, 0xC2, scans=400)), left_out="400 scans of 11000×11000"
    ),
    "20 MB of EXIF": Kind(partial(much_exif, 20), left_out="damaged: no scan in the first 16,777,216 bytes"),
    "3 MB of fill bytes": Kind(
        lambda: saved()[:2] + b"\xff" * 3_000_000 + saved()[2:], left_out="damaged: 10,000 markers"
    ),
    "a million empty segments": Kind(
        lambda: saved()[:2] + b"\xff\xe5\0\2" * 1_000_000 + saved()[2:], left_out="damaged: 10,000 markers"
    ),
    "8 GB that are not there": Kind(lambda path: _sparse(path), left_out="bytes; at most", special=True),
}

OTHERS = {
    "PNG": Kind(partial(saved, "PNG"), "not a JPEG file"),
    "PNG of 16 bits": Kind(sixteen_bits, "not a JPEG file"),
    "PNG with transparency": Kind(partial(saved, "PNG", "RGBA"), "not a JPEG file"),
    "WebP": Kind(partial(saved, "WEBP"), "not a JPEG file"),
    "GIF": Kind(partial(saved, "GIF"), "not a JPEG file"),
    "BMP": Kind(partial(saved, "BMP"), "not a JPEG file"),
    "TIFF": Kind(partial(saved, "TIFF"), "not a JPEG file"),
    "TIFF of numbers": Kind(partial(saved, "TIFF", "F"), left_out="no defined white"),
    "EPS": Kind(partial(saved, "EPS"), left_out=_UNKNOWN),
    "cut PNG": Kind(lambda: saved("PNG")[:2000], left_out="truncated"),
    "empty": Kind(bytes, left_out=_UNKNOWN),
    "text": Kind(lambda: b"<html>404 Not Found</html>\n" * 40, left_out=_UNKNOWN),
    "zeros": Kind(lambda: bytes(5000), left_out=_UNKNOWN),
    "a name of two lines": Kind(lambda: saved()[:-2], left_out=_NO_END, ending="\n.jpg"),
    "a name that is not UTF-8": Kind(saved, ending="\udcff.jpg"),
    "a name that is not UTF-8, cut": Kind(lambda: saved()[:-2], left_out=_NO_END, ending="\udcff.jpg"),
    "a name in capitals": Kind(saved, ending=".JPEG"),
    "a name without an ending": Kind(saved, ending=""),
    "a folder": Kind(os.mkdir, left_out=dict.fromkeys(READERS, "directory") | {"pack": "not listed"}, special=True),
    "a link to nothing": Kind(lambda path: path.symlink_to("nothing"), left_out="no such file", special=True),
    "a link to itself": Kind(lambda path: path.symlink_to(path.name), left_out="symbolic links", special=True),
    "a link to a picture": Kind(lambda path: _link(path), special=True),
    "a pipe": Kind(os.mkfifo, left_out="a pipe, socket or device", special=True),
    "a device": Kind(lambda path: path.symlink_to("/dev/zero"), left_out="a pipe, socket or device", special=True),
    "not to be read": Kind(lambda path: _forbidden(path), left_out="Permission denied", special=True),
}

KINDS = JPEG | DAMAGED | BOMBS | OTHERS


def _end_in_comment(data: bytes) -> bytes:
    second = data.index(b"\xff\xda", scan_of(data))
    return data[:second] + segment(0xFE, b"\xff\xd9") + data[second:]


def _lose_interval(data: bytes) -> bytes:
    first = data.index(b"\xff\xd2", scan_of(data))
    return data[:first] + data[data.index(b"\xff\xd3", first) :]


def _sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(8_000_000_000)


def _link(path: Path) -> None:
    path.with_name(f".{path.name}").write_bytes(saved())
    path.symlink_to(f".{path.name}")


def _forbidden(path: Path) -> None:
    path.write_bytes(saved())
    path.chmod(0)
