"""A packed store as a data set: crops equal to slices of what is stored, for every residency and on every rank."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.manifest import StoreError, read_manifest, shard_file
from dctnet.data.packed.reader import PackedDataset, choose_channels
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import flip_blocks
from dctnet.frequency.selections import named_channels
from tests.data.packed.conftest import pack_small, stored_images

SIDE = 4  # blocks of a crop of 32 pixels


def module(root, **options):
    return FrequencyDataModule(str(root), **{"batch_size": 4, **options})


def transferred(data, loader):
    """Batches as the trainer passes them to the model."""
    return [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in loader]


def epoch_of(data, epoch=0):
    """Input of each training sample of an epoch, by index."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return by_index(transferred(data, loader))


def by_index(batches):
    return {int(i): x for batch in batches for i, x in zip(batch["index"], batch["input"], strict=True)}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[i], other[i]) for i in one)


def channels_of(root, split):
    """Channels of each image at each scale, (K, rows, columns), in ascending order of the channels."""
    manifest = read_manifest(root)
    order = np.argsort(manifest.channels)
    steps = torch.tensor(manifest.steps)[:, None, None]
    images = stored_images(root, split)
    return [[(torch.from_numpy(s.astype(np.float32)) * steps)[order] for s in scales] for _, scales in images]


def find(crop, scales, channels, side=SIDE):
    """Every (scale, top, left, flip) at which a crop is found in an image."""
    found = []
    for number, whole in enumerate(scales):
        for top in range(whole.shape[1] - side + 1):
            for left in range(whole.shape[2] - side + 1):
                part = whole[None, :, top : top + side, left : left + side]
                for flip in (False, True):
                    if torch.equal(flip_blocks(part, channels, torch.tensor([flip]))[0], crop):
                        found.append((number, top, left, flip))
    return found


