"""Samples and batches of image files."""

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset

from dctnet.data.dataset import PhotoDataset
from dctnet.data.folders import list_classes
from dctnet.data.pixels import ChannelReader
from dctnet.data.sampler import EpochSampler
from dctnet.data.transforms import TrainCrop
from dctnet.frequency.selections import named_channels
from tests.conftest import DECODERS


def dataset_of(folder, classes, decoder="pillow", dct="loader"):
    reader = ChannelReader(TrainCrop(0.3), 32, named_channels("zigzag-24"), dct)
    return PhotoDataset(list_classes(folder, classes), reader, decoder, seed=4, split="train")


def batches(photos, workers, decoder, dct):
    dataset = dataset_of(photos / "train", ["blue", "green", "red"], decoder, dct)
    sampler = EpochSampler(len(dataset), 8, True, seed=4)
    return list(DataLoader(dataset, 8, sampler=sampler, num_workers=workers, collate_fn=dataset.collate))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dct", ["loader", "device"])
def test_samples_do_not_depend_on_the_number_of_workers(photos, decoder, dct):
    one, two = (batches(photos, workers, decoder, dct) for workers in (0, 2))
    assert len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        assert a["payload"].keys() == b["payload"].keys()
        assert all(
            torch.equal(torch.as_tensor(a["payload"][name]), torch.as_tensor(b["payload"][name]))
            for name in a["payload"]
        )
        assert torch.equal(a["target"], b["target"])


def test_each_epoch_has_its_own_crops(photos):
    dataset = dataset_of(photos / "train", ["blue"])
    first, again, second = (dataset.collate([dataset[epoch, 0]])["payload"]["channels"] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dct", ["loader", "device"])
def test_bad_file_is_listed_and_the_others_are_batched(own_photos, decoder, dct):
    bad = own_photos / "train" / "blue" / "0.jpg"
    bad.write_bytes(b"not an image")
    dataset = dataset_of(own_photos / "train", ["blue", "green"], decoder, dct)
    batch = dataset.collate([dataset[0, i] for i in range(3)])
    assert dataset.to_device(batch["payload"]).shape == (2, 24, 4, 4)
    assert batch["index"].tolist() == [1, 2]
    assert [path for path, _ in batch["bad"]] == [str(bad)]


def test_batch_of_bad_files_has_no_images(own_photos):
    for file in (own_photos / "train" / "blue").iterdir():
        file.write_bytes(b"")
    dataset = dataset_of(own_photos / "train", ["blue"])
    batch = dataset.collate([dataset[0, i] for i in range(2)])
    assert dataset.to_device(batch["payload"]).numel() == 0
    assert len(batch["target"]) == 0
    assert len(batch["bad"]) == 2


@pytest.mark.parametrize("decoder", DECODERS)
def test_files_that_libjpeg_turbo_refuses_are_listed_if_it_is_the_decoder(own_photos, decoder):
    path = own_photos / "train" / "blue" / "0.jpg"
    Image.open(path).save(path, format="PNG")
    dataset = dataset_of(own_photos / "train", ["blue"], decoder)
    batch = dataset.collate([dataset[0, i] for i in range(3)])
    assert batch["refused"] == ([(str(path), "not a JPEG file")] if decoder == "turbojpeg" else [])
    assert not batch["bad"]


def test_plain_indices_are_those_of_epoch_0(photos):
    dataset = dataset_of(photos / "train", ["blue", "green", "red"])
    plain = next(iter(DataLoader(dataset, 8, collate_fn=dataset.collate)))  # a SequentialSampler
    pairs = dataset.collate([dataset[0, index] for index in range(8)])
    assert torch.equal(plain["payload"]["channels"], pairs["payload"]["channels"])
    part = DataLoader(Subset(dataset, [3, 35]), 2, shuffle=True, collate_fn=dataset.collate)
    assert sorted(next(iter(part))["index"].tolist()) == [3, 35]
    assert len(list(dataset)) == len(dataset) == 36
