"""The header parser against libjpeg and Pillow; errors have their reason."""

import io
import itertools
import time
from functools import partial

import numpy as np
import pytest
from PIL import Image

from dctnet.data.images.header import DamagedError, JpegError, count_scans, read_header
from tests.corpus.build import patched, renamed_components, saved
from tests.pictures import SAMPLINGS, SIZES, encode_jpeg, insert_orientation, insert_segment, jpeg_file, waves

FACTORS = {
    "4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2), "4:4:0": (1, 2), "4:1:1": (4, 1), "grey": (1, 1)
}  # fmt: skip


encode = partial(saved, "JPEG", size=(45, 29))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_size_sampling_and_blocks(sampling):
    files = [(size, jpeg_file(sampling, size, mode)) for size in SIZES for mode in (False, True)]
    for (width, height), data in [*files, ((1, 1), encode_jpeg(waves(1, 1), sampling))]:
        header, (across, down) = read_header(data), FACTORS[sampling]
        assert (header.width, header.height) == (width, height)
        assert header.orientation == 1
        assert header.factors == [(1, 1), (across, down), (across, down)][: 1 if sampling == "grey" else 3]
        chroma = (-(-height // (8 * down)), -(-width // (8 * across)))
        assert header.blocks == [(-(-height // 8), -(-width // 8)), chroma, chroma][: len(header.components)]


@pytest.mark.parametrize("quality", [5, 75, 100])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_quantisation_tables_are_those_that_pillow_reads(mode, quality):
    data = encode(mode=mode, quality=quality)
    image = Image.open(io.BytesIO(data))
    expected = [image.quantization[index] for _, _, _, index in image.layer]
    assert [c.table.tolist() for c in read_header(data).components] == [list(table) for table in expected]


def test_tables_of_16_bits_and_several_in_one_segment():
    data = encode(quality=100)
    wide = b"".join(
        bytes((0x10 + name,)) + (np.arange(64) * 1000 + name + 1).astype(">u2").tobytes() for name in (0, 1)
    )
    # Later tables replace earlier ones.
    scan = data.index(b"\xff\xda")
    data = data[:scan] + insert_segment(b"\xff\xd8", 0xDB, wide)[2:] + data[scan:]
    luma, chroma, _ = (c.table for c in read_header(data).components)
    # T.81, figure A.6: the third value is that of v = 1, u = 0, the last that of v = u = 7.
    assert (luma[1], luma[8], luma[63]) == (1001, 2001, 63001)
    assert (chroma == luma + 1).all()


def test_orientation():
    for orientation in range(1, 9):
        assert read_header(insert_orientation(encode(), orientation)).orientation == orientation


def test_other_segments_and_fill_bytes_before_the_frame_are_skipped():
    data = insert_segment(insert_segment(encode(), 0xFE, b"a comment \xff\xda\xff\xc0"), 0xE7, b"\xff" * 40)
    padded = data[:2] + b"\xff" * 5 + data[2:]  # T.81, B.1.1.2: fill bytes may precede any marker
    assert read_header(padded).width == 45


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a JPEG file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "not a JPEG file"),
        (b"\xff\xd8", "no scan in it"),
        (b"\xff\xd8\xff\xd9", "no scan in it"),
        (b"\xff\xd8" + b"\0" * 40, "no scan in it"),
        (b"\xff\xd8\xff\xda\0\x02", "a scan without a frame"),
        (encode(keep_rgb=True), "stored as RGB"),
        (encode(mode="CMYK"), "4 components"),
        (patched(encode(), 0xC0, 4, b"\x0c"), "12 bits per sample"),
        (patched(encode(), 0xC0, 5, b"\0\0"), "45×0 samples"),
        (patched(encode(), 0xC0, 9, b"\x02"), "2 components"),
        (patched(encode(), 0xC0, 11, b"\x05"), "sampling factors 0×5"),
        (patched(encode(), 0xC0, 12, b"\x03"), "a quantisation table is missing"),
        (patched(encode(), 0xC0, 1, b"\xc3"), "lossless coding"),
        (patched(encode(), 0xC0, 1, b"\xc5"), "hierarchical coding"),
        (patched(encode(), 0xC0, 1, b"\xc9"), "arithmetic coding"),
        (patched(encode(progressive=True), 0xC2, 1, b"\xca"), "arithmetic coding"),
    ],
)
def test_error_of_an_unsupported_file_has_the_reason(data, reason):
    with pytest.raises(JpegError, match=reason):
        read_header(data)


@pytest.mark.parametrize(
    ("sampling", "factors"),
    [
        (b"\x11\0\x02\x21", "1×1, 2×1, 1×1"),  # Cb finer than luma
        (b"\x22\0\x02\x21", "2×2, 2×1, 1×1"),  # Cb and Cr differ
        (b"\x31\0\x02\x21", "3×1, 2×1, 1×1"),  # 3 is not a multiple of 2
    ],
)
def test_error_of_unsupported_sampling_has_the_factors(sampling, factors):
    with pytest.raises(JpegError, match=f"unsupported sampling factors {factors}"):
        read_header(patched(encode(), 0xC0, 11, sampling))


# libjpeg's rule: JFIF means YCbCr; otherwise Adobe's marker decides; otherwise components named R, G and B.
@pytest.mark.parametrize(
    ("jfif", "adobe", "names", "is_rgb"),
    [
        (True, None, b"\1\2\3", False),
        (True, 0, b"\1\2\3", False),
        (True, None, b"RGB", False),
        (False, None, b"\1\2\3", False),
        (False, 0, b"\1\2\3", True),
        (False, 1, b"\1\2\3", False),
        (False, 1, b"RGB", False),
        (False, None, b"RGB", True),
    ],
)
def test_rgb_is_distinguished_from_ycbcr_as_by_libjpeg(jfif, adobe, names, is_rgb):
    data = renamed_components(encode(), names)
    if jfif:
        data = insert_segment(data, 0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if adobe is not None:
        data = insert_segment(data, 0xEE, b"Adobe\0\x64\0\0\0\0" + bytes((adobe,)))
    decoded = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    shown_as_ycbcr = np.abs(decoded - waves(45, 29)).mean() < 10
    assert shown_as_ycbcr != is_rgb
    if is_rgb:
        with pytest.raises(JpegError, match="stored as RGB"):
            read_header(data)
    else:
        assert len(read_header(data).components) == 3


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"keep_rgb": True}])
def test_header_truncated_anywhere_is_a_jpeg_error(options):
    data = insert_orientation(encode(**options), 6)
    scan = data.index(b"\xff\xda", data.index(b"\xff\xc4"))
    for length in range(scan + 2):
        with pytest.raises(JpegError):
            read_header(data[:length])