def center(whole, side):
    top, left = ((length - side) // 2 for length in whole.shape[1:])
    return whole[:, top : top + side, left : left + side]


def overwrite(root, keep):
    """Overwrites all but the first channels of every training image."""
    manifest = read_manifest(root)
    arrays = [array for _, scales in stored_images(root, "train") for array in scales]
    for array in arrays:
        array[keep:] = -77
    flat = np.concatenate([array.ravel() for array in arrays])
    for shard in manifest.splits["train"].shards:
        part, flat = np.split(flat, [shard.size // manifest.dtype.itemsize])
        part.tofile(shard_file(manifest.root, shard))


def test_store_needs_no_options(store, photos):
    data, photographs = module(store), module(photos)
    batch = transferred(data, data.train_dataloader())[0]
    assert batch["input"].shape == (4, 24, SIDE, SIDE)
    assert batch["input"].dtype == torch.float32
    assert batch["target"].dtype == torch.long
    assert data.channel_set.indices == named_channels("square-24").indices
    assert (data.size, data.hparams["crop_fraction"]) == (32, 0.875)
    assert data.class_names == ["blue", "green", "red"]
    assert data.state_dict()["decoder"] == read_manifest(store).content["decoder"]
    for split in ("train", "val"):
        assert [str(photos / path) for path in data.files(split).paths] == list(photographs.files(split).paths)
        assert tuple(data.files(split).targets) == photographs.files(split).targets


@pytest.mark.parametrize("channels", [None, "square-12", "first-5"])
def test_training_crops_are_windows_of_what_is_stored(store, channels):
    data, images = module(store, channels=channels, batch_size=6), channels_of(store, "train")
    stored = sorted(read_manifest(store).channels)
    positions = [stored.index(c) for c in data.channel_set.indices]
    crops = []
    for epoch in range(3):
        for index, crop in epoch_of(data, epoch).items():
            found = find(crop, [whole[positions] for whole in images[index]], data.channel_set.indices)
            assert len(found) == 1
            crops += found
    scales, tops, lefts, flips = (set(values) for values in zip(*crops, strict=True))
    assert scales == {0, 1, 2}
    assert flips == {False, True}
    assert len(tops) > 3
    assert len(lefts) > 3


def test_scales_positions_and_flips_are_equally_likely(store):
    manifest = read_manifest(store)
    dataset = PackedDataset(manifest, "train", choose_channels(manifest, None), 32, 1.0, "disk", 0)
    indices = np.arange(len(dataset))
    draws = [dataset._draw(epoch, indices, SIDE) for epoch in range(200)]
    scale, top, left, flip = (np.concatenate(part) for part in zip(*draws, strict=True))
    assert np.allclose(np.bincount(scale) / len(scale), 1 / 3, atol=0.02)
    assert abs(flip.mean() - 0.5) < 0.02
    largest = np.concatenate([dataset._layout.blocks(indices, s) for s, *_ in draws]) - SIDE
    for drawn, most in ((top, largest[:, 0]), (left, largest[:, 1])):
        assert (drawn <= most).all()
        assert drawn[most == 2].size
        assert np.allclose(np.bincount(drawn[most == 2]) / np.sum(most == 2), 1 / 3, atol=0.04)


def test_evaluation_takes_center_crops_in_order(store):
    data, images = module(store), channels_of(store, "val")
    batches = transferred(data, data.val_dataloader())
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(15))
    for index, crop in by_index(batches).items():
        assert torch.equal(crop, center(images[index][0], SIDE))


def test_crop_size_selects_the_scales_that_are_large_enough(store):
    smaller = module(store, image_size=24, crop_fraction=24 / 40)
    batch = transferred(smaller, smaller.val_dataloader())[0]
    assert torch.equal(batch["input"][0], center(channels_of(store, "val")[0][0], 3))
    assert all(x.shape == (24, 3, 3) for x in epoch_of(smaller).values())
    larger, images = module(store, image_size=40, crop_fraction=1.0), channels_of(store, "train")
    for index, crop in epoch_of(larger).items():
        assert {scale for scale, *_ in find(crop, images[index], larger.channel_set.indices, 5)} <= {1, 2}


@pytest.mark.parametrize("residency", ["ram", "device"])
@pytest.mark.parametrize(
    "options", [{}, {"channels": "first-5"}, {"channels": "first-23"}, {"image_size": 40, "crop_fraction": 1.0}]
)
def test_batches_do_not_depend_on_the_residency(store, residency, options):
    one, other = (module(store, residency=where, seed=3, **options) for where in (residency, "disk"))
    for loader in ("train_dataloader", "val_dataloader"):
        pairs = zip(transferred(one, getattr(one, loader)()), transferred(other, getattr(other, loader)()), strict=True)
        for a, b in pairs:
            assert all(torch.equal(a[key], b[key]) for key in ("input", "target", "index"))


def test_store_is_moved_to_the_device_of_the_payload(store):
    manifest = read_manifest(store)
    dataset = PackedDataset(manifest, "train", choose_channels(manifest, None), 32, 1.0, "device", 0)
    payload = dataset.__getitems__([(0, 0), (0, 1)])["payload"]
    before = dataset.to_device(payload)
    # The CPU serves statistics before the trainer moves to its device, for which meta is used here.
    positions = {key: payload[key].to("meta") for key in ("corner", "blocks")}
    moved = dataset.to_device({**payload, **positions})
    assert moved.device.type == "meta"
    assert moved.shape == before.shape


def test_statistics_do_not_depend_on_the_residency(store):
    found = [module(store, residency=where).channel_statistics() for where in ("disk", "ram", "device")]
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
    inputs = torch.stack(list(epoch_of(module(store, batch_size=36), 2**31 - 1).values()))
    assert torch.allclose(found[0][0], inputs.mean((0, 2, 3)), atol=1e-3)


@pytest.mark.parametrize("count", [1, 5, 23])
def test_first_channels_are_the_most_important_and_the_others_are_not_read(store, own_store, count):
    overwrite(own_store, count)
    few, intact = module(own_store, channels=f"first-{count}"), module(store)
    stored = intact.store.channels
    assert few.channel_set.indices == tuple(sorted(stored[:count]))
    positions = [sorted(stored).index(c) for c in few.channel_set.indices]
    assert equal(epoch_of(few), {i: x[positions] for i, x in epoch_of(intact).items()})
    assert not equal(epoch_of(module(own_store)), epoch_of(intact))


def test_crops_depend_on_seed_and_epoch_but_not_on_the_batch(store):
    data = module(store)
    first, second = epoch_of(data, 0), epoch_of(data, 1)
    assert sum(not torch.equal(first[i], second[i]) for i in first) > 0.8 * len(first)
    assert equal(epoch_of(data, 0), first)
    assert equal(epoch_of(module(store, batch_size=6), 0), first)
    assert not equal(epoch_of(module(store, seed=1), 0), first)


def training_batches(store, monkeypatch, rank, world, batch_size):
    data = module(store, batch_size=batch_size)
    monkeypatch.setattr(data, "_rank", lambda: (rank, world))
    loader = data.train_dataloader()
    loader.sampler.set_epoch(2)
    return transferred(data, loader)


def test_two_ranks_train_on_the_samples_of_one(store, monkeypatch):
    one = training_batches(store, monkeypatch, 0, 1, 8)
    parts = [training_batches(store, monkeypatch, rank, 2, 4) for rank in range(2)]
    orders = [[int(i) for batch in batches for i in batch["index"]] for batches in parts]
    assert [i for pair in zip(*orders, strict=True) for i in pair] == [int(i) for batch in one for i in batch["index"]]
    assert not {*orders[0]} & {*orders[1]}
    assert equal({**by_index(parts[0]), **by_index(parts[1])}, by_index(one))


def test_targets_follow_the_class_order_of_a_trained_network(store):
    data = module(store)
    data.class_names = ["red", "violet", "green", "blue"]
    plain = module(store).files("val").targets
    batches = transferred(data, data.val_dataloader())
    targets = torch.cat([batch["target"] for batch in batches]).tolist()
    assert targets == [{0: 3, 1: 2, 2: 0}[target] for target in plain]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["red"]}, "--data.classes is chosen when packing"),
        ({"per_class": 3}, "--data.per_class is chosen when packing"),
        ({"download": "planted"}, "--data.download is chosen when packing"),
        ({"val_fraction": 0.2}, "--data.val_fraction is chosen when packing"),
        ({"input": "rgb"}, "a packed store .*--model.input rgb needs the photographs"),
        ({"source": "coefficients"}, "--data.source coefficients reads JPEG files"),
        ({"channels": "first-25"}, r"--data.channels first-25: .* has 1…24 channels"),
        ({"channels": "first-0"}, r"--data.channels first-0: .* has 1…24 channels"),
        ({"channels": "squre-24"}, "square-24"),
    ],
)
def test_options_that_a_store_does_not_support_are_refused(store, options, message):
    with pytest.raises(UserError, match=message) as caught:
        module(store, **options)
    assert "\n" not in str(caught.value)


