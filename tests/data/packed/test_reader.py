"""A packed store as a data set: the same crops as slicing by hand gives, from wherever it is read, on any rank."""

import numpy as np
import pytest
import torch
from dctnet.data.packed.index import read_index

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.manifest import index_file, read_manifest, shard_file
from dctnet.data.packed.schema import StoreError
from dctnet.errors import UserError
from dctnet.frequency.dct import flip_blocks
from dctnet.frequency.selections import named_channels

SIDE = 4  # blocks of a crop of 32 pixels


def module(root, **options):
    return FrequencyDataModule(str(root), **{"batch_size": 4, **options})


def deliver(data, loader):
    """Batches as the trainer would hand them to the model."""
    return [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in loader]


def epoch_of(data, epoch=0):
    """Input of each training sample that an epoch gives, by its place."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return by_place(deliver(data, loader))


def by_place(batches):
    return {int(i): x for batch in batches for i, x in zip(batch["index"], batch["input"], strict=True)}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[i], other[i]) for i in one)


def whole_images(root, split):
    """Channels of each image at each scale, (K, rows, columns), in ascending order of the channels."""
    manifest, images = read_manifest(root), []
    order = np.argsort(manifest.channels)
    steps = torch.tensor(manifest.steps)[:, None, None]
    for shard in manifest.splits[split].shards:
        flat, place = np.fromfile(shard_file(manifest.root, shard), manifest.dtype.newbyteorder("<")), 0
        for entry in read_index(manifest, shard):
            scales = []
            for rows, columns in entry["blocks"]:
                count = len(order) * rows * columns
                whole = torch.from_numpy(flat[place : place + count].reshape(len(order), rows, columns).copy())
                scales.append((whole.float() * steps)[order])
                place += count
            images.append(scales)
    return images


def find(crop, scales, channels, side=SIDE):
    """Every (scale, top, left, flip) at which a crop lies in an image."""
    found = []
    for number, whole in enumerate(scales):
        for top in range(whole.shape[1] - side + 1):
            for left in range(whole.shape[2] - side + 1):
                part = whole[None, :, top : top + side, left : left + side]
                for flip in (False, True):
                    if torch.equal(flip_blocks(part, channels, torch.tensor([flip]))[0], crop):
                        found.append((number, top, left, flip))
    return found


def poison(root, keep):
    """Damages all that lies behind the first channels of every image."""
    manifest = read_manifest(root)
    for split in manifest.splits.values():
        for shard in split.shards:
            flat, place = np.fromfile(shard_file(manifest.root, shard), manifest.dtype), 0
            for entry in read_index(manifest, shard):
                for rows, columns in entry["blocks"]:
                    end = place + len(manifest.channels) * rows * columns
                    flat[place + keep * rows * columns : end] = -77
                    place = end
            flat.tofile(shard_file(manifest.root, shard))


def test_store_needs_no_options(store, photos):
    data = module(store)
    batch = deliver(data, data.train_dataloader())[0]
    assert batch["input"].shape == (4, 24, SIDE, SIDE)
    assert batch["input"].dtype == torch.float32
    assert batch["target"].dtype == torch.long
    assert data.channel_set.indices == named_channels("square-24").indices
    assert (data.size, data.hparams["crop_fraction"]) == (32, 0.875)
    assert data.class_names == ["blue", "green", "red"]
    photographs = module(photos)
    for split in ("train", "val"):
        assert [str(photos / path) for path in data.files(split).paths] == list(photographs.files(split).paths)
        assert data.files(split).targets == photographs.files(split).targets


@pytest.mark.parametrize("channels", [None, "square-12", "first-5"])
def test_training_crops_are_windows_of_what_is_stored(store, channels):
    data, images = module(store, channels=channels, batch_size=6), whole_images(store, "train")
    stored = sorted(read_manifest(store).channels)
    places = [stored.index(c) for c in data.channel_set.indices]
    lies = []
    for epoch in range(3):
        for index, crop in epoch_of(data, epoch).items():
            found = find(crop, [whole[places] for whole in images[index]], data.channel_set.indices)
            assert len(found) == 1
            lies += found
    scales, tops, lefts, flips = (set(values) for values in zip(*lies, strict=True))
    assert scales == {0, 1, 2}
    assert flips == {False, True}
    assert len(tops) > 3
    assert len(lefts) > 3


def test_every_place_and_scale_is_drawn_as_often(store):
    data = module(store)
    dataset, count = data._dataset("train"), len(data.files("train"))
    draws = [dataset._draw(epoch, np.arange(count)) for epoch in range(200)]
    scale, top, left, flip = (np.concatenate(part) for part in zip(*draws, strict=True))
    assert np.allclose(np.bincount(scale) / len(scale), 1 / 3, atol=0.02)
    assert abs(flip.mean() - 0.5) < 0.02
    room = np.concatenate([dataset._blocks[np.arange(count), s] for s, *_ in draws]) - SIDE
    for drawn, most in ((top, room[:, 0]), (left, room[:, 1])):
        assert (drawn <= most).all()
        assert drawn[most == 2].size
        assert np.allclose(np.bincount(drawn[most == 2]) / np.sum(most == 2), 1 / 3, atol=0.04)


def test_evaluation_takes_the_central_crop_in_order(store):
    data, images = module(store), whole_images(store, "val")
    batches = deliver(data, data.val_dataloader())
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(15))
    for index, crop in by_place(batches).items():
        (whole,) = images[index]
        top, left = ((length - SIDE) // 2 for length in whole.shape[1:])
        assert torch.equal(crop, whole[:, top : top + SIDE, left : left + SIDE])


@pytest.mark.parametrize("residency", ["ram", "device"])
@pytest.mark.parametrize(
    "options", [{}, {"channels": "first-5"}, {"channels": "first-23"}, {"image_size": 40, "crop_fraction": 1.0}]
)
def test_batches_do_not_depend_on_where_the_store_is_read_from(store, residency, options):
    # The first batch, too: what is closed up in memory lies elsewhere from then on.
    near, far = (module(store, residency=where, seed=3, **options) for where in (residency, "disk"))
    for loader in ("train_dataloader", "val_dataloader"):
        pairs = zip(deliver(near, getattr(near, loader)()), deliver(far, getattr(far, loader)()), strict=True)
        for a, b in pairs:
            assert torch.equal(a["input"], b["input"])
            assert torch.equal(a["target"], b["target"])
            assert torch.equal(a["index"], b["index"])


def test_store_follows_to_another_device(store):
    data = module(store, residency="device")
    dataset = data._dataset("train")
    batch = dataset.__getitems__([(0, 0), (0, 1)])
    before = dataset.to_device(batch["payload"])
    # Statistics are taken on the CPU, before the trainer has moved to its device; meta stands for one.
    places = {key: batch["payload"][key].to("meta") for key in ("corner", "blocks")}
    moved = dataset.to_device({**places, "flip": torch.zeros(2, dtype=torch.bool)})
    assert moved.device.type == "meta"
    assert moved.shape == before.shape


def test_same_statistics_from_wherever_it_is_read(store):
    found = [module(store, residency=where).channel_statistics() for where in ("disk", "ram", "device")]
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
    inputs = torch.stack(list(epoch_of(module(store, batch_size=36), 2**31 - 1).values()))
    assert torch.allclose(found[0][0], inputs.mean((0, 2, 3)), atol=1e-3)


@pytest.mark.parametrize("count", [1, 5, 23])
def test_first_channels_are_the_most_important_and_the_rest_is_never_read(store, own_store, count):
    poison(own_store, count)
    few, clean = module(own_store, channels=f"first-{count}"), module(store)
    stored = clean.store.channels
    assert few.channel_set.indices == tuple(sorted(stored[:count]))
    places = [sorted(stored).index(c) for c in few.channel_set.indices]
    assert same(epoch_of(few), {i: x[places] for i, x in epoch_of(clean).items()})
    assert not same(epoch_of(module(own_store)), epoch_of(clean))


@pytest.mark.parametrize("residency", ["ram", "device"])
def test_damage_anywhere_is_found_where_all_is_read(own_store, residency):
    poison(own_store, 5)
    data = module(own_store, channels="first-5", residency=residency)
    with pytest.raises(StoreError, match="changed since it was packed") as caught:
        deliver(data, data.train_dataloader())
    assert "\n" not in str(caught.value)


def test_epochs_and_seeds_draw_other_crops_and_the_same_ones_again(store):
    data = module(store)
    first, second = epoch_of(data, 0), epoch_of(data, 1)
    changed = sum(not torch.equal(first[i], second[i]) for i in first)
    assert changed > 0.8 * len(first)
    assert same(epoch_of(data, 0), first)
    assert same(epoch_of(module(store, batch_size=6), 0), first)
    assert not same(epoch_of(module(store, seed=1), 0), first)


def test_two_ranks_see_what_one_sees(store, monkeypatch):
    one = epoch_of(module(store, batch_size=8), 2)
    order = [int(i) for batch in module_batches(store, monkeypatch, 0, 1, 8) for i in batch["index"]]
    parts, orders = [], []
    for rank in range(2):
        batches = module_batches(store, monkeypatch, rank, 2, 4)
        parts.append(by_place(batches))
        orders.append([int(i) for batch in batches for i in batch["index"]])
    assert [i for pair in zip(*orders, strict=True) for i in pair] == order
    assert not parts[0].keys() & parts[1].keys()
    assert same({**parts[0], **parts[1]}, one)


def module_batches(store, monkeypatch, rank, world, batch_size):
    data = module(store, batch_size=batch_size)
    monkeypatch.setattr(data, "_rank", lambda: (rank, world))
    loader = data.train_dataloader()
    loader.sampler.set_epoch(2)
    return deliver(data, loader)


@pytest.mark.parametrize("world", [2, 4])
def test_evaluation_on_several_ranks_leaves_none_out_and_takes_none_twice(store, monkeypatch, world):
    seen = []
    for rank in range(world):
        data = module(store)
        monkeypatch.setattr(data, "_rank", lambda rank=rank: (rank, world))
        seen += [int(i) for batch in deliver(data, data.val_dataloader()) for i in batch["index"]]
    assert sorted(seen) == list(range(15))


def test_smaller_crops_than_packed_for_need_the_scale_of_their_central_square(store):
    data = module(store, image_size=24, crop_fraction=24 / 40)
    batch = deliver(data, data.val_dataloader())[0]
    assert batch["input"].shape == (4, 24, 3, 3)
    (whole,) = whole_images(store, "val")[0]
    top, left = ((length - 3) // 2 for length in whole.shape[1:])
    assert torch.equal(batch["input"][0], whole[:, top : top + 3, left : left + 3])
    assert all(x.shape == (24, 3, 3) for x in epoch_of(data).values())


def test_larger_crops_than_packed_for_come_from_the_scales_that_hold_them(store):
    data, images = module(store, image_size=40, crop_fraction=1.0), whole_images(store, "train")
    for index, crop in epoch_of(data).items():
        assert {scale for scale, *_ in find(crop, images[index], data.channel_set.indices, 5)} <= {1, 2}


def test_trained_networks_order_of_classes_is_kept(store):
    data = module(store)
    data.class_names = ["red", "violet", "green", "blue"]
    plain = module(store).files("val").targets
    assert data.files("val").targets == tuple({0: 3, 1: 2, 2: 0}[target] for target in plain)
    batches = deliver(data, data.val_dataloader())
    assert tuple(torch.cat([batch["target"] for batch in batches]).tolist()) == data.files("val").targets
    lacking = module(store)
    lacking.class_names = ["red", "green"]
    with pytest.raises(UserError, match="class 'blue' is not among the 2 of training"):
        lacking.files("val")


def test_what_read_the_pixels_goes_into_the_checkpoint(store):
    assert module(store).state_dict()["decoder"] == read_manifest(store).content["decoder"]


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
def test_options_that_a_store_cannot_serve_are_refused_at_once(store, options, message):
    with pytest.raises(UserError, match=message) as caught:
        module(store, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "stage", "message"),
    [
        ({"channels": "square-48"}, "fit", "24 of the 48 channels of square-48 are not .*such as 4"),
        ({"channels": [0, 63]}, "fit", "1 of the 2 channels of listed are not .*such as 63"),
        ({"image_size": 56}, "fit", r"packed at \[32, 40, 48\] px, too small for crops of 56"),
        ({"crop_fraction": 1.0}, "validate", r"val is packed at \[40\] px.* needs 32: --data.crop_fraction 0.8"),
        ({}, "test", "no split 'test' in this store, it has train, val"),
    ],
)
def test_what_was_not_packed_is_told_before_a_stage_starts(store, options, stage, message):
    with pytest.raises(UserError, match=message) as caught:
        module(store, **options).setup(stage)
    assert str(store) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_crop_fraction_that_the_message_gives_works(store):
    module(store, crop_fraction=0.8).setup("validate")


def test_prediction_needs_photographs(store):
    with pytest.raises(UserError, match="dctnet predict reads photographs, dctnet validate a store"):
        module(store).files("predict")


def test_order_of_channels_belongs_to_stores(photos):
    with pytest.raises(UserError, match="first-5 needs a packed store"):
        module(photos, channels="first-5")


def test_store_larger_than_memory_is_refused_in_ram_only(store, monkeypatch):
    monkeypatch.setattr("dctnet.data.packed.reader.physical_memory", lambda: 1000)
    assert epoch_of(module(store))
    with pytest.raises(StoreError, match="do not fit into .*--data.residency disk"):
        epoch_of(module(store, residency="ram"))


def test_index_changed_after_the_start_is_found_by_the_next(own_store):
    data = module(own_store)
    shard = data.store.splits["val"].shards[0]
    path = index_file(own_store, shard)
    path.write_bytes(path.read_bytes().replace(b'"target": 0', b'"target": 2'))
    with pytest.raises(StoreError, match="its checksum is not the manifest's"):
        data.setup("validate")


@pytest.mark.parametrize("residency", ["disk", "ram", "device"])
def test_shard_of_which_all_images_were_left_out(own_photos, tmp_path, pack_small, residency):
    spoilt = sorted((own_photos / "train").rglob("*.jpg"))[1]
    spoilt.write_bytes(spoilt.read_bytes()[:-300])
    root = pack_small(own_photos, tmp_path / "out", on_error="skip", shard_bytes=1)
    assert any(path.stat().st_size == 0 for path in root.glob("train-*.bin"))
    data = module(root, residency=residency)
    assert sum(len(batch["target"]) for batch in deliver(data, data.train_dataloader())) == 16
