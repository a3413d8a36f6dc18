"""Every kind of file that Pillow opens, upright and in YCbCr; every fault in one line."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, ExifTags, Image, ImageOps

from dctnet.data.images import pillow, turbojpeg
from dctnet.data.images.photo import ImageError, Photo, choose_decoder, describe_decoder, image_size
from dctnet.data.images.planes import upright
from dctnet.errors import UserError
from tests.conftest import DECODERS
from tests.pictures import encode_jpeg, see, waves

ROWS, COLUMNS = np.mgrid[0:32, 0:48]
RGB = Image.fromarray(np.stack([5 * COLUMNS, 5 * ROWS, 0 * ROWS + 90], -1).astype(np.uint8))


pytestmark = pytest.mark.parametrize("decoder", DECODERS)


def difference(photo: Photo, expected: Image.Image) -> int:
    return int(np.abs(see(photo).astype(int) - np.asarray(expected.convert("YCbCr")).astype(int)).max())


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_what_pillow_shows_without_the_detour_over_rgb(tmp_path, decoder, subsampling, progressive):
    path = tmp_path / "a.jpg"
    RGB.save(path, quality=95, subsampling=subsampling, progressive=progressive)
    photo = Photo(path, decoder)
    assert len(photo.planes()) == 3
    assert difference(photo, Image.open(path)) <= 2


@pytest.mark.parametrize("quality", [50, 95])
def test_jpeg_stored_as_rgb(tmp_path, decoder, quality):
    path = tmp_path / "a.jpg"
    RGB.save(path, quality=quality, keep_rgb=True)
    assert difference(Photo(path, decoder), Image.open(path)) == 0


def test_grey_has_no_chroma(tmp_path, decoder):
    path = tmp_path / "a.jpg"
    RGB.convert("L").save(path)
    (luma,) = Photo(path, decoder).planes()
    assert (luma.samples == np.asarray(Image.open(path))).all()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *[("a.jp2", "RGB"), ("a.tiff", "RGB"), ("a.ppm", "RGB"), ("a.dib", "RGB")],
    ],
)
def test_other_formats_and_modes(tmp_path, decoder, name, mode):
    path = tmp_path / name
    RGB.convert(mode).save(path, **({"lossless": True} if name.endswith("webp") else {}))
    photo = Photo(path, decoder)
    assert difference(photo, Image.open(path).convert("RGB")) == 0
    assert photo.refused


def test_no_program_is_started_for_a_file(tmp_path, decoder, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # look for Ghostscript anew
    RGB.save(tmp_path / "a.jpg", "EPS")
    for read in (image_size, lambda path: Photo(path, decoder).planes()):
        with pytest.raises(ImageError, match="cannot identify"):
            read(tmp_path / "a.jpg")
    assert not (tmp_path / "started").exists()


def test_format_that_pillow_was_built_without_is_not_asked_for(tmp_path, decoder, monkeypatch):
    RGB.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"text")
    monkeypatch.delitem(Image.OPEN, "JPEG2000")
    monkeypatch.setattr(Image, "init", lambda: 1)
    monkeypatch.setattr(pillow, "_registered", pillow._registered.__wrapped__)
    assert Photo(tmp_path / "a.png", decoder).planes()
    with pytest.raises(ImageError, match="cannot identify"):
        Photo(tmp_path / "b.png", decoder)


def test_transparency_lies_over_white(tmp_path, decoder):
    image = RGB.convert("RGBA")
    image.putalpha(Image.new("L", RGB.size, 0))
    image.save(tmp_path / "a.png")
    assert (see(Photo(tmp_path / "a.png", decoder)) == [255, 128, 128]).all()


def test_palette_transparency_lies_over_white(tmp_path, decoder):
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30] * 256)
    image.save(tmp_path / "a.png", transparency=0)
    assert (Photo(tmp_path / "a.png", decoder).planes()[0].samples == 255).all()


def test_sixteen_bits_are_scaled_not_clipped(tmp_path, decoder):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(8, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    luma = Photo(tmp_path / "a.png", decoder).planes()[0].samples[0].astype(int)
    assert np.abs(luma - np.arange(256)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, decoder, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "a.jpg"
    RGB.save(path, quality=95, subsampling="4:4:4", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(path))
    photo = Photo(path, decoder)
    assert (photo.width, photo.height) == image_size(path) == expected.size
    assert difference(photo, expected) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_survives_a_mode_that_is_converted(tmp_path, decoder, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    RGB.convert("RGBA").save(tmp_path / "a.png", exif=exif)
    photo = Photo(tmp_path / "a.png", decoder)
    assert (photo.width, photo.height) == (RGB.size if orientation < 5 else RGB.size[::-1])
    assert difference(photo, ImageOps.exif_transpose(Image.open(tmp_path / "a.png")).convert("RGB")) == 0


@pytest.mark.parametrize("exif", [b"Exif\0\0rubbish", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_exif_that_cannot_be_read_turns_nothing(tmp_path, decoder, exif):
    RGB.save(tmp_path / "a.jpg", exif=exif)
    photo = Photo(tmp_path / "a.jpg", decoder)
    assert (photo.width, photo.height) == image_size(tmp_path / "a.jpg") == RGB.size


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_exif_does_not_know_turns_nothing(tmp_path, decoder, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    RGB.save(tmp_path / "a.jpg", exif=exif)
    photo = Photo(tmp_path / "a.jpg", decoder)
    assert photo.orientation == 1
    assert (photo.width, photo.height) == RGB.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_pillow_s_transposition(decoder, orientation):
    samples = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(samples)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    assert (upright(samples, orientation) == np.asarray(ImageOps.exif_transpose(image))).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_planes_cover_the_photograph_at_any_scale(tmp_path, decoder, orientation, subsampling):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    RGB.crop((0, 0, 45, 29)).save(tmp_path / "a.jpg", subsampling=subsampling, exif=exif)
    photo = Photo(tmp_path / "a.jpg", decoder)
    for denominator in (1, 2, 4, 8):
        planes = photo.planes(denominator)
        assert planes[0].across == planes[0].down == denominator
        for plane in planes:
            rows, columns = plane.samples.shape
            left, top, right, bottom = plane.locate((0, 0, photo.width, photo.height))
            # Less than a sample lies beyond the edge, and at the end of the rows and columns as stored.
            assert 0 <= left < 1 > columns - right >= 0
            assert 0 <= top < 1 > rows - bottom >= 0
            assert (left if orientation in (1, 4, 5, 8) else columns - right) == 0
            assert (top if orientation in (1, 2, 5, 6) else rows - bottom) == 0


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
def test_what_cannot_be_used_is_named_with_its_reason(faulty, decoder, name, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        Photo(faulty / name, decoder).planes()
    assert str(caught.value).startswith(str(faulty / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("side", "reason"), [(12000, "12000×12000 pixels"), (0xFFFF, "65535×65535|Bomb")])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_jpeg_that_claims_to_be_large_is_refused_before_it_is_decoded(tmp_path, decoder, side, reason):
    RGB.save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = side.to_bytes(2, "big") * 2
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ImageError, match=reason):
        Photo(tmp_path / "a.jpg", decoder)


def test_damaged_bytes_give_planes_or_an_image_error(tmp_path, decoder):
    RGB.save(tmp_path / "a.jpg", quality=60)
    whole, draw = (tmp_path / "a.jpg").read_bytes(), np.random.default_rng(0)
    reasons = []
    for _ in range(150):
        data = bytearray(whole)
        for place in draw.integers(2, len(data), 3):
            data[place] = draw.integers(256)
        (tmp_path / "b.jpg").write_bytes(data)
        try:
            photo = Photo(tmp_path / "b.jpg", decoder)
            if photo.width * photo.height < 1 << 20:  # damage to the size is for the test above
                assert photo.planes()[0].samples.shape == (photo.height, photo.width)
        except ImageError as error:
            reasons.append(str(error))
    assert 0 < len(reasons) < 150
    assert not any("\n" in reason for reason in reasons)


def test_decoder_is_the_one_asked_for_or_the_one_there_is(decoder, monkeypatch):
    assert choose_decoder(decoder) == decoder
    assert describe_decoder(decoder).startswith("Pillow " if decoder == "pillow" else "libjpeg-turbo ")
    monkeypatch.setattr(turbojpeg, "describe", lambda: "there" if decoder == "turbojpeg" else None)
    assert choose_decoder("auto") == decoder
    if decoder == "pillow":
        with pytest.raises(UserError, match="dctnet doctor"):
            choose_decoder("turbojpeg")


def test_orientation_in_xmp_alone_turns_nothing(tmp_path, decoder):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    body = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    data = encode_jpeg(waves(96, 160), "4:2:0")
    segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    (tmp_path / "a.jpg").write_bytes(data[:2] + segment + data[2:])
    photo = Photo(tmp_path / "a.jpg", decoder)
    assert (photo.width, photo.height) == image_size(tmp_path / "a.jpg") == (96, 160)


def test_more_pixels_than_bytes_can_hold_are_refused_before_they_are_decoded(tmp_path, decoder):
    data = bytearray(encode_jpeg(waves(64, 48), "4:2:0"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 8000, 16000)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ImageError, match="16000×8000 pixels cannot be stored in"):
        Photo(tmp_path / "a.jpg", decoder)


def test_the_emptiest_large_picture_is_not_refused(tmp_path, decoder):
    Image.new("L", (3000, 2000), 200).save(tmp_path / "a.jpg", quality=30, optimize=True, progressive=True)
    assert Photo(tmp_path / "a.jpg", decoder).planes(8)[0].samples.mean() == pytest.approx(200, abs=3)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("JPEG", "CMYK"), *(("PNG", m) for m in ("RGB", "L", "P", "LA", "RGBA", "I;16"))],
)
def test_large_image_is_converted_in_strips_to_the_same_samples(tmp_path, decoder, kind, mode, monkeypatch):
    deep = Image.fromarray(np.asarray(RGB.convert("L")).astype(np.uint16) * 200)
    (deep if mode == "I;16" else RGB.convert(mode)).save(tmp_path / "a", kind)
    whole = [plane.samples.copy() for plane in Photo(tmp_path / "a", decoder).planes()]
    monkeypatch.setattr(pillow, "_STRIP", 5 * RGB.width)
    strips = [plane.samples for plane in Photo(tmp_path / "a", decoder).planes()]
    assert len(strips) == len(whole)
    assert all((a == b).all() for a, b in zip(strips, whole, strict=True))
