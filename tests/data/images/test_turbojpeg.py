"""libjpeg-turbo's planes against Pillow's, its coefficients against libjpeg's own, bit for bit."""

import io

import numpy as np
import pytest
from PIL import Image

from dctnet.data.images import turbojpeg
from dctnet.data.images.header import read_header
from dctnet.data.images.markers import JpegError
from tests.conftest import needs_turbojpeg
from tests.pictures import SAMPLINGS, encode_jpeg, waves

SIZES = [(75, 53), (64, 48), (1, 1), (9, 200)]


def planes(data: bytes, denominator: int = 1) -> list[np.ndarray]:
    return turbojpeg.decode_planes(data, read_header(data), denominator)


def coefficients(data: bytes) -> list[np.ndarray]:
    return turbojpeg.with_coefficients(data, read_header(data), lambda views: [view.copy() for view in views])


def pillow(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Luma as Pillow decodes it, scaled down to no less than a size."""
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", size)
    return np.atleast_3d(np.asarray(image))[..., 0].astype(int)


@needs_turbojpeg
@pytest.mark.parametrize("denominator", [1, 2, 4, 8])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_luma_is_pillow_s_at_every_scale(sampling, denominator):
    width, height = 161, 131
    data = encode_jpeg(waves(width, height, noise=5), sampling)
    expected = pillow(data, (width // denominator, height // denominator))
    found = planes(data, denominator)[0][: expected.shape[0], : expected.shape[1]]
    assert expected.shape == (-(-height // denominator), -(-width // denominator))
    assert np.abs(found - expected).max() <= 1


@needs_turbojpeg
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_planes_hold_at_least_the_samples_of_their_scale(sampling, size):
    data = encode_jpeg(waves(*size), sampling)
    for denominator in (1, 2, 4, 8):
        for plane, (across, down) in zip(planes(data, denominator), read_header(data).factors, strict=True):
            rows, columns = -(-size[1] // (down * denominator)), -(-size[0] // (across * denominator))
            # Luma is filled up to whole samples of chroma.
            assert rows <= plane.shape[0] < rows + 4
            assert columns <= plane.shape[1] < columns + 4
            assert plane.dtype == np.uint8


@needs_turbojpeg
@pytest.mark.parametrize("denominator", [2, 4, 8])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_scaled_planes_are_means_of_the_full_ones(sampling, denominator):
    data = encode_jpeg(waves(128, 64), sampling)
    for scaled, full in zip(planes(data, denominator), planes(data), strict=True):
        means = full.reshape(scaled.shape[0], denominator, scaled.shape[1], denominator).mean((1, 3))
        assert np.abs(scaled - means).max() <= 2


@needs_turbojpeg
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:4:0"])
def test_chroma_is_what_pillow_enlarges(sampling):
    data = encode_jpeg(waves(64, 48), sampling)
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", image.size)
    for number in (1, 2):
        theirs = image.getchannel(number)
        ours = Image.fromarray(planes(data)[number]).resize(image.size, Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).max() <= 1


@needs_turbojpeg
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("size", SIZES)
def test_coefficients_are_libjpeg_s_bit_for_bit(tmp_path, sampling, progressive, size):
    jpeglib = pytest.importorskip("jpeglib")
    data = encode_jpeg(waves(*size, noise=20), sampling, progressive=progressive)
    (tmp_path / "a.jpg").write_bytes(data)
    theirs = jpeglib.read_dct(str(tmp_path / "a.jpg"))
    grids = [theirs.Y] if sampling == "grey" else [theirs.Y, theirs.Cb, theirs.Cr]
    found = coefficients(data)
    assert len(found) == len(grids)
    for ours, grid in zip(found, grids, strict=True):
        assert ours.dtype == np.int16
        assert np.array_equal(ours, grid.reshape(*grid.shape[:2], 64))


def write_sampling(path, factors: list[tuple[int, int]]) -> bytes:
    """A JPEG file of any sampling factors (across, down)."""
    jpeglib = pytest.importorskip("jpeglib")
    image = jpeglib.from_spatial(waves(75, 53, noise=9))
    image.samp_factor = np.array([[down, across] for across, down in factors])
    image.write_spatial(str(path), qt=90)
    return path.read_bytes()


@needs_turbojpeg
@pytest.mark.parametrize(
    ("luma", "chroma"),
    [((2, 1), (2, 1)), ((2, 2), (2, 1)), ((2, 2), (1, 2))],  # 4:4:4, 4:4:0 and 4:2:2, not in lowest terms
)
def test_factors_need_not_be_in_lowest_terms(tmp_path, luma, chroma):
    data = write_sampling(tmp_path / "a.jpg", [luma, chroma, chroma])
    theirs = pytest.importorskip("jpeglib").read_dct(str(tmp_path / "a.jpg"))
    assert read_header(data).factors[1] == (luma[0] // chroma[0], luma[1] // chroma[1])
    for ours, grid in zip(coefficients(data), (theirs.Y, theirs.Cb, theirs.Cr), strict=True):
        assert np.array_equal(ours, grid.reshape(*grid.shape[:2], 64))
    assert np.abs(planes(data)[0][:53, :75] - pillow(data, (75, 53))).max() <= 1


@needs_turbojpeg
@pytest.mark.parametrize("luma", [(4, 2), (1, 4), (3, 1)])
@pytest.mark.parametrize("read", [planes, coefficients])
def test_sampling_that_the_library_does_not_know_is_an_error(tmp_path, luma, read):
    with pytest.raises(JpegError, match="subsampling"):
        read(write_sampling(tmp_path / "a.jpg", [luma, (1, 1), (1, 1)]))


@needs_turbojpeg
def test_what_the_function_returns_or_raises_comes_out():
    data = encode_jpeg(waves(32, 32))
    header = read_header(data)
    assert turbojpeg.with_coefficients(data, header, len) == 3
    assert turbojpeg.with_coefficients(data, header, lambda views: None) is None

    def fail(views):
        raise KeyError("from within")

    with pytest.raises(KeyError, match="from within"):
        turbojpeg.with_coefficients(data, header, fail)
    assert turbojpeg.with_coefficients(data, header, len) == 3


DAMAGES = {
    "cut": lambda data: data[: 2 * len(data) // 3],
    "extraneous": lambda data: data[:-2] + b"\0\1" * 20 + data[-2:],
    "headless": lambda data: data[: data.index(b"\xff\xda")],
    "spoilt": lambda data: data[: len(data) // 2] + b"\xff\xd3" * 8 + data[len(data) // 2 + 16 :],
}


@needs_turbojpeg
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("read", [planes, coefficients])
@pytest.mark.parametrize("sampling", ["4:2:0", "grey"])
@pytest.mark.parametrize("progressive", [False, True])
def test_what_libjpeg_warns_of_is_an_error(read, damage, sampling, progressive):
    data = encode_jpeg(waves(64, 64, noise=20), sampling, progressive=progressive)
    with pytest.raises(JpegError) as caught:
        read(DAMAGES[damage](data))
    assert str(caught.value)
    assert "\n" not in str(caught.value)
    read(data)  # the library's handle is sound afterwards


@needs_turbojpeg
def test_header_of_another_file_is_an_error():
    small, large = (encode_jpeg(waves(side, side)) for side in (32, 64))
    for data, other in ((small, large), (large, small)):
        with pytest.raises(JpegError):
            turbojpeg.with_coefficients(data, read_header(other), lambda views: [v.copy() for v in views])


@pytest.fixture
def forgetful():
    """Lets the tests below name another library than the one found."""
    caches = (turbojpeg.library, turbojpeg.describe)
    [cache.cache_clear() for cache in caches]
    yield
    [cache.cache_clear() for cache in caches]


@pytest.mark.parametrize("named", ["", "/no/such/library.so"])
def test_library_that_is_not_there_is_none(forgetful, monkeypatch, named):
    monkeypatch.setenv("TURBOJPEG", named)
    assert turbojpeg.describe() is None


@needs_turbojpeg
def test_sampling_factors_of_grey_mean_nothing(tmp_path):
    jpeglib = pytest.importorskip("jpeglib")
    data = bytearray(encode_jpeg(waves(75, 53, noise=20), "grey"))
    data[data.index(b"\xff\xc0") + 11] = 0x22  # some cameras say 2×2; a scan of one component has one block a unit
    (tmp_path / "a.jpg").write_bytes(data)
    (ours,), theirs = coefficients(bytes(data)), jpeglib.read_dct(str(tmp_path / "a.jpg")).Y
    assert np.array_equal(ours, theirs[: ours.shape[0], : ours.shape[1]].reshape(ours.shape))
    assert np.abs(planes(bytes(data))[0] - pillow(bytes(data), (75, 53))).max() <= 1


@needs_turbojpeg
def test_interrupt_inside_take_comes_out():
    def interrupt(views):
        raise KeyboardInterrupt

    data = encode_jpeg(waves(32, 32), "4:4:4")
    with pytest.raises(KeyboardInterrupt):
        turbojpeg.with_coefficients(data, read_header(data), interrupt)
