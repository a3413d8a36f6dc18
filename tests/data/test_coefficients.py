"""Channels from coefficients against channels from pixels, in every sampling and orientation.

Coefficients come from jpeglib here; tests/data/images/test_turbojpeg.py compares those of libjpeg-turbo with them.
"""

import io

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from dctnet.data.coefficients import (
    CoefficientReader,
    Window,
    aligned_channels,
    pixel_channels,
    read_coefficients,
    whole_blocks,
)
from dctnet.data.images import turbojpeg
from dctnet.data.images.files import ImageError
from dctnet.data.images.header import JpegError
from dctnet.data.images.photo import Photo
from dctnet.data.transforms import CenterCrop, TrainCrop
from dctnet.frequency.channels import ChannelSet, PlanesToChannels
from dctnet.frequency.selections import named_channels
from tests.pictures import SAMPLINGS, SIZES, encode_jpeg, insert_orientation, jpeg_file, waves
from tests.slow_dct import slow_dct, slow_idct
from tests.slow_turbojpeg import read_jpeglib, replace_turbojpeg

ALL = named_channels("all")
# Half a level in all 64 samples is 4; the inverse DCT in integers adds a little.
TOLERANCE = 4.5


@pytest.fixture(autouse=True)
def slow_turbojpeg(monkeypatch):
    pytest.importorskip("jpeglib")
    replace_turbojpeg(monkeypatch)


def photo(data: bytes) -> Photo:
    return Photo(data, "turbojpeg")


def windows(one: Photo, side: int) -> list[Window]:
    """The four corners and the center."""
    rows, columns = (length - side for length in whole_blocks(one))
    return [
        Window(y, x, side) for y, x in ((0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2))
    ]


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_coefficients_are_dequantised_by_the_table_of_their_component(sampling, progressive):
    data = jpeg_file(sampling, SIZES[1], progressive, orientation=5)
    theirs = read_jpeglib(data)
    grids = [theirs.Y] if sampling == "grey" else [theirs.Y, theirs.Cb, theirs.Cr]
    for found, grid, table in zip(read_coefficients(data), grids, theirs.quant_tbl_no, strict=True):
        expected = grid.astype(int) * theirs.qt[table]
        assert found.dtype == np.int32
        assert found.flags["C_CONTIGUOUS"]
        assert np.array_equal(found, expected.reshape(*grid.shape[:2], 64).transpose(2, 0, 1))


@pytest.mark.parametrize("sampling", ["4:4:4", "grey"])
def test_inverse_dct_of_coefficients_is_the_decoded_picture(sampling):
    data = jpeg_file(sampling)
    for found, plane in zip(read_coefficients(data), Photo(data, "pillow").planes(), strict=True):
        assert np.abs(slow_idct(found).numpy() + 128 - plane.samples).max() <= 1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_aligned_channels_are_the_dct_of_the_pixels_in_every_orientation(sampling, size):
    for orientation in range(1, 9):
        one = photo(jpeg_file(sampling, size, orientation=orientation))
        for window in windows(one, 8):
            found = aligned_channels(one, window, ALL)
            assert found.shape == (192, 8, 8)
            assert found.dtype == torch.float32
            assert (found - pixel_channels(one, window, ALL)).abs().max() <= TOLERANCE
        assert one.refused is None


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0"])
def test_aligned_channels_are_the_dct_of_the_picture_that_pillow_transposes(sampling, size):
    for orientation in range(1, 9):
        one = photo(encode_jpeg(waves(*size), sampling, orientation))
        stored = Image.open(io.BytesIO(one.data))
        stored.draft("YCbCr", stored.size)
        image = ImageOps.exif_transpose(stored)
        # Blocks start at the first stored pixel, which the orientation moves to any corner.
        corner = np.zeros(size[::-1], np.uint8)
        corner[0, 0] = 1
        first = Image.fromarray(corner)
        first.getexif()[ExifTags.Base.Orientation] = orientation
        y, x = (int(p[0]) for p in np.nonzero(np.asarray(ImageOps.exif_transpose(first))))
        x, y = (length % 8 if place else 0 for place, length in ((x, image.width), (y, image.height)))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        rows, columns = whole_blocks(one)
        expected = PlanesToChannels(ALL)(pixels[..., y : y + 8 * rows, x : x + 8 * columns])[0]
        for window in windows(one, 8):
            part = expected[:, window.top : window.top + 8, window.left : window.left + 8]
            # Pillow also rounds the upsampled chroma.
            assert (aligned_channels(one, window, ALL) - part).abs().max() <= 2 * TOLERANCE


@pytest.mark.parametrize("orientation", [1, 7])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_channels_of_a_set_are_a_selection_of_all(sampling, orientation):
    one, window = photo(jpeg_file(sampling, SIZES[1], orientation=orientation)), Window(1, 2, 5)
    whole = aligned_channels(one, window, ALL)
    for indices in ((0,), (65, 130), (9, 64, 70), (5, 12, 130, 191), (63, 100, 164), tuple(range(64))):
        found = aligned_channels(one, window, ChannelSet("x", indices))
        assert torch.allclose(found, whole[list(indices)], atol=1e-3)


