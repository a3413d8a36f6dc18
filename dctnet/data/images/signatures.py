"""Names the format of a file that Pillow cannot identify."""

import re
from collections.abc import Collection

# First bytes of formats that Pillow reads with a plug-in or if it was built for them; Pillow's name of the format, the
# usual one, and what is needed.
_READABLE = {
    rb"....ftyp(?:hei|hev|mif1|msf1)": ("HEIF", "HEIC", "the plug-in pillow-heif"),
    rb"....ftypavi": ("AVIF", "AVIF", "libavif or the plug-in pillow-avif-plugin"),
    rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n": ("JXL", "JPEG XL", "the plug-in pillow-jxl-plugin"),
    rb"RIFF....WEBP": ("WEBP", "WebP", "libwebp"),
    rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n": ("JPEG2000", "JPEG 2000", "OpenJPEG"),
}
_OTHERS = {
    rb"....ftypcrx |FUJIFILMCCD-RAW|II(?:RO|RS|U)|MMOR|\0MRM|FOVb": "camera raw",
    rb"....(?:ftyp(?!hei|hev|mif1|msf1|avi)|moov|mdat)|\x1aE\xdf\xa3|RIFF....AVI |\0\0\x01[\xba\xb3]": "a video",
    rb"(?:II|MM)\xbc": "JPEG XR",
    rb"8BPS": "a Photoshop document",
    rb"%PDF": "PDF",
    rb"\xef?\xbb?\xbf?\s*<(?:!doctype html|html|head|body)": "HTML, perhaps the answer to a failed download",
    rb"\xef?\xbb?\xbf?\s*<(?:svg|\?xml)": "SVG or other XML",
    rb"version https://git-lfs": "a pointer of Git LFS; git lfs pull fetches the file",
    rb"\0\x05\x16\x07": "AppleDouble, metadata of macOS",
    rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd": "an archive or compressed",
}


def describe_missing(head: bytes, registered: Collection[str]) -> str | None:
    """What Pillow lacks to read a file, by its first bytes: format and package. None if it lacks nothing known.

    Args:
        head: The first bytes, at least 64 of a longer file.
        registered: Pillow's names of the formats that it can read.
    """
    # The brand mif1 is of HEIC and AVIF; the list of compatible brands tells them apart.
    if re.match(rb"....ftypm[is]f1", head, re.DOTALL) and b"avi" in head[16:64]:
        head = head[:8] + b"avif"
    for pattern, (name, usual, needed) in _READABLE.items():
        if re.match(pattern, head, re.DOTALL) and name not in registered:
            return f"{usual}, which Pillow reads only with {needed}"
    return None


def name_other(head: bytes) -> str | None:
    """Name of a format that is not read as a photograph, by its first bytes."""
    names = (name for pattern, name in _OTHERS.items() if re.match(pattern, head, re.DOTALL | re.IGNORECASE))
    return next(names, None)
