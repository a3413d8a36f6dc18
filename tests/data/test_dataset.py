"""Samples do not depend on the process that makes them; ranks share them out."""

import pytest
import torch
from torch.utils.data import DataLoader

from dctnet.data.dataset import EpochSampler, PhotoDataset, collate
from dctnet.data.folders import list_classes
from dctnet.data.transforms import TrainCrop


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


def batches(photos, workers):
    dataset = PhotoDataset(list_classes(photos / "train", ["blue", "green", "red"]), TrainCrop(32, 0.3), seed=4)
    sampler = EpochSampler(len(dataset), 8, True, seed=4)
    return list(DataLoader(dataset, 8, sampler=sampler, num_workers=workers, collate_fn=collate))


def test_samples_do_not_depend_on_the_number_of_workers(photos):
    alone, helped = batches(photos, 0), batches(photos, 2)
    assert len(alone) == len(helped) == 4
    for a, b in zip(alone, helped, strict=True):
        assert torch.equal(a["planes"], b["planes"])
        assert torch.equal(a["target"], b["target"])


def test_bad_file_stands_beside_the_batch(own_photos):
    spoilt = own_photos / "train" / "blue" / "0.jpg"
    spoilt.write_bytes(b"not an image")
    dataset = PhotoDataset(list_classes(own_photos / "train", ["blue", "green"]), TrainCrop(32, 0.3), seed=0)
    batch = collate([dataset[0, i] for i in range(3)])
    assert batch["planes"].shape == (2, 3, 32, 32)
    assert batch["index"].tolist() == [1, 2]
    assert [path for path, _ in batch["bad"]] == [str(spoilt)]


def test_batch_of_bad_files_is_empty(own_photos):
    for file in (own_photos / "train" / "blue").iterdir():
        file.write_bytes(b"")
    dataset = PhotoDataset(list_classes(own_photos / "train", ["blue"]), TrainCrop(32, 0.3), seed=0)
    batch = collate([dataset[0, i] for i in range(2)])
    assert len(batch["target"]) == 0
    assert len(batch["bad"]) == 2
