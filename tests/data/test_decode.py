"""Every kind of file that Pillow opens, upright and in YCbCr; every fault in one line."""

import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from dctnet.data.decode import ImageError, open_planes, resize_crop

ROWS, COLUMNS = np.mgrid[0:32, 0:48]
RGB = Image.fromarray(np.stack([5 * COLUMNS, 5 * ROWS, 0 * ROWS + 90], -1).astype(np.uint8))


def difference(image: Image.Image, expected: Image.Image) -> int:
    return int(np.abs(np.asarray(image).astype(int) - np.asarray(expected.convert("YCbCr")).astype(int)).max())


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_what_pillow_shows_without_the_detour_over_rgb(tmp_path, subsampling, progressive):
    path = tmp_path / "a.jpg"
    RGB.save(path, quality=95, subsampling=subsampling, progressive=progressive)
    planes = open_planes(path)
    assert planes.mode == "YCbCr"
    assert difference(planes, Image.open(path)) <= 2


@pytest.mark.parametrize("quality", [50, 95])
def test_jpeg_stored_as_rgb(tmp_path, quality):
    path = tmp_path / "a.jpg"
    RGB.save(path, quality=quality, keep_rgb=True)
    assert difference(open_planes(path), Image.open(path)) == 0


def test_grey_has_neutral_chroma(tmp_path):
    path = tmp_path / "a.jpg"
    RGB.convert("L").save(path)
    planes = np.asarray(open_planes(path))
    assert (planes[..., 1:] == 128).all()
    assert (planes[..., 0] == np.asarray(Image.open(path))).all()


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.png", "RGB", 0),
        ("a.webp", "RGB", 0),
        ("a.gif", "P", 0),
        ("a.bmp", "1", 0),
        ("a.jpg", "CMYK", 0),
        ("a.tga", "RGB", 0),
    ],
)
def test_other_formats_and_modes(tmp_path, name, mode, tolerance):
    path = tmp_path / name
    RGB.convert(mode).save(path, **({"lossless": True} if name.endswith("webp") else {}))
    assert difference(open_planes(path), Image.open(path).convert("RGB")) <= tolerance


def test_transparency_lies_over_white(tmp_path):
    image = RGB.convert("RGBA")
    image.putalpha(Image.new("L", RGB.size, 0))
    image.save(tmp_path / "a.png")
    planes = np.asarray(open_planes(tmp_path / "a.png"))
    assert (planes == [255, 128, 128]).all()


def test_palette_transparency_lies_over_white(tmp_path):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30] * 256)
    image.save(tmp_path / "a.png", transparency=0)
    assert (np.asarray(open_planes(tmp_path / "a.png"))[..., 0] == 255).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    luma = np.asarray(open_planes(tmp_path / "a.png"))[0, :, 0].astype(int)
    assert np.abs(luma - np.arange(256)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "a.jpg"
    RGB.save(path, quality=95, subsampling="4:4:4", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(path))
    planes = open_planes(path)
    assert planes.size == expected.size
    assert difference(planes, expected) <= 2


def test_orientation_survives_a_mode_that_is_converted(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    RGB.convert("RGBA").save(tmp_path / "a.png", exif=exif)
    assert open_planes(tmp_path / "a.png").size == (RGB.height, RGB.width)


def test_exif_that_cannot_be_read_turns_nothing(tmp_path):
    RGB.save(tmp_path / "a.jpg", exif=b"Exif\x00\x00rubbish")
    assert open_planes(tmp_path / "a.jpg").size == RGB.size


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, pixels)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture
def faulty(tmp_path):
    """Files that cannot be used, by kind."""
    RGB.save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    contents = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"not an image\n" * 20,
        "bomb": png_header(65500, 65500),
        "large": png_header(12000, 12000),
        "headless": whole[100:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "float", format="TIFF")
    Image.fromarray(np.full((8, 8), 1 << 20, np.int32)).save(tmp_path / "wide", format="TIFF")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated", "truncated"),
        ("empty", "cannot identify"),
        ("text", "cannot identify"),
        ("headless", "cannot identify"),
        ("bomb", "DecompressionBomb"),
        ("large", "12000×12000 pixels"),
        ("float", "no defined white"),
        ("wide", "beyond 16 bits"),
        ("folder", "directory"),
        ("missing", "no such file"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_used_is_named_with_its_reason(faulty, name, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        open_planes(faulty / name)
    assert str(caught.value).startswith(str(faulty / name))
    assert "\n" not in str(caught.value)


def test_crop_cuts_resizes_and_flips():
    image = Image.new("YCbCr", (40, 20), (0, 128, 128))
    image.paste((200, 128, 128), (20, 0, 40, 20))
    right = resize_crop(image, (20, 0, 40, 20), 16, flip=False)
    assert right.shape == (3, 16, 16)
    assert right.dtype == np.uint8
    assert (right[0, :, 1:] == 200).all()  # the first column blends in what lies beyond the box, as resizing all would
    both = resize_crop(image, (0, 0, 40, 20), 16, flip=True)
    assert both[0, :, 0].min() == 200
    assert both[0, :, -1].max() == 0
