"""Readers: the same channels wherever they are computed and whatever decodes; against Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from dctnet.data import pixels as readers
from dctnet.data.images.photo import Photo, Plane
from dctnet.data.pixels import ChannelReader, RGBReader, choose_denominator, chroma_share, cut
from dctnet.data.transforms import CenterCrop, TrainCrop
from dctnet.frequency.channels import ChannelSet, PlanesToChannels
from dctnet.frequency.dct import block_idct
from dctnet.frequency.selections import named_channels
from tests.conftest import DECODERS, needs_turbojpeg
from tests.pictures import SAMPLINGS, encode_jpeg, see, waves

ALL = named_channels("all")
# Where Pillow interpolates chroma, as we do; libjpeg repeats the samples of 4:1:1.
SMOOTH = [s for s in SAMPLINGS if s != "4:1:1"]


def photo(folder, data: bytes, decoder="turbojpeg") -> Photo:
    (folder / "a.jpg").write_bytes(data)
    return Photo(folder / "a.jpg", decoder)


def batch(reader, photos, seed=0):
    """What the network gets of some photographs."""
    draw = np.random.default_rng(seed)
    return reader.to_device(reader.collate([reader.sample(p, draw) for p in photos]))


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Files of several sizes and samplings, more of them than a reader takes at once."""
    folder, sizes = tmp_path_factory.mktemp("several"), [(90, 70), (64, 128), (157, 115)]
    for number in range(11):
        (folder / f"{number:02d}.jpg").write_bytes(
            encode_jpeg(waves(*sizes[number % 3], noise=4), SAMPLINGS[number % 5], 1 + number % 8)
        )
    return sorted(folder.iterdir())


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
def test_decoding_scales_no_further_than_to_the_samples_wanted(box, size, denominator):
    assert choose_denominator(box, *size) == denominator


@needs_turbojpeg
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("channels", ["all", "zigzag-24", "luma", "dc", "random-24-3"])
def test_loader_and_device_give_the_same(several, decoder, channels):
    one, other = (
        batch(ChannelReader(TrainCrop(0.3), 32, named_channels(channels), dct), [Photo(p, decoder) for p in several])
        for dct in ("loader", "device")
    )
    assert one.shape == (11, len(named_channels(channels)), 4, 4)
    assert one.dtype == torch.float32
    assert torch.allclose(one, other, atol=1e-2)


@needs_turbojpeg
@pytest.mark.parametrize("dct", ["loader", "device"])
def test_photographs_of_a_batch_do_not_depend_on_each_other(several, dct):
    reader = ChannelReader(CenterCrop(0.9), 32, ALL, dct)
    photos = [Photo(p, "turbojpeg") for p in several]
    assert torch.allclose(batch(reader, photos), torch.cat([batch(reader, [p]) for p in photos]), atol=1e-2)


@needs_turbojpeg
@pytest.mark.parametrize("dct", ["loader", "device"])
def test_grey_among_coloured_photographs(tmp_path, several, dct):
    reader = ChannelReader(CenterCrop(0.9), 32, ALL, dct)
    photos = [photo(tmp_path, encode_jpeg(waves(75, 53), "grey")), *(Photo(p, "turbojpeg") for p in several[:3])]
    assert torch.allclose(batch(reader, photos), torch.cat([batch(reader, [p]) for p in photos]), atol=1e-2)


@needs_turbojpeg
@pytest.mark.parametrize("decoder", DECODERS)
def test_grey_has_zero_chroma(tmp_path, decoder):
    channels = batch(
        ChannelReader(CenterCrop(1.0), 32, ALL), [photo(tmp_path, encode_jpeg(waves(75, 53), "grey"), decoder)]
    )
    assert channels[:, :64].abs().max() > 10
    assert channels[:, 64:].abs().max() <= 1e-2


@needs_turbojpeg
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_decoders_agree(tmp_path, sampling):
    data = encode_jpeg(waves(157, 115, noise=5), sampling, orientation=6)
    photos = [photo(tmp_path, data, decoder) for decoder in ("pillow", "turbojpeg")]
    theirs, ours = (p.planes()[0].samples.astype(int) for p in photos)
    assert np.abs(theirs - ours).max() <= 1
    kept = ALL if sampling in ("4:4:4", "grey") else named_channels("luma")
    one, other = (batch(ChannelReader(TrainCrop(0.3), 64, kept), [p]) for p in photos)
    # A level in all 64 samples of a block.
    assert (one - other).abs().max() <= 8


@needs_turbojpeg
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:0", "grey"])
def test_channels_are_the_dct_of_what_pillow_crops_and_resizes(tmp_path, decoder, sampling):
    kept = ChannelSet("x", (0, 9, 27, 63, 64, 129, 130))
    data = encode_jpeg(waves(100, 75), sampling)
    found = batch(ChannelReader(CenterCrop(0.8), 48, kept), [photo(tmp_path, data, decoder)])
    image = Image.open(tmp_path / "a.jpg").convert("RGB").convert("YCbCr")
    pixels = image.resize((48, 48), Image.Resampling.BILINEAR, box=CenterCrop(0.8).box(100, 75, None))
    expected = PlanesToChannels(kept)(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None])
    assert (found - expected).abs().max() <= 8