@pytest.mark.filterwarnings("ignore:.*EXIF", "ignore:Tag data", "ignore:Truncated File")
def test_damaged_headers_are_read_or_rejected():
    data, rng = insert_orientation(encode(), 3), np.random.default_rng(0)
    scan, read = data.index(b"\xff\xda"), 0
    for _ in range(500):
        damaged = bytearray(data[: scan + 20])
        for place in rng.integers(2, scan, 2):
            damaged[place] = rng.integers(256)
        try:
            read_header(bytes(damaged))
            read += 1
        except JpegError:
            pass
    assert 0 < read < 500


def test_markers_within_segments_between_scans_are_not_counted():
    data = encode(progressive=True)
    count = count_scans(data)
    assert count == data.count(b"\xff\xda") > 5
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    for length, held in itertools.product(
        [2, 3, 4, 1000, 65535], [b"\xff\xd9", b"\xff\xda\0\x08", b"\xff\xff\xda", b"\xff"]
    ):
        comment = b"\xff\xfe" + length.to_bytes(2, "big") + (held * length)[: length - 2]
        for place in (second, len(data) - 2):
            hidden = data[:place] + comment + data[place:]
            assert count_scans(hidden) == count
            assert (np.asarray(Image.open(io.BytesIO(hidden))) == np.asarray(Image.open(io.BytesIO(data)))).all()


def test_samples_restart_markers_and_fill_bytes_do_not_end_a_scan():
    data = encode(restart_marker_blocks=1)
    assert b"\xff\xd0" in data
    assert count_scans(data) == 1
    for fill in (b"\xff\0", b"\xff\xff\0", b"\xff\x01\xff\x02", b"\xff" * 1000, b"\xff\xd7\xff\xff"):
        assert count_scans(data[:-2] + fill + b"\xff\xda\0\x08" + bytes(6) + fill + data[-2:]) == 2


@pytest.mark.parametrize(
    ("behind", "message"),
    [
        (b"\xff\xfe\xff\xff", "no end"),
        (b"\xff\xfe", "no end"),
        (b"\xff", "no end"),
        (b"\xff\xfe\0\2" * 20_000, "10,000 markers after the first scan"),
        (b"\xff\xfe\0\0" * 20_000, "10,000 markers after the first scan"),
    ],
)
def test_file_without_an_end_is_damaged(behind, message):
    with pytest.raises(DamagedError, match=message):
        count_scans(encode()[:-2] + behind)


@pytest.mark.parametrize("unit", [b"\xff\0", b"\xff", b"\xff\xd0", b"\0", b"\xff\x01"])
def test_scan_of_20_mb_is_searched_quickly(unit):
    data = encode()[:-2] + unit * (20_000_000 // len(unit)) + b"\0\xff\xd9"
    started = time.process_time()
    assert count_scans(data) == 1
    assert time.process_time() - started < 2
