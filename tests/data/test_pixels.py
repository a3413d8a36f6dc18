"""Readers of pixels: the same channels in the loader and on the device, for every decoder; compared with Pillow."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from dctnet.data import pixels as readers
from dctnet.data.images.photo import Photo
from dctnet.data.images.planes import Plane
from dctnet.data.pixels import ChannelReader, RGBReader, choose_denominator, chroma_share, cut
from dctnet.data.transforms import CenterCrop, TrainCrop
from dctnet.frequency.channels import ChannelSet, PlanesToChannels
from dctnet.frequency.selections import named_channels
from tests.conftest import DECODERS, needs_turbojpeg
from tests.pictures import SAMPLINGS, SIZES, encode_jpeg, jpeg_file, see, waves
from tests.slow_dct import slow_idct

ALL = named_channels("all")
# Those whose chroma Pillow interpolates, as dctnet does; libjpeg repeats the samples of 4:1:1.
SMOOTH = [s for s in SAMPLINGS if s != "4:1:1"]


def open_by_pillow(data: bytes) -> Image.Image:
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data)))


def batch(reader, photos, seed=0):
    """The network's input for some photographs."""
    rng = np.random.default_rng(seed)
    return reader.to_device(reader.collate([reader.sample(p, rng) for p in photos]))


def various(decoder: str) -> list[Photo]:
    """Photographs of several sizes, samplings and orientations, more than a reader computes at a time."""
    sizes = [*SIZES, (64, 128)]
    pictures = [
        encode_jpeg(waves(*sizes[n % 4], noise=4), SMOOTH[n % 3], 1 + n % 8)
        if n % 2
        else jpeg_file(SAMPLINGS[n % 6], SIZES[n % 3], orientation=1 + n % 8)
        for n in range(11)
    ]
    return [Photo(data, decoder) for data in pictures]


@pytest.mark.parametrize(
    ("box", "size", "denominator"),
    [
        ((0, 0, 224, 224), (224, 224), 1),
        ((0, 0, 447, 448), (224, 224), 1),
        ((0, 0, 448, 448), (224, 224), 2),
        ((10.5, 0, 910.5, 5000), (224, 224), 4),
        ((0, 0, 9000, 9000), (224, 224), 8),
        ((0, 0, 100, 100), (224, 224), 1),
    ],
)
def test_decoding_scale_keeps_at_least_the_samples_of_the_output(box, size, denominator):
    assert choose_denominator(box, *size) == denominator


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("channels", ["all", "zigzag-24", "luma", "dc", "random-24-3"])
def test_loader_and_device_compute_the_same_channels(decoder, channels):
    one, other = (
        batch(ChannelReader(TrainCrop(0.3), 32, named_channels(channels), dct), various(decoder))
        for dct in ("loader", "device")
    )
    assert one.shape == (11, len(named_channels(channels)), 4, 4)
    assert one.dtype == torch.float32
    assert torch.allclose(one, other, atol=1e-2)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dct", ["loader", "device"])
def test_photographs_of_a_batch_are_independent(decoder, dct):
    reader = ChannelReader(CenterCrop(0.9), 32, ALL, dct)
    photos = [Photo(encode_jpeg(waves(75, 53), "grey"), decoder), *various(decoder)]
    assert torch.allclose(batch(reader, photos), torch.cat([batch(reader, [p]) for p in photos]), atol=1e-2)


@pytest.mark.parametrize("decoder", DECODERS)
def test_grey_has_zero_chroma(decoder):
    channels = batch(ChannelReader(CenterCrop(1.0), 32, ALL), [Photo(jpeg_file("grey"), decoder)])
    assert channels[:, :64].abs().max() > 10
    assert channels[:, 64:].abs().max() <= 1e-2


