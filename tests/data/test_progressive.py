"""Progressive sizes: smaller crops of the same regions in early epochs, for every source of the input."""

import numpy as np
import pytest
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.manifest import read_manifest
from dctnet.data.packed.reader import PackedDataset, choose_channels
from dctnet.data.progressive import CropSizes, crop_sizes, parse_shares
from dctnet.errors import UserError
from tests.conftest import needs_turbojpeg
from tests.data.packed.conftest import pack_small

SOURCES = {
    "channels": {"channels": "square-24"},
    "device": {"channels": "square-24", "dct": "device"},
    "rgb": {"input": "rgb"},
    "coefficients": {"channels": "square-24", "source": "coefficients"},
    "disk": {"channels": "square-24"},
    "ram": {"residency": "ram"},
    "moved": {"residency": "device"},
}
each_source = pytest.mark.parametrize(
    "source", [pytest.param(name, marks=[needs_turbojpeg] if name == "coefficients" else []) for name in SOURCES]
)


@pytest.fixture(scope="module")
def store(photos, tmp_path_factory):
    return pack_small(photos, tmp_path_factory.mktemp("progressive") / "store", scales=[16, 32, 40, 64])


@pytest.fixture
def module(photos, store):
    """A data module of photographs or of the store; crops of 32 pixels, and of less in early epochs."""

    def build(source, **options):
        stored = source in ("disk", "ram", "moved")
        shared = {"image_size": 32, "batch_size": 4, "num_workers": 0, **({} if stored else {"crop_fraction": 1.0})}
        return FrequencyDataModule(str(store if stored else photos), **shared, **SOURCES[source], **options)

    return build


def deliver(data, epoch, epochs=6):
    data.crop_sizes.plan(epochs)
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0)["input"] for batch in loader]


@each_source
def test_batches_of_each_epoch_have_the_size_of_its_part_of_the_training(module, source):
    data = module(source, progressive="0.5,0.75,1")
    blocks = 8 if SOURCES[source].get("input") == "rgb" else 1
    for epoch, side in enumerate((2, 2, 3, 3, 4, 4)):
        assert {batch.shape[-2:] for batch in deliver(data, epoch)} == {(side * blocks, side * blocks)}
    data.setup("fit")
    full = {data.on_after_batch_transfer(b, 0)["input"].shape[-1] for b in data.val_dataloader()}
    assert full == {4 * blocks}


@each_source
def test_full_size_epochs_and_statistics_are_those_without_progressive_sizes(module, source):
    data, plain = module(source, progressive=[0.5, 1.0]), module(source)
    for one, other in zip(deliver(data, 3), deliver(plain, 3), strict=True):
        assert torch.equal(one, other)
    data.crop_sizes.epochs = 0
    before = plain.channel_statistics()
    for epochs in (0, 6):  # before and after the trainer is known
        data.crop_sizes.epochs = epochs
        assert all(map(torch.equal, data.channel_statistics(), before))


@pytest.mark.parametrize("source", ["channels", "device"])
def test_a_small_crop_of_a_photograph_shows_the_same_region(module, source):
    # DC is 8 × the mean of a block: the mean of all blocks is that of the region.
    data, plain = (module(source, progressive=shares) for shares in ("0.5,1", None))
    for small, full in zip(deliver(data, 0), deliver(plain, 0), strict=True):
        assert small.shape[-1] == 2
        assert full.shape[-1] == 4
        assert (small[:, 0].mean((1, 2)) - full[:, 0].mean((1, 2))).abs().max() < 12


def test_a_small_crop_on_pixels_is_the_same_region_resized(module):
    data, plain = (module("rgb", progressive=shares) for shares in ("0.5,1", None))
    for small, full in zip(deliver(data, 0), deliver(plain, 0), strict=True):
        resized = torch.nn.functional.interpolate(full, size=(16, 16), mode="bilinear", antialias=True)
        assert (small - resized).abs().mean() < 2


def test_batches_read_ahead_by_workers_have_the_size_of_their_epoch(module):
    sequential, workers = module("channels", progressive="0.5,0.75,1"), module("channels", progressive="0.5,0.75,1")
    workers.hparams["num_workers"] = 2
    for data in (sequential, workers):
        data.crop_sizes.plan(3)
    loaders = sequential.train_dataloader(), workers.train_dataloader()  # the workers persist
    for epoch in range(3):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)
        for one, other in zip(*loaders, strict=True):
            assert torch.equal(one["payload"]["channels"], other["payload"]["channels"])
            assert one["payload"]["channels"].shape[-1] == (2, 3, 4)[epoch]


