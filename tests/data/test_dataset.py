"""Samples do not depend on the process that makes them; ranks share them out."""

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from dctnet.data.dataset import PhotoDataset
from dctnet.data.folders import list_classes
from dctnet.data.pixels import ChannelReader
from dctnet.data.sampler import EpochSampler
from dctnet.data.transforms import TrainCrop
from dctnet.frequency.selections import named_channels
from tests.conftest import DECODERS


@pytest.mark.parametrize(("length", "world"), [(10, 1), (10, 3), (11, 2), (2, 4)])
def test_evaluation_sees_each_sample_once(length, world):
    dealt = [list(EpochSampler(length, None, False, 0, rank, world)) for rank in range(world)]
    assert sorted(i for part in dealt for _, i in part) == list(range(length))
    assert [len(EpochSampler(length, None, False, 0, rank, world)) for rank in range(world)] == [len(d) for d in dealt]


@pytest.mark.parametrize(
    ("length", "batch", "world", "kept"), [(10, 4, 1, 8), (21, 4, 2, 16), (3, 4, 1, 3), (7, 4, 2, 6)]
)
def test_training_gives_every_rank_the_same_number(length, batch, world, kept):
    dealt = [list(EpochSampler(length, batch, True, 0, rank, world)) for rank in range(world)]
    assert {len(d) for d in dealt} == {kept // world}
    assert len({i for part in dealt for _, i in part}) == kept


def test_each_epoch_has_its_own_order_and_says_which():
    sampler = EpochSampler(50, 1, True, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert {e for e, _ in second} == {1}
    assert [i for _, i in first] != [i for _, i in second]
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_order_is_the_same_on_one_and_two_ranks():
    one = [i for _, i in EpochSampler(20, 1, True, 5)]
    two = [[i for _, i in EpochSampler(20, 1, True, 5, rank, 2)] for rank in range(2)]
    assert [i for pair in zip(*two, strict=True) for i in pair] == one


def dataset_of(folder, classes, decoder="pillow", dct="loader"):
    reader = ChannelReader(TrainCrop(0.3), 32, named_channels("zigzag-24"), dct)
    return PhotoDataset(list_classes(folder, classes), reader, decoder, seed=4)


def batches(photos, workers, decoder, dct):
    dataset = dataset_of(photos / "train", ["blue", "green", "red"], decoder, dct)
    sampler = EpochSampler(len(dataset), 8, True, seed=4)
    return list(DataLoader(dataset, 8, sampler=sampler, num_workers=workers, collate_fn=dataset.collate))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dct", ["loader", "device"])
def test_samples_do_not_depend_on_the_number_of_workers(photos, decoder, dct):
    alone, helped = (batches(photos, workers, decoder, dct) for workers in (0, 2))
    assert len(alone) == len(helped) == 4
    for a, b in zip(alone, helped, strict=True):
        assert a["payload"].keys() == b["payload"].keys()
        assert all(torch.equal(a["payload"][name], b["payload"][name]) for name in a["payload"])
        assert torch.equal(a["target"], b["target"])


def test_each_epoch_has_its_own_crops(photos):
    dataset = dataset_of(photos / "train", ["blue"])
    first, again, second = (dataset.collate([dataset[epoch, 0]])["payload"]["channels"] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dct", ["loader", "device"])
def test_bad_file_stands_beside_the_batch(own_photos, decoder, dct):
    spoilt = own_photos / "train" / "blue" / "0.jpg"
    spoilt.write_bytes(b"not an image")
    dataset = dataset_of(own_photos / "train", ["blue", "green"], decoder, dct)
    batch = dataset.collate([dataset[0, i] for i in range(3)])
    assert dataset.to_device(batch["payload"]).shape == (2, 24, 4, 4)
    assert batch["index"].tolist() == [1, 2]
    assert [path for path, _ in batch["bad"]] == [str(spoilt)]


def test_batch_of_bad_files_is_empty(own_photos):
    for file in (own_photos / "train" / "blue").iterdir():
        file.write_bytes(b"")
    dataset = dataset_of(own_photos / "train", ["blue"])
    batch = dataset.collate([dataset[0, i] for i in range(2)])
    assert dataset.to_device(batch["payload"]).numel() == 0
    assert len(batch["target"]) == 0
    assert len(batch["bad"]) == 2


@pytest.mark.parametrize("decoder", DECODERS)
def test_what_libjpeg_turbo_refused_is_told_only_if_it_was_asked(own_photos, decoder):
    paint = own_photos / "train" / "blue" / "0.jpg"
    Image.open(paint).save(paint, format="PNG")
    dataset = dataset_of(own_photos / "train", ["blue"], decoder)
    batch = dataset.collate([dataset[0, i] for i in range(3)])
    assert batch["refused"] == ([(str(paint), "not a JPEG file")] if decoder == "turbojpeg" else [])
    assert not batch["bad"]