@needs_turbojpeg
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(("side", "denominator"), [(512, 8), (300, 4), (200, 2)])
def test_scaled_decoding_reads_less_and_changes_little(tmp_path, decoder, side, denominator, monkeypatch):
    picture = np.asarray(Image.fromarray(waves(64, 64)).resize((side, side), Image.Resampling.BICUBIC))
    data = encode_jpeg(picture, "4:4:4")
    reader, whole = ChannelReader(CenterCrop(1.0), 64, ALL), (0.0, 0.0, float(side), float(side))
    scaled = photo(tmp_path, data, decoder)
    assert cut(scaled, whole, 64, 64).luma.shape == (-(-side // denominator),) * 2
    found = batch(reader, [scaled])
    monkeypatch.setattr(readers, "choose_denominator", lambda *_: 1)
    full = photo(tmp_path, data, decoder)
    assert cut(full, whole, 64, 64).luma.shape == (side, side)
    difference = [block_idct(c.unflatten(1, (3, 64))) for c in (found, batch(reader, [full]))]
    difference = (difference[0] - difference[1]).abs()
    assert difference.mean() <= 0.5
    assert difference.max() <= 4


@needs_turbojpeg
def test_subsampled_chroma_stops_scaling_where_its_detail_is_kept(tmp_path):
    data, whole = encode_jpeg(waves(512, 512), "4:2:0"), (0.0, 0.0, 512.0, 512.0)

    def chroma(decoder: str, names: tuple[int, ...]) -> int:
        share = chroma_share(ChannelSet("x", names))
        return cut(photo(tmp_path, data, decoder), whole, 64, 64, share).chroma.shape[1]

    assert chroma_share(ALL) == 1
    assert chroma_share(named_channels("luma")) == 0
    fine, coarse = (0, 64, 64 + 63), (0, 64, 64 + 9)
    assert chroma("turbojpeg", fine) == 64  # as many as the output has
    assert chroma("turbojpeg", coarse) == 32
    assert chroma("pillow", fine) == 64  # enlarged by libjpeg, which decodes no less of it


def test_cut_has_what_the_filter_reaches_and_little_more(tmp_path):
    Image.fromarray(waves(400, 300)).save(tmp_path / "a.png")
    one = cut(Photo(tmp_path / "a.png"), (100.0, 50.0, 220.0, 170.0), 64, 64)
    assert one.luma.shape == one.chroma.shape[1:] == (124, 124)
    assert one.luma_box == one.chroma_box == (2.0, 2.0, 122.0, 122.0)


@pytest.mark.parametrize("decoder", DECODERS)
def test_flipped_channels_are_those_of_the_mirrored_photograph(tmp_path, decoder):
    Image.fromarray(waves(70, 60)).save(tmp_path / "a.png")
    ImageOps.mirror(Image.open(tmp_path / "a.png")).save(tmp_path / "b.png")
    reader = ChannelReader(CenterCrop(0.9), 32, ALL, "device")
    one, other = (
        reader.sample(Photo(tmp_path / name, decoder), np.random.default_rng(0))[0] for name in ("a.png", "b.png")
    )
    found = reader.to_device(reader.collate([(one, True), (one, False)]))
    expected = reader.to_device(reader.collate([(other, False), (other, True)]))
    assert torch.allclose(found, expected, atol=1e-2)


@needs_turbojpeg
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("sampling", SMOOTH)
def test_rgb_is_what_pillow_shows(tmp_path, decoder, sampling):
    data = encode_jpeg(waves(100, 75), sampling, orientation=8)
    found = batch(RGBReader(CenterCrop(0.8), 48), [photo(tmp_path, data, decoder)])
    image = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")).convert("RGB")
    box = CenterCrop(0.8).box(*image.size, None)
    expected = np.asarray(image.resize((48, 48), Image.Resampling.BILINEAR, box=box))
    assert found.shape == (1, 3, 48, 48)
    assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).max() <= 6


def test_rgb_flips_pixels(tmp_path):
    Image.fromarray(waves(64, 64)).save(tmp_path / "a.png")
    reader = RGBReader(TrainCrop(1.0), 64)
    straight, mirrored = (reader.sample(Photo(tmp_path / "a.png"), np.random.default_rng(s)) for s in (0, 1))
    assert torch.equal(straight.flip(-1), mirrored)
    assert not torch.equal(straight, mirrored)


@needs_turbojpeg
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sampling", SMOOTH)
def test_odd_sizes_are_upright_as_pillow_turns_them(tmp_path, sampling, orientation):
    for size in ((61, 47), (62, 47), (64, 48), (67, 50)):
        ours = photo(tmp_path, encode_jpeg(waves(*size), sampling, orientation))
        expected = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")).convert("YCbCr")
        assert ours.refused is None
        assert (ours.width, ours.height) == expected.size
        assert np.abs(see(ours).astype(int) - np.asarray(expected).astype(int)).max() <= 4


@needs_turbojpeg
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sampling", ["4:2:0", "4:4:0", "4:1:1"])
def test_samples_are_the_means_of_the_pixels_that_they_span(tmp_path, sampling, orientation):
    ours = photo(tmp_path, encode_jpeg(waves(131, 93), sampling, orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg")).convert("YCbCr")).astype(float)
    for denominator in (1, 2, 4, 8):
        for number, plane in enumerate(ours.planes(denominator)):
            assert np.abs(plane.samples - spanned(expected[..., number], plane))[1:-1, 1:-1].max() <= 3


def spanned(pixels: np.ndarray, plane: Plane) -> np.ndarray:
    rows, columns = plane.samples.shape
    below, right = (
        plane.top + rows * plane.down - pixels.shape[0],
        plane.left + columns * plane.across - pixels.shape[1],
    )
    padded = np.pad(pixels, ((-plane.top, below), (-plane.left, right)), mode="edge")
    return padded.reshape(rows, plane.down, columns, plane.across).mean((1, 3))