def test_a_store_is_cut_at_the_scale_at_which_a_small_crop_covers_most_nearly_the_same_share(store):
    manifest = read_manifest(store)
    dataset = PackedDataset(
        manifest, "train", choose_channels(manifest, None), 32, 1.0, "disk", 0, CropSizes([16, 24, 32])
    )
    assert dataset.scales == [16, 32, 40, 64]
    scale_of = {side: [dataset.scales[i] for i in places] for side, places in dataset._scales.items()}
    # Scales of the full crop: 32, 40 and 64 px. A crop of 16 px covers the same share at 16, 20 and 32 px.
    assert scale_of == {2: [16, 16, 32], 3: [32, 32, 40], 4: [32, 40, 64]}


def test_small_scales_of_a_store_are_for_small_crops_only(store):
    manifest = read_manifest(store)
    dataset = PackedDataset(manifest, "train", choose_channels(manifest, None), 32, 1.0, "disk", 0)
    assert dataset.scales == [32, 40, 64]


def test_each_size_has_an_equal_part_of_the_epochs():
    sizes = CropSizes([8, 16, 24])
    assert sizes.at(0) == 24  # before the number of epochs is known
    sizes.plan(24)
    assert [sizes.at(epoch) for epoch in range(24)] == [8] * 8 + [16] * 8 + [24] * 8
    assert sizes.at(2**31 - 1) == 24
    sizes.plan(4)
    assert [sizes.at(epoch) for epoch in range(4)] == [8, 8, 16, 24]


@pytest.mark.parametrize(("epochs", "message"), [(2, "3 sizes need at least 3 epochs, got 2"), (-1, "max_epochs")])
def test_a_training_needs_epochs_to_divide(epochs, message):
    with pytest.raises(UserError, match=message):
        CropSizes([8, 16, 24]).plan(epochs)
    CropSizes([24]).plan(epochs)


@pytest.mark.parametrize(
    "given", ["0.5,0.5,1", "0.75,0.5,1", "0.5,0.75", "0,1", "0.5,x,1", "", "0.5,nan,1", "0.5,1,2", [-1.0, 1.0], []]
)
def test_shares_must_rise_to_1(given):
    with pytest.raises(UserError, match="--data.progressive must be shares of --data.image_size that rise to 1"):
        parse_shares(given)


def test_a_list_and_a_text_are_the_same():
    assert parse_shares("0.5,0.75,1") == parse_shares([0.5, 0.75, 1]) == [0.5, 0.75, 1.0]


def test_sizes_are_the_shares_to_the_nearest_pixel_and_whole_blocks():
    assert crop_sizes([0.571, 0.786, 1.0], 224).sizes == (128, 176, 224)
    assert crop_sizes([0.571, 0.786, 1.0], 112).sizes == (64, 88, 112)
    assert crop_sizes([0.6, 0.8, 1.0], 160).sizes == (96, 128, 160)
    assert crop_sizes(None, 224).sizes == (224,)


@pytest.mark.parametrize(
    ("shares", "size", "message"),
    [
        (
            "0.6,0.8,1",
            224,
            r"0.6 of --data.image_size 224 is 134 px, no .* 8; the nearest are 0.5714 \(128 px\) and 0.6071",
        ),
        ("0.01,1", 224, r"is 2 px, no multiple of 8; the nearest are 0.03571 \(8 px\)"),
    ],
)
def test_sizes_that_are_no_whole_blocks_are_refused_with_the_nearest_that_are(photos, shares, size, message):
    with pytest.raises(UserError, match=message):
        FrequencyDataModule(str(photos), image_size=size, progressive=shares)


def test_the_nearest_shares_that_a_message_names_are_accepted():
    for size in range(16, 2048, 8):
        for blocks in range(1, size // 8 + 1):
            assert crop_sizes([float(f"{8 * blocks / size:.4g}")], size).sizes == (8 * blocks,)


def test_draws_of_a_store_are_those_without_progressive_sizes(store):
    manifest = read_manifest(store)
    shared = manifest, "train", choose_channels(manifest, None), 32, 1.0, "disk", 0
    plain, sized = PackedDataset(*shared), PackedDataset(*shared, CropSizes([16, 32]))
    indices = np.arange(len(plain))
    (scale, *places), (scale_too, *places_too) = (each._draw(5, indices, 4) for each in (plain, sized))
    assert [plain.scales[i] for i in scale] == [sized.scales[i] for i in scale_too]
    assert all(map(np.array_equal, places, places_too))