def test_prediction_needs_photographs_and_first_channels_need_a_store(store, photos):
    with pytest.raises(UserError, match="dctnet predict reads photographs, dctnet validate a store"):
        module(store).files("predict")
    with pytest.raises(UserError, match="first-5 needs a packed store"):
        module(photos, channels="first-5")


@pytest.mark.parametrize(
    ("options", "stage", "message"),
    [
        ({"channels": "square-48"}, "fit", "24 of the 48 channels of square-48 are not .*such as 4"),
        ({"channels": [0, 63]}, "fit", "1 of the 2 channels of listed are not .*such as 63"),
        ({"image_size": 56}, "fit", r"packed at \[32, 40, 48\] px, too small for crops of 56"),
        ({"crop_fraction": 1.0}, "validate", r"val is packed at \[40\] px.* needs 32 px: --data.crop_fraction 0.8"),
        ({}, "test", "no split 'test' in this store, it has train, val"),
    ],
)
def test_data_that_was_not_packed_is_refused_before_a_stage_starts(store, options, stage, message):
    with pytest.raises(UserError, match=message) as caught:
        module(store, **options).setup(stage)
    assert str(store) in str(caught.value)
    assert "\n" not in str(caught.value)
    module(store, crop_fraction=0.8).setup("validate")  # the value that one of the messages gives


def test_store_larger_than_the_memory_is_read_from_disk_only(store, monkeypatch):
    monkeypatch.setattr("dctnet.data.packed.storage.physical_memory", lambda: 1000)
    assert epoch_of(module(store))
    with pytest.raises(StoreError, match="do not fit into .*--data.residency disk"):
        epoch_of(module(store, residency="ram"))


@pytest.mark.parametrize("residency", ["disk", "ram", "device"])
def test_shard_whose_images_were_all_skipped_is_read(own_photos, tmp_path, residency):
    damaged = sorted((own_photos / "train").rglob("*.jpg"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-300])
    root = pack_small(own_photos, tmp_path / "out", on_error="skip", shard_bytes=1)
    assert any(path.stat().st_size == 0 for path in root.glob("train-*.bin"))
    dataset = PackedDataset(read_manifest(root), "train", ChannelSet("one", (0,)), 32, 1.0, residency, 0)
    batch = dataset.__getitems__([(0, i) for i in range(17)])
    assert dataset.to_device(batch["payload"]).shape == (17, 1, SIDE, SIDE)


@pytest.mark.parametrize("residency", ["disk", "ram", "device"])
def test_plain_indices_are_those_of_epoch_0(store, residency):
    data = module(store, residency=residency)
    data.setup("fit")
    loader = data.train_dataloader()
    plain = DataLoader(loader.dataset, 4, collate_fn=loader.dataset.collate)  # a SequentialSampler
    expected, found = epoch_of(data), by_index(transferred(data, plain))
    assert equal({i: found[i] for i in expected}, expected)
    assert loader.dataset[3]["index"].tolist() == [3]
    assert sum(1 for _ in loader.dataset) == len(loader.dataset)