@needs_turbojpeg
def test_decoders_agree():
    for sampling in SAMPLINGS:
        data = jpeg_file(sampling, SIZES[1], orientation=6)
        photos = [Photo(data, decoder) for decoder in ("pillow", "turbojpeg")]
        theirs, ours = (p.planes()[0].samples.astype(int) for p in photos)
        assert np.abs(theirs - ours).max() <= 1
        kept = ALL if sampling in ("4:4:4", "grey") else named_channels("luma")
        one, other = (batch(ChannelReader(TrainCrop(0.3), 64, kept), [p]) for p in photos)
        assert (one - other).abs().max() <= 8  # one level in all 64 samples of a block


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0", "grey"])
def test_channels_are_the_dct_of_the_crop_that_pillow_resizes(decoder, sampling):
    kept, data = ChannelSet("x", (0, 9, 27, 63, 64, 129, 130)), encode_jpeg(waves(100, 75), sampling, orientation=6)
    found = batch(ChannelReader(CenterCrop(0.8), 48, kept), [Photo(data, decoder)])
    image = open_by_pillow(data).convert("RGB").convert("YCbCr")
    pixels = image.resize((48, 48), Image.Resampling.BILINEAR, box=CenterCrop(0.8).box(*image.size, None))
    expected = PlanesToChannels(kept)(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None])
    assert (found - expected).abs().max() <= 8


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("side", "denominator"), [(512, 8), (300, 4), (200, 2)])
def test_scaled_decoding_reads_fewer_samples_and_changes_little(decoder, side, denominator, monkeypatch):
    picture = np.asarray(Image.fromarray(waves(64, 64)).resize((side, side), Image.Resampling.BICUBIC))
    data = encode_jpeg(picture, "4:4:4")
    reader, whole = ChannelReader(CenterCrop(1.0), 64, ALL), (0.0, 0.0, float(side), float(side))
    scaled = Photo(data, decoder)
    assert cut(scaled, whole, 64, 64).luma.shape == (-(-side // denominator),) * 2
    found = batch(reader, [scaled])
    monkeypatch.setattr(readers, "choose_denominator", lambda *_: 1)
    full = Photo(data, decoder)
    assert cut(full, whole, 64, 64).luma.shape == (side, side)
    difference = slow_idct((found - batch(reader, [full])).unflatten(1, (3, 64))).abs()
    assert difference.mean() <= 0.5
    assert difference.max() <= 4


def test_pillow_decodes_subsampled_chroma_at_the_scale_of_luma():
    data, whole = encode_jpeg(waves(512, 512), "4:2:0"), (0.0, 0.0, 512.0, 512.0)
    assert chroma_share(ALL) == 1
    assert chroma_share(named_channels("luma")) == 0
    assert cut(Photo(data, "pillow"), whole, 64, 64, 1.0).chroma.shape[1] == 64


@needs_turbojpeg
def test_decoding_scale_keeps_the_detail_of_chroma_that_the_channels_need():
    data, whole = encode_jpeg(waves(512, 512), "4:2:0"), (0.0, 0.0, 512.0, 512.0)
    for highest, rows in ((63, 64), (9, 32)):
        share = chroma_share(ChannelSet("x", (0, 64, 64 + highest)))
        assert cut(Photo(data, "turbojpeg"), whole, 64, 64, share).chroma.shape[1] == rows


def test_cut_has_the_samples_under_the_filter_and_few_others():
    one = cut(Photo(Image.fromarray(waves(400, 300))), (100.0, 50.0, 220.0, 170.0), 64, 64)
    assert one.luma.shape == one.chroma.shape[1:] == (124, 124)
    assert one.luma_box == one.chroma_box == (2.0, 2.0, 122.0, 122.0)


def test_flipped_channels_are_those_of_the_mirrored_photograph():
    image = Image.fromarray(waves(70, 60))
    reader = ChannelReader(CenterCrop(0.9), 32, ALL, "device")
    one, other = (reader.sample(Photo(i), np.random.default_rng(0))[0] for i in (image, ImageOps.mirror(image)))
    found = reader.to_device(reader.collate([(one, True), (one, False)]))
    expected = reader.to_device(reader.collate([(other, False), (other, True)]))
    assert torch.allclose(found, expected, atol=1e-2)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("sampling", SMOOTH)
def test_rgb_is_as_pillow_shows_it(decoder, sampling):
    data = encode_jpeg(waves(100, 75), sampling, orientation=8)
    found = batch(RGBReader(CenterCrop(0.8), 48), [Photo(data, decoder)])
    image = open_by_pillow(data).convert("RGB")
    box = CenterCrop(0.8).box(*image.size, None)
    expected = np.asarray(image.resize((48, 48), Image.Resampling.BILINEAR, box=box))
    assert found.shape == (1, 3, 48, 48)
    assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).max() <= 6


def test_rgb_is_flipped():
    photo, reader = Photo(Image.fromarray(waves(64, 64))), RGBReader(TrainCrop(1.0), 64)
    straight, mirrored = (reader.sample(photo, np.random.default_rng(s)) for s in (0, 1))
    assert torch.equal(straight.flip(-1), mirrored)
    assert not torch.equal(straight, mirrored)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("sampling", SMOOTH)
def test_odd_sizes_are_upright_as_by_pillow(decoder, sampling):
    for orientation in range(1, 9):
        for size in ((61, 47), (62, 47), (64, 48), (67, 50)):
            data = encode_jpeg(waves(*size), sampling, orientation)
            ours, expected = Photo(data, decoder), open_by_pillow(data).convert("YCbCr")
            assert (ours.width, ours.height) == expected.size
            assert np.abs(see(ours).astype(int) - np.asarray(expected).astype(int)).max() <= 4
            assert ours.refused is None or decoder == "pillow"


@needs_turbojpeg
def test_samples_are_the_means_of_the_pixels_that_they_span():
    for sampling, orientation in itertools.product(["4:2:2", "4:2:0", "4:4:0", "4:1:1"], range(1, 9)):
        data = encode_jpeg(waves(131, 93), sampling, orientation)
        ours, expected = Photo(data, "turbojpeg"), np.asarray(open_by_pillow(data).convert("YCbCr")).astype(float)
        for denominator in (1, 2, 4, 8):
            for number, plane in enumerate(ours.planes(denominator)):
                assert np.abs(plane.samples - means(expected[..., number], plane))[1:-1, 1:-1].max() <= 3


def means(pixels: np.ndarray, plane: Plane) -> np.ndarray:
    """The means of the pixels under each sample of a plane."""
    rows, columns = plane.samples.shape
    below, right = (
        plane.top + rows * plane.down - pixels.shape[0],
        plane.left + columns * plane.across - pixels.shape[1],
    )
    padded = np.pad(pixels, ((-plane.top, below), (-plane.left, right)), mode="edge")
    return padded.reshape(rows, plane.down, columns, plane.across).mean((1, 3))
