"""libjpeg-turbo's planes against Pillow's, and its coefficients against jpeglib's, bit for bit."""

import io

import numpy as np
import pytest
from PIL import Image

from dctnet.data.coefficients import CoefficientReader
from dctnet.data.images import turbojpeg
from dctnet.data.images.files import ImageError
from dctnet.data.images.header import JpegError, read_header
from dctnet.data.images.photo import Photo
from dctnet.data.transforms import CenterCrop
from dctnet.frequency.selections import named_channels
from tests import slow_turbojpeg
from tests.pictures import SAMPLINGS, SIZES, encode_jpeg, encode_with_factors, jpeg_file, waves

if turbojpeg.describe() is None:
    pytest.skip("libjpeg-turbo is not found", allow_module_level=True)


def planes(data: bytes, denominator: int = 1) -> list[np.ndarray]:
    return turbojpeg.decode_planes(data, read_header(data), denominator)


def coefficients(data: bytes) -> list[np.ndarray]:
    return turbojpeg.with_coefficients(data, read_header(data), lambda views: [view.copy() for view in views])


def pillow(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Luma as decoded by Pillow, at the smallest scale with at least a size."""
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", size)
    return np.atleast_3d(np.asarray(image))[..., 0].astype(int)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_luma_equals_pillow_at_every_scale(sampling):
    width, height = 161, 131
    data = encode_jpeg(waves(width, height, noise=5), sampling)
    for denominator in (1, 2, 4, 8):
        expected = pillow(data, (width // denominator, height // denominator))
        found = planes(data, denominator)[0][: expected.shape[0], : expected.shape[1]]
        assert expected.shape == (-(-height // denominator), -(-width // denominator))
        assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:4:0"])
def test_upsampled_chroma_equals_pillow(sampling):
    data = encode_jpeg(waves(64, 48), sampling)
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", image.size)
    for number in (1, 2):
        theirs = image.getchannel(number)
        ours = Image.fromarray(planes(data)[number]).resize(image.size, Image.Resampling.BILINEAR)
        assert np.abs(np.asarray(ours).astype(int) - np.asarray(theirs)).max() <= 1


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_coefficients_equal_jpeglib_and_planes_equal_their_inverse_dct(sampling):
    files = [jpeg_file(sampling, size, progressive) for size in SIZES for progressive in (False, True)]
    files += [encode_jpeg(waves(*size, noise=20), sampling) for size in ((1, 1), (9, 200))]
    for data in files:
        header = read_header(data)
        for ours, theirs in zip(coefficients(data), slow_turbojpeg.coefficients(data), strict=True):
            assert ours.dtype == np.int16
            assert np.array_equal(ours, theirs)
        for ours, theirs in zip(planes(data), slow_turbojpeg.decode_planes(data, header), strict=True):
            rows, columns = (min(a, b) for a, b in zip(ours.shape, theirs.shape, strict=True))
            assert np.abs(ours[:rows, :columns].astype(int) - theirs[:rows, :columns]).max() <= 1


@pytest.mark.parametrize(
    ("luma", "chroma"),
    [((2, 1), (2, 1)), ((2, 2), (2, 1)), ((2, 2), (1, 2))],  # 4:4:4, 4:4:0 and 4:2:2
)
def test_sampling_factors_with_a_common_divisor_are_accepted(luma, chroma):
    data = encode_with_factors(waves(75, 53, noise=9), [luma, chroma, chroma])
    header = read_header(data)
    assert header.factors[1] == (luma[0] // chroma[0], luma[1] // chroma[1])
    for ours, theirs in zip(coefficients(data), slow_turbojpeg.coefficients(data), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.abs(planes(data)[0][:53, :75] - pillow(data, (75, 53))).max() <= 1


def test_sampling_factors_of_grey_are_ignored():
    data = bytearray(jpeg_file("grey", SIZES[1]))
    data[data.index(b"\xff\xc0") + 11] = 0x22  # as some cameras write; a scan of one component has one block per MCU
    (ours,), (theirs,) = coefficients(bytes(data)), slow_turbojpeg.coefficients(bytes(data))
    assert np.array_equal(ours, theirs)
    assert np.abs(planes(bytes(data))[0] - pillow(bytes(data), SIZES[1])).max() <= 1


@pytest.mark.parametrize("luma", [(4, 2), (1, 4), (3, 1)])
@pytest.mark.parametrize("read", [planes, coefficients])
def test_sampling_unknown_to_the_library_is_an_error(luma, read):
    data = encode_with_factors(waves(75, 53, noise=9), [luma, (1, 1), (1, 1)])
    with pytest.raises(JpegError, match="subsampling"):
        read(data)


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_result_and_exceptions_of_the_function_are_passed_on(error):
    data = encode_jpeg(waves(32, 32))
    header = read_header(data)
    assert turbojpeg.with_coefficients(data, header, len) == 3
    assert turbojpeg.with_coefficients(data, header, lambda views: None) is None

    def fail(views):
        raise error("from within")

    with pytest.raises(error, match="from within"):
        turbojpeg.with_coefficients(data, header, fail)
    assert turbojpeg.with_coefficients(data, header, len) == 3


DAMAGES = {
    "truncated": lambda data: data[: 2 * len(data) // 3],
    "extraneous bytes": lambda data: data[:-2] + b"\0\1" * 20 + data[-2:],
    "no scan": lambda data: data[: data.index(b"\xff\xda")],
    "restart markers": lambda data: data[: len(data) // 2] + b"\xff\xd3" * 8 + data[len(data) // 2 + 16 :],
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("read", [planes, coefficients])
def test_warnings_of_the_library_are_errors(read, damage):
    for sampling in ("4:2:0", "grey"):
        for progressive in (False, True):
            data = encode_jpeg(waves(64, 64, noise=20), sampling, progressive=progressive)
            with pytest.raises(JpegError) as caught:
                read(DAMAGES[damage](data))
            assert str(caught.value)
            assert "\n" not in str(caught.value)
            read(data)  # the library works as before


def test_damage_within_a_scan_is_an_image_error_of_the_coefficient_reader():
    data = encode_jpeg(waves(75, 69))
    one = Photo(data[: len(data) // 2] + b"\xff\xd9", "turbojpeg")
    with pytest.raises(ImageError, match="damaged: Corrupt JPEG data"):
        CoefficientReader(CenterCrop(1.0), 48, named_channels("all")).sample(one, np.random.default_rng(0))


def test_header_of_another_file_is_an_error():
    small, large = (encode_jpeg(waves(side, side)) for side in (32, 64))
    for data, other in ((small, large), (large, small)):
        with pytest.raises(JpegError):
            turbojpeg.with_coefficients(data, read_header(other), lambda views: [v.copy() for v in views])
