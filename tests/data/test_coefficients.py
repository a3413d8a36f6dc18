"""Channels from coefficients against libjpeg's coefficients, and against pixels in every sampling and orientation."""

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
from dctnet.data.images.markers import JpegError
from dctnet.data.images.photo import ImageError, Photo
from dctnet.data.transforms import CenterCrop, TrainCrop
from dctnet.frequency.channels import ChannelSet, PlanesToChannels
from dctnet.frequency.dct import block_dct, block_idct
from dctnet.frequency.selections import named_channels
from tests.conftest import needs_turbojpeg
from tests.pictures import SAMPLINGS, encode_jpeg, insert_orientation, waves

ALL = named_channels("all")
SIZES = [(160, 120), (157, 115), (161, 117)]
# Half a level in all 64 samples is 4; the inverse DCT in integers adds a little.
TOLERANCE = 4.5


@pytest.fixture
def photo(tmp_path):
    """Opens a JPEG file given as bytes."""

    def open_(data: bytes, decoder="turbojpeg") -> Photo:
        (tmp_path / "a.jpg").write_bytes(data)
        return Photo(tmp_path / "a.jpg", decoder)

    return open_


def windows(one: Photo, side: int) -> list[Window]:
    """The four corners and the middle."""
    rows, columns = (length - side for length in whole_blocks(one))
    return [
        Window(y, x, side) for y, x in ((0, 0), (0, columns), (rows, 0), (rows, columns), (rows // 2, columns // 2))
    ]


@needs_turbojpeg
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_dequantised_coefficients_are_libjpeg_s_times_its_tables(tmp_path, sampling, progressive):
    jpeglib = pytest.importorskip("jpeglib")
    data = encode_jpeg(waves(75, 53, noise=20), sampling, orientation=5, progressive=progressive)
    (tmp_path / "a.jpg").write_bytes(data)
    theirs = jpeglib.read_dct(str(tmp_path / "a.jpg"))
    grids = [theirs.Y] if sampling == "grey" else [theirs.Y, theirs.Cb, theirs.Cr]
    found = read_coefficients(data)
    assert len(found) == len(grids)
    for ours, grid, table in zip(found, grids, theirs.quant_tbl_no, strict=True):
        expected = grid.astype(int) * theirs.qt[table]
        assert ours.dtype == np.int32
        assert ours.flags["C_CONTIGUOUS"]
        assert np.array_equal(ours, expected.reshape(*grid.shape[:2], 64).transpose(2, 0, 1))


@needs_turbojpeg
@pytest.mark.parametrize("sampling", ["4:4:4", "grey"])
def test_inverse_dct_of_coefficients_is_the_decoded_picture(photo, sampling):
    one = photo(encode_jpeg(waves(80, 56), sampling), "pillow")
    for ours, plane in zip(read_coefficients(one.data), one.planes(), strict=True):
        pixels = block_idct(torch.from_numpy(ours).double()) + 128
        assert np.abs(pixels.numpy() - plane.samples).max() <= 1


@needs_turbojpeg
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_aligned_channels_are_the_dct_of_the_pixels(photo, sampling, orientation):
    for size in SIZES:
        one = photo(encode_jpeg(waves(*size, noise=6), sampling, orientation))
        for window in windows(one, 8):
            found = aligned_channels(one, window, ALL)
            assert found.shape == (192, 8, 8)
            assert found.dtype == torch.float32
            assert (found - pixel_channels(one, window, ALL)).abs().max() <= TOLERANCE
        assert one.refused is None


@needs_turbojpeg
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0"])
def test_aligned_channels_are_the_dct_of_what_pillow_turns_upright(photo, sampling, size, orientation):
    one = photo(encode_jpeg(waves(*size), sampling, orientation))
    stored = Image.open(one.path)
    stored.draft("YCbCr", stored.size)
    image = ImageOps.exif_transpose(stored)
    # The file's blocks begin at its first pixel, wherever that has gone.
    corner = np.zeros(size[::-1], np.uint8)
    corner[0, 0] = 1
    first = Image.fromarray(corner)
    first.getexif()[ExifTags.Base.Orientation] = orientation
    y, x = (int(p[0]) for p in np.nonzero(np.asarray(ImageOps.exif_transpose(first))))
    x, y = (length % 8 if place else 0 for place, length in ((x, image.width), (y, image.height)))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    rows, columns = whole_blocks(one)
    expected = PlanesToChannels(ALL)(pixels[..., y : y + 8 * rows, x : x + 8 * columns])[0]
    for window in windows(one, 10):
        part = expected[:, window.top : window.top + 10, window.left : window.left + 10]
        # Pillow rounds the enlarged chroma once more.
        assert (aligned_channels(one, window, ALL) - part).abs().max() <= 2 * TOLERANCE


@needs_turbojpeg
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("orientation", [1, 7])
def test_kept_channels_are_those_of_all(photo, sampling, orientation):
    one, window = photo(encode_jpeg(waves(75, 69, noise=9), sampling, orientation)), Window(1, 2, 5)
    whole = aligned_channels(one, window, ALL)
    for indices in ((0,), (65, 130), (9, 64, 70), (5, 12, 130, 191), (63, 100, 164), tuple(range(64))):
        found = aligned_channels(one, window, ChannelSet("x", indices))
        assert torch.allclose(found, whole[list(indices)], atol=1e-3)


@needs_turbojpeg
@pytest.mark.parametrize("progressive", [False, True])
def test_luma_is_exact(photo, progressive):
    data = encode_jpeg(waves(80, 64, noise=20), "4:2:0", progressive=progressive)
    found = aligned_channels(photo(data), Window(1, 2, 4), named_channels("luma"))
    assert torch.equal(found, torch.from_numpy(read_coefficients(data)[0][:, 1:5, 2:6]).float())


@needs_turbojpeg
def test_grey_has_zero_chroma(photo):
    found = aligned_channels(photo(encode_jpeg(waves(64, 64), "grey", 6)), Window(0, 0, 8), ALL)
    assert found[:64].abs().max() > 10
    assert (found[64:] == 0).all()


@needs_turbojpeg
@pytest.mark.parametrize("sampling", ["4:2:0", "4:1:1"])
def test_flipped_channels_are_those_of_mirrored_pixels(photo, sampling):
    one, reader = photo(encode_jpeg(waves(96, 80), sampling, 3)), CoefficientReader(CenterCrop(1.0), 64, ALL)
    channels, flip = reader.sample(one, np.random.default_rng(0))
    assert not flip
    straight, flipped = reader.to_device(reader.collate([(channels, False), (channels, True)]))
    assert torch.equal(straight, channels)
    pixels = block_idct(channels.unflatten(0, (3, 64)).double())
    assert torch.allclose(flipped.double(), block_dct(pixels.flip(-1)).flatten(0, 1), atol=1e-3)


@needs_turbojpeg
def test_random_crops_are_drawn_from_the_whole_photograph_and_half_are_flipped(photo):
    one, dc = photo(encode_jpeg(waves(96, 80, noise=20))), named_channels("zigzag-1")
    reader, whole = (
        CoefficientReader(TrainCrop(0.3), 64, dc),
        torch.from_numpy(read_coefficients(one.data)[0][0]).float(),
    )
    seen, flips = set(), 0
    for seed in range(120):
        channels, flip = reader.sample(one, np.random.default_rng(seed))
        again, _ = reader.sample(one, np.random.default_rng(seed))
        assert torch.equal(channels, again)
        seen |= {(y, x) for y in range(3) for x in range(5) if torch.equal(channels[0], whole[y : y + 8, x : x + 8])}
        flips += flip
    assert len(seen) == 3 * 5
    assert 40 <= flips <= 80


@needs_turbojpeg
def test_centre_crop_is_the_middle_to_the_block(photo):
    one = photo(encode_jpeg(waves(96, 80)))
    channels, _ = CoefficientReader(CenterCrop(0.5), 48, ALL).sample(one, np.random.default_rng(0))
    assert torch.equal(channels, aligned_channels(one, Window(2, 3, 6), ALL))


@needs_turbojpeg
@pytest.mark.parametrize("size", [(63, 90), (90, 63), (7, 7)])
@pytest.mark.parametrize("crop", [CenterCrop(1.0), TrainCrop(0.3)])
def test_photograph_smaller_than_the_crop_is_named(photo, crop, size):
    one = photo(encode_jpeg(waves(*size), orientation=6))
    with pytest.raises(ImageError, match=f"{size[1]}×{size[0]} pixels hold no aligned crop of 64") as caught:
        CoefficientReader(crop, 64, ALL).sample(one, np.random.default_rng(0))
    assert "\n" not in str(caught.value)


def save(path, **options):
    Image.fromarray(waves(75, 69)).convert(options.pop("mode", "RGB")).save(path, **options)


def spoil(path, change):
    save(path, format="JPEG")
    path.write_bytes(change(path.read_bytes()))


FALLBACKS = {
    "png": (lambda path: save(path, format="PNG"), "not a JPEG file"),
    "rgb": (lambda path: save(path, format="JPEG", keep_rgb=True), "stored as RGB"),
    "cmyk": (lambda path: save(path, format="JPEG", mode="CMYK"), "4 components"),
    "extraneous": (lambda path: spoil(path, lambda data: data[:-2] + b"\0\1" * 20 + data[-2:]), "extraneous bytes"),
}


@needs_turbojpeg
@pytest.mark.parametrize("orientation", [1, 2, 6, 7])
@pytest.mark.parametrize("kind", FALLBACKS)
def test_what_no_coefficients_come_from_is_read_by_pixels(tmp_path, kind, orientation):
    write, reason = FALLBACKS[kind]
    path = tmp_path / "a"
    write(path)
    if kind != "png":
        path.write_bytes(insert_orientation(path.read_bytes(), orientation))
    one = Photo(path, "turbojpeg")
    channels, _ = CoefficientReader(CenterCrop(1.0), 48, ALL).sample(one, np.random.default_rng(0))
    assert reason in one.refused
    rows, columns = whole_blocks(one)
    window = Window((rows - 6) // 2, (columns - 6) // 2, 6)
    expected = pixel_channels(Photo(path, "pillow"), window, ALL)
    assert torch.allclose(channels, expected, atol=1e-3)


@needs_turbojpeg
def test_fallback_is_the_same_crop_of_the_same_picture(tmp_path):
    reader = CoefficientReader(TrainCrop(0.3), 48, ALL)
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(waves(75, 69), "4:4:4", orientation=7))
    exif = Image.open(tmp_path / "a.jpg").getexif()
    Image.open(tmp_path / "a.jpg").convert("RGB").save(tmp_path / "a.png", exif=exif)
    for seed in range(5):
        (one, flip), (other, same) = (
            reader.sample(Photo(tmp_path / name, "turbojpeg"), np.random.default_rng(seed))
            for name in ("a.jpg", "a.png")
        )
        assert flip == same
        # The detour over RGB rounds each sample three times more.
        assert (one - other).abs().max() <= 3 * TOLERANCE


@needs_turbojpeg
def test_damage_within_the_scan_is_an_image_error(photo):
    data = encode_jpeg(waves(75, 69))
    one = photo(data[: len(data) // 2] + b"\xff\xd9")
    with pytest.raises(ImageError, match="damaged: Corrupt JPEG data"):
        CoefficientReader(CenterCrop(1.0), 48, ALL).sample(one, np.random.default_rng(0))


def encode(path, **options) -> bytes:
    save(path, format="JPEG", **options)
    return path.read_bytes()


@needs_turbojpeg
@pytest.mark.parametrize(("options", "reason"), [({"keep_rgb": True}, "RGB"), ({"mode": "CMYK"}, "4 components")])
def test_coefficients_of_something_else_are_refused(tmp_path, options, reason):
    with pytest.raises(JpegError, match=reason):
        read_coefficients(encode(tmp_path / "a.jpg", **options))


def test_coefficients_without_the_library_say_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(turbojpeg, "describe", lambda: None)
    with pytest.raises(JpegError, match="dctnet doctor"):
        read_coefficients(encode(tmp_path / "a.jpg"))
