"""Writes the JPEG files in tests/corpus/files/ that Pillow cannot encode: each chroma subsampling, arithmetic coding.

    python -m tests.corpus.make_files

Run by hand, on a machine with libjpeg-turbo. The files are committed, so that tests need only Pillow.
"""

import os

import turbojpeg

from dctnet.data.images.turbojpeg import library
from tests.pictures import FILES, SAMPLINGS, SIZES, file_name, waves


def encode(size: tuple[int, int], sampling: str, progressive: bool = False) -> bytes:
    """A JPEG file of the picture with that size."""
    name = "TJSAMP_GRAY" if sampling == "grey" else f"TJSAMP_{sampling.replace(':', '')}"
    return turbojpeg.TurboJPEG(library()).encode(
        waves(*size, noise=6),
        quality=92,
        jpeg_subsample=getattr(turbojpeg, name),
        pixel_format=turbojpeg.TJPF_RGB,
        flags=turbojpeg.TJFLAG_PROGRESSIVE if progressive else 0,
    )


def main() -> None:
    """Writes all files."""
    FILES.mkdir(exist_ok=True)
    for sampling in SAMPLINGS:
        for size in SIZES:
            for progressive in (False, True):
                (FILES / file_name(sampling, size, progressive)).write_bytes(encode(size, sampling, progressive))
    os.environ["TJ_ARITHMETIC"] = "1"  # the only switch that the library has for it
    (FILES / "arithmetic.jpg").write_bytes(encode(SIZES[0], "4:2:0"))
    (FILES / "arithmetic-progressive.jpg").write_bytes(encode(SIZES[0], "4:2:0", True))


if __name__ == "__main__":
    main()