def test_luma_is_exact():
    data = jpeg_file("4:2:0", progressive=True)
    found = aligned_channels(photo(data), Window(1, 2, 4), named_channels("luma"))
    assert torch.equal(found, torch.from_numpy(read_coefficients(data)[0][:, 1:5, 2:6]).float())


def test_grey_has_zero_chroma():
    found = aligned_channels(photo(jpeg_file("grey", orientation=6)), Window(0, 0, 8), ALL)
    assert found[:64].abs().max() > 10
    assert (found[64:] == 0).all()


@pytest.mark.parametrize("sampling", ["4:2:0", "4:1:1"])
def test_flipped_channels_are_those_of_flipped_pixels(sampling):
    one, reader = photo(jpeg_file(sampling, orientation=3)), CoefficientReader(CenterCrop(1.0), 64, ALL)
    channels, flip = reader.sample(one, np.random.default_rng(0))
    assert not flip
    straight, flipped = reader.to_device(reader.collate([(channels, False), (channels, True)]))
    assert torch.equal(straight, channels)
    pixels = slow_idct(channels.unflatten(0, (3, 64)))
    assert torch.allclose(flipped.double(), slow_dct(pixels.flip(-1)).flatten(0, 1), atol=1e-3)


def test_random_crops_reach_every_block_and_half_are_flipped():
    one, dc = photo(encode_jpeg(waves(96, 80, noise=20))), named_channels("zigzag-1")
    reader = CoefficientReader(TrainCrop(0.3), 64, dc)
    whole = torch.from_numpy(read_coefficients(one.data)[0][0]).float()
    seen, flips = set(), 0
    for seed in range(120):
        channels, flip = reader.sample(one, np.random.default_rng(seed))
        again, _ = reader.sample(one, np.random.default_rng(seed))
        assert torch.equal(channels, again)
        seen |= {(y, x) for y in range(3) for x in range(5) if torch.equal(channels[0], whole[y : y + 8, x : x + 8])}
        flips += flip
    assert len(seen) == 3 * 5
    assert 40 <= flips <= 80


def test_center_crop_is_central_to_the_block():
    one = photo(jpeg_file())
    channels, _ = CoefficientReader(CenterCrop(0.5), 48, ALL).sample(one, np.random.default_rng(0))
    assert torch.equal(channels, aligned_channels(one, Window(2, 3, 6), ALL))


@pytest.mark.parametrize("size", [(63, 90), (90, 63), (7, 7)])
@pytest.mark.parametrize("crop", [CenterCrop(1.0), TrainCrop(0.3)])
def test_photograph_smaller_than_the_crop_is_rejected(crop, size):
    one = photo(encode_jpeg(waves(*size), orientation=6))
    with pytest.raises(ImageError, match=f"{size[1]}×{size[0]} pixels hold no aligned crop of 64") as caught:
        CoefficientReader(crop, 64, ALL).sample(one, np.random.default_rng(0))
    assert "\n" not in str(caught.value)


def saved(kind: str, mode: str = "RGB", orientation: int = 1, **options) -> bytes:
    """A picture as Pillow writes it."""
    file, exif = io.BytesIO(), Image.Exif()
    if kind == "PNG" and orientation > 1:
        exif[ExifTags.Base.Orientation] = orientation
        options["exif"] = exif
    Image.fromarray(waves(75, 69)).convert(mode).save(file, kind, **options)
    return file.getvalue() if kind == "PNG" else insert_orientation(file.getvalue(), orientation)


@pytest.mark.parametrize("orientation", [1, 2, 6, 7])
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "PNG"}, "not a JPEG file"),
        ({"kind": "JPEG", "keep_rgb": True}, "stored as RGB"),
        ({"kind": "JPEG", "mode": "CMYK"}, "4 components"),
    ],
)
def test_files_without_usable_coefficients_are_read_by_pixels(options, reason, orientation):
    data = saved(**options, orientation=orientation)
    one = photo(data)
    channels, _ = CoefficientReader(CenterCrop(1.0), 48, ALL).sample(one, np.random.default_rng(0))
    assert reason in one.refused
    with pytest.raises(JpegError, match=reason):
        read_coefficients(data)
    rows, columns = whole_blocks(one)
    window = Window((rows - 6) // 2, (columns - 6) // 2, 6)
    expected = pixel_channels(Photo(data, "pillow"), window, ALL)
    assert torch.allclose(channels, expected, atol=1e-3)


def test_fallback_reads_the_same_crop_of_the_same_picture():
    reader = CoefficientReader(TrainCrop(0.3), 48, ALL)
    jpeg = encode_jpeg(waves(75, 69), "4:4:4", orientation=7)
    png = Image.open(io.BytesIO(jpeg)).convert("RGB")  # with the EXIF data of the JPEG file
    for seed in range(5):
        (one, flip), (other, same) = (reader.sample(photo(image), np.random.default_rng(seed)) for image in (jpeg, png))
        assert flip == same
        # The conversion to RGB and back rounds each sample three times more.
        assert (one - other).abs().max() <= 3 * TOLERANCE


def test_error_without_the_library_refers_to_doctor(monkeypatch):
    monkeypatch.setattr(turbojpeg, "describe", lambda: None)
    with pytest.raises(JpegError, match="dctnet doctor"):
        read_coefficients(jpeg_file())
