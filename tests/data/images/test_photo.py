"""Images of all formats and sources, upright and in YCbCr; every error in one line with its reason."""

import io
import itertools
import os
import sys

import numpy as np
import pytest
from PIL import EpsImagePlugin, ExifTags, Image, ImageOps

from dctnet.data.images import pillow, turbojpeg
from dctnet.data.images.files import ImageError
from dctnet.data.images.photo import Photo, choose_decoder, describe_decoder, image_size
from dctnet.data.images.planes import upright
from dctnet.errors import UserError
from tests.conftest import DECODERS
from tests.pictures import SAMPLINGS, encode_jpeg, insert_segment, see, waves

ROWS, COLUMNS = np.mgrid[0:32, 0:48]
RGB = Image.fromarray(np.stack([5 * COLUMNS, 5 * ROWS, 0 * ROWS + 90], -1).astype(np.uint8))
each_decoder = pytest.mark.parametrize("decoder", DECODERS)


def save(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    entries = Image.Exif()
    entries[ExifTags.Base.Orientation] = orientation
    return entries


def difference(photo: Photo, expected: Image.Image) -> int:
    return int(np.abs(see(photo).astype(int) - np.asarray(expected.convert("YCbCr")).astype(int)).max())


@each_decoder
def test_jpeg_stored_as_rgb_is_as_pillow_shows_it(decoder):
    data = save(RGB, "JPEG", quality=50, keep_rgb=True)
    assert difference(Photo(data, decoder), Image.open(io.BytesIO(data))) == 0


@each_decoder
def test_grey_has_no_chroma(decoder):
    data = save(RGB.convert("L"), "JPEG")
    (luma,) = Photo(data, decoder).planes()
    assert (luma.samples == np.asarray(Image.open(io.BytesIO(data)))).all()


@pytest.mark.parametrize("kind", ["JPEG2000", "TIFF", "PPM", "DIB", "PNG", "WEBP"])
def test_lossless_formats_are_read_exactly(kind):
    data = save(RGB, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert difference(Photo(data), RGB) == 0


@each_decoder
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_path_bytes_and_open_image_are_the_same_photograph(tmp_path, decoder, kind):
    data = save(RGB, kind, exif=exif(6))
    (tmp_path / "a").write_bytes(data)
    from_path, from_bytes = Photo(tmp_path / "a", decoder), Photo(data, decoder)
    from_text, from_image = Photo(str(tmp_path / "a"), decoder), Photo(Image.open(tmp_path / "a"), decoder)
    assert (from_path.width, from_path.height) == (32, 48)
    for other in (from_bytes, from_text, from_image):
        assert (other.width, other.height, other.orientation) == (32, 48, 6)
        for denominator in (1, 2):
            for ours, theirs in zip(other.planes(denominator), from_path.planes(denominator), strict=True):
                if other is not from_image:
                    assert (ours.samples == theirs.samples).all()
        # Pillow decodes a JPEG file to RGB, which rounds once more.
        assert np.abs(see(other).astype(int) - see(from_path)).max() <= (2 if kind == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "I;16"])
def test_open_images_of_any_mode_are_upright_and_left_unchanged(mode):
    if mode.startswith("I"):
        image = Image.fromarray(np.asarray(RGB.convert("L")).astype(np.uint16) * 257).convert(mode)
        shown = RGB.convert("L")
    else:
        image = RGB.convert(mode)
        shown = image.convert("RGB")
    before = image.tobytes()
    image.getexif()[ExifTags.Base.Orientation] = 8
    shown.getexif()[ExifTags.Base.Orientation] = 8
    photo = Photo(image, "turbojpeg")
    assert (photo.width, photo.height) == (32, 48)
    assert difference(photo, ImageOps.exif_transpose(shown)) <= 1
    assert photo.refused
    assert (image.mode, image.size, image.tobytes()) == (mode, RGB.size, before)


def test_open_image_can_be_read_again_and_is_not_closed(tmp_path):
    (tmp_path / "a.jpg").write_bytes(save(RGB, "JPEG"))
    image = Image.open(tmp_path / "a.jpg")
    first, second = Photo(image), Photo(image)
    assert (see(first) == see(second)).all()
    assert (image.mode, image.size) == ("RGB", RGB.size)
    assert np.asarray(image).shape == (32, 48, 3)


def test_no_program_is_started_for_a_file(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch '{tmp_path}/started'\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # makes Pillow search for Ghostscript again
    RGB.save(tmp_path / "a.jpg", "EPS")
    for read in (image_size, lambda path: Photo(path).planes()):
        with pytest.raises(ImageError, match="cannot identify"):
            read(tmp_path / "a.jpg")
    assert not (tmp_path / "started").exists()


def test_format_missing_from_pillow_is_not_tried(monkeypatch):
    monkeypatch.delitem(Image.OPEN, "JPEG2000")
    monkeypatch.setattr(Image, "init", lambda: 1)
    monkeypatch.setattr(pillow, "_registered", pillow._registered.__wrapped__)
    assert Photo(save(RGB, "PNG")).planes()
    with pytest.raises(ImageError, match="cannot identify"):
        Photo(b"text")


_BRANDS = {b"heic": "HEIC", b"mif1....heic": "HEIC", b"avif": "AVIF", b"mif1\0\0\0\0avifmif1": "AVIF"}
FOREIGN = {
    **{b"\0\0\0\x18ftyp" + brand: f"{name}, which Pillow reads only with" for brand, name in _BRANDS.items()},
    b"\xff\x0a": "JPEG XL, which Pillow reads only with the plug-in pillow-jxl-plugin",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"RIFF1234WEBPVP8 ": "WebP",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\0\0\0\x18ftypisom": "a video",
    b"\0\0\0\x18ftypcrx ": "camera raw",
    b"%PDF-1.7": "PDF",
    b"\n<!DOCTYPE html>": "HTML",
    b"version https://git-lfs.github.com/spec/v1\n": "Git LFS",
    b"PK\3\4": "an archive",
}


@pytest.mark.parametrize("head", FOREIGN)
def test_a_format_that_pillow_lacks_is_named_with_its_plug_in(monkeypatch, tmp_path, head):
    for name in ("AVIF", "HEIF", "JPEG2000", "JXL", "WEBP"):
        monkeypatch.delitem(Image.OPEN, name, raising=False)
    monkeypatch.setattr(Image, "init", lambda: 1)
    monkeypatch.setattr(pillow, "_PLUGINS", {})
    monkeypatch.setattr(pillow, "_registered", pillow._registered.__wrapped__)
    (tmp_path / "a.jpg").write_bytes(head + bytes(500))
    for read in (image_size, Photo):
        with pytest.raises(ImageError) as caught:
            read(tmp_path / "a.jpg")
        assert FOREIGN[head] in caught.value.reason
        assert "Error" not in caught.value.reason


def test_an_installed_plug_in_is_used(monkeypatch, tmp_path):
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.setattr(pillow, "_registered", pillow._registered.__wrapped__)
    # A plug-in that reads a PNG file behind the signature of HEIC.
    (tmp_path / "pillow_heif.py").write_text("""
from io import BytesIO
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

def register_heif_opener():
    is_heic = lambda head: head[4:12] == b"ftypheic"
    Image.register_open("HEIF", lambda file, name: PngImageFile(BytesIO(file.read()[16:])), is_heic)
""")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pillow_heif", raising=False)
    monkeypatch.setattr(pillow, "_FORMATS", ("HEIF",))
    data = b"\0\0\0\x10ftypheic\0\0\0\0" + save(RGB, "PNG")
    assert Photo(data).width == RGB.width
    monkeypatch.delitem(Image.OPEN, "HEIF")
    Image.ID.remove("HEIF")


def test_transparency_is_composited_over_white():
    image = RGB.convert("RGBA")
    image.putalpha(Image.new("L", RGB.size, 0))
    assert (see(Photo(save(image, "PNG"))) == [255, 128, 128]).all()
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([10, 20, 30] * 256)
    assert (Photo(save(palette, "PNG", transparency=0)).planes()[0].samples == 255).all()


def test_16_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(8, 0)
    luma = Photo(save(Image.fromarray(ramp), "PNG")).planes()[0].samples[0].astype(int)
    assert np.abs(luma - np.arange(256)).max() <= 1


@each_decoder
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, decoder, orientation):
    for kind, mode, tolerance in (("JPEG", "RGB", 2), ("PNG", "RGBA", 0)):
        options = {"quality": 95, "subsampling": "4:4:4"} if kind == "JPEG" else {}
        RGB.convert(mode).save(tmp_path / "a", kind, exif=exif(orientation), **options)
        expected = ImageOps.exif_transpose(Image.open(tmp_path / "a"))
        photo = Photo(tmp_path / "a", decoder)
        assert (photo.width, photo.height) == image_size(tmp_path / "a") == expected.size
        assert difference(photo, expected.convert("RGB")) <= tolerance


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@each_decoder
@pytest.mark.parametrize(
    "body",
    [
        b"Exif\0\0rubbish",
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        *(exif(undefined).tobytes() for undefined in (0, 9, 65535)),
        b"http://ns.adobe.com/xap/1.0/\0" + XMP,
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_orientation_that_is_unreadable_undefined_or_in_xmp_is_ignored(tmp_path, decoder, body):
    (tmp_path / "a.jpg").write_bytes(insert_segment(save(RGB, "JPEG"), 0xE1, body))
    photo = Photo(tmp_path / "a.jpg", decoder)
    assert photo.orientation == 1
    assert (photo.width, photo.height) == image_size(tmp_path / "a.jpg") == RGB.size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_equals_pillow_s_transposition(orientation):
    samples = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(samples)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    assert (upright(samples, orientation) == np.asarray(ImageOps.exif_transpose(image))).all()


@each_decoder
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("size", [(45, 29), (1, 1), (9, 200)])
def test_planes_cover_the_photograph_at_any_scale(decoder, sampling, size):
    for orientation, denominator in itertools.product(range(1, 9), (1, 2, 4, 8)):
        photo = Photo(encode_jpeg(waves(*size), sampling, orientation), decoder)
        planes = photo.planes(denominator)
        if size != (1, 1):  # which Pillow does not scale
            assert planes[0].across == planes[0].down == denominator
        for plane in planes:
            rows, columns = plane.samples.shape
            left, top, right, bottom = plane.locate((0, 0, photo.width, photo.height))
            # Less than a sample is beyond the edge, at the end of the stored rows and columns.
            assert 0 <= left < 1 > columns - right >= 0
            assert 0 <= top < 1 > rows - bottom >= 0
            assert (left if orientation in (1, 4, 5, 8) else columns - right) == 0
            assert (top if orientation in (1, 2, 5, 6) else rows - bottom) == 0


# tests/corpus/table.py has the reasons.
@each_decoder
def test_error_starts_with_the_path_or_bytes_or_image(tmp_path, decoder):
    path, png = tmp_path / "a", save(RGB, "PNG")
    for data, reason in ((png[: len(png) // 2], "truncated"), (save(Image.new("F", (8, 8)), "TIFF"), "no defined")):
        path.write_bytes(data)
        for source, name in ((path, path), (data, "<bytes>"), (Image.open(path), "<image>")):
            with pytest.raises(ImageError, match=f"^{name}: .*{reason}"):
                Photo(source, decoder).planes()
    with pytest.raises(ImageError, match=f"^{tmp_path}/missing: no such file$"):
        Photo(tmp_path / "missing", decoder)


@each_decoder
def test_large_uniform_picture_of_few_bytes_is_accepted(decoder):
    data = save(Image.new("L", (3000, 2000), 200), "JPEG", quality=30, optimize=True, progressive=True)
    assert Photo(data, decoder).planes(8)[0].samples.mean() == pytest.approx(200, abs=3)


@each_decoder
@pytest.mark.filterwarnings("ignore:.*EXIF", "ignore:Truncated File")
def test_damaged_bytes_give_planes_or_an_image_error(decoder):
    whole, rng = save(RGB, "JPEG", quality=60), np.random.default_rng(0)
    reasons = []
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(2, len(data), 3):
            data[place] = rng.integers(256)
        try:
            photo = Photo(bytes(data), decoder)
            if photo.width * photo.height < 1 << 20:  # a damaged size is tested above
                assert photo.planes()[0].samples.shape == (photo.height, photo.width)
        except ImageError as error:
            reasons.append(str(error))
    assert 0 < len(reasons) < 150
    assert not any("\n" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("JPEG", "CMYK"), *(("PNG", m) for m in ("RGB", "L", "P", "LA", "RGBA", "I;16"))],
)
def test_large_image_is_converted_in_strips_to_the_same_samples(kind, mode, monkeypatch):
    deep = Image.fromarray(np.asarray(RGB.convert("L")).astype(np.uint16) * 200)
    data = save(deep if mode == "I;16" else RGB.convert(mode), kind)
    whole = [plane.samples.copy() for plane in Photo(data).planes()]
    monkeypatch.setattr(pillow, "_STRIP", 5 * RGB.width)
    strips = [plane.samples for plane in Photo(data).planes()]
    assert len(strips) == len(whole)
    assert all((a == b).all() for a, b in zip(strips, whole, strict=True))


def test_auto_decoder_is_libjpeg_turbo_if_it_is_found(monkeypatch):
    monkeypatch.setattr(turbojpeg, "describe", lambda: "libjpeg-turbo 3.x")
    assert choose_decoder("auto") == choose_decoder("turbojpeg") == "turbojpeg"
    assert choose_decoder("pillow") == "pillow"
    assert describe_decoder("turbojpeg") == "libjpeg-turbo 3.x"
    monkeypatch.setattr(turbojpeg, "describe", lambda: None)
    assert choose_decoder("auto") == "pillow"
    assert describe_decoder("pillow").startswith("Pillow ")
    with pytest.raises(UserError, match="dctnet doctor"):
        choose_decoder("turbojpeg")


@pytest.mark.parametrize("path", ["", "/no/such/library.so"])
def test_missing_library_is_none(monkeypatch, path):
    monkeypatch.setenv("TURBOJPEG", path)
    for cached in ("library", "describe"):
        monkeypatch.setattr(turbojpeg, cached, getattr(turbojpeg, cached).__wrapped__)
    assert turbojpeg.describe() is None
