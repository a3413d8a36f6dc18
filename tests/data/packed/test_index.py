"""The index of a split: what the indices of its shards say, refused in one line if damaged, and absent in version 1."""

import hashlib
import os
import random

import numpy as np
import pytest
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.index import open_index, record_type
from dctnet.data.packed.manifest import read_manifest
from dctnet.data.packed.shard import read_index
from dctnet.data.packed.verify import verify
from dctnet.data.sources import StoreSource
from dctnet.errors import UserError
from tests.data.packed.conftest import contents, make_version_1, pack_small, reseal
from tests.data.packed.test_manifest import flip_bit, read_batches, refused


def read_shards(root, split):
    """Shard, first element at each scale, and index entry of every image, added up one by one."""
    manifest, images = read_manifest(root), []
    for number, shard in enumerate(manifest.splits[split].shards):
        start = 0
        for entry in read_index(manifest, manifest.splits[split], shard):
            starts = []
            for rows, columns in entry["blocks"]:
                starts.append(start)
                start += rows * columns
            images.append((number, starts, entry))
    return images


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("split", ["train", "val"])
def test_index_says_what_the_indices_of_the_shards_say(own_store, split, version):
    if version == 1:
        make_version_1(own_store)
    index, images = open_index(read_manifest(own_store), split), read_shards(own_store, split)
    assert list(index.names) == [entry["path"] for _, _, entry in images]
    assert index.targets.tolist() == index.records["target"].tolist() == [entry["target"] for _, _, entry in images]
    assert index.records["blocks"].tolist() == [entry["blocks"] for _, _, entry in images]
    assert index.records["start"].tolist() == [starts[0] for _, starts, _ in images]
    assert (np.searchsorted(index.first, range(len(images)), "right") - 1).tolist() == [shard for shard, _, _ in images]
    assert len(index) == index.first[-1] == len(images)


def test_index_is_an_array_that_other_programs_can_read(store):
    """docs/scaling.md gives this form."""
    split = read_manifest(store).splits["train"]
    fields = [("start", "<u8"), ("name", "<u8"), ("target", "<u4"), ("blocks", "<u2", (len(split.scales), 2))]
    records = np.fromfile(store / "train.index", np.dtype(fields))
    assert records.dtype == record_type(len(split.scales))
    text, begin = (store / "train.names").read_bytes(), 0
    for record, (_, _, entry) in zip(records, read_shards(store, "train"), strict=True):
        assert text[begin : record["name"]].decode() == entry["path"]
        begin = record["name"]
    assert begin == len(text)


@pytest.mark.parametrize("residency", ["disk", "ram"])
def test_store_of_version_1_gives_the_same_batches(store, own_store, residency):
    batches = [read_batches(root, residency) for root in (store, make_version_1(own_store))]
    assert len(batches[0]) == 9
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))
    verify(str(own_store))


def test_store_of_version_1_is_complete_and_keeps_its_form_when_it_is_repaired(photos, own_store, capsys):
    before = contents(make_version_1(own_store))
    pack_small(photos, own_store)
    assert "already packed, nothing to do" in capsys.readouterr().out
    (own_store / "train-00001.bin").unlink()
    assert contents(pack_small(photos, own_store)) == before


@pytest.mark.parametrize("name", ["train.index", "train.names", "val.index", "val.names"])
def test_damaged_index_is_refused_and_packing_repairs_it(photos, store, own_store, name):
    path, rng = own_store / name, random.Random(0)
    whole = path.read_bytes()
    for content in (whole[:-1], b"", whole + b"\0"):
        path.write_bytes(content)
        for read in (read_batches, verify, read_manifest):
            refused(own_store, f"{name}: {len(content):,} bytes, must be {len(whole):,}", read)
    for _ in range(20):
        path.write_bytes(whole)
        flip_bit(path, rng.randrange(len(whole)), rng.randrange(8))
        refused(own_store, f"{name}: the checksum is not the one in the manifest")
    with pytest.raises(UserError, match="its index is damaged; run the same dctnet pack without --part"):
        pack_small(photos, own_store, part="1/2")
    assert contents(pack_small(photos, own_store)) == contents(store)
    path.unlink()
    refused(own_store, f"{name}: missing", read_manifest)
    assert contents(pack_small(photos, own_store)) == contents(store)
    path.rename(own_store.parent / name)
    path.symlink_to(own_store.parent / name)
    refused(own_store, f"{name}: a symbolic link", read_batches)


def test_flipped_bit_in_an_index_is_found_by_training_and_in_names_when_they_are_read(own_store):
    flip_bit(own_store / "train.names", 7, 2)
    assert len(read_batches(own_store)) == 9
    files = StoreSource(own_store).files("train")
    refused(own_store, "train.names: the checksum is not the one", lambda _: files.paths[0])
    for place in range(0, 80, 9):
        flip_bit(own_store / "train.index", place, 1)
        refused(own_store, "train.index: the checksum is not the one in the manifest", read_batches)
        flip_bit(own_store / "train.index", place, 1)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("target", 3, "train-00000: target is 3, must be a class index below 3"),
        ("target", 2**32 - 1, "target is 4294967295, must be"),
        ("start", 1, "train-00000: its 4 images do not fill"),
        ("start", 2**64 - 1, "do not fill"),
        ("blocks", 0, "do not fill"),
        ("blocks", 2**16 - 1, "do not fill"),
        ("name", 0, "train-00000: the ends of its names are not ascending"),
        ("name", 2**64 - 1, "the ends of its names are not ascending"),
    ],
)
def test_index_with_an_invalid_value_is_refused_though_its_checksum_is_right(own_store, field, value, message):
    path = own_store / "train.index"
    records = np.fromfile(path, record_type(len(read_manifest(own_store).splits["train"].scales)))
    records[field][0] = value
    records.tofile(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    reseal(own_store, lambda content: content["splits"]["train"]["index"].update(sha256=digest))
    refused(own_store, f"train.index: .*{message}", read_batches)


def test_index_of_other_images_is_refused_though_its_checksum_is_right(own_store):
    text = (own_store / "train.names").read_bytes().replace(b"blue/0", b"blue/9")
    (own_store / "train.names").write_bytes(text)
    digest = hashlib.sha256(text).hexdigest()
    reseal(own_store, lambda content: content["splits"]["train"]["names"].update(sha256=digest))
    refused(own_store, "train.index: train-00000: not what the index of this shard says")


def test_index_of_another_length_is_refused(own_store):
    path = own_store / "train.index"
    path.write_bytes(path.read_bytes()[:-1])
    entry = {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    reseal(own_store, lambda content: content["splits"]["train"].update(index=entry))
    refused(own_store, "train.index: .* bytes are not 36 images", read_batches)


def test_names_are_a_sequence_of_any_names(own_photos, tmp_path):
    folder = own_photos / "train" / "blue"
    os.rename(folder / "0.jpg", os.fsencode(folder) + b"/\xff\xfe.jpg")
    (folder / "1.jpg").rename(folder / "ä 猫.jpg")
    out = pack_small(own_photos, tmp_path / "out")
    names, former = (open_index(read_manifest(each), "train").names for each in (out, out))
    expected = [entry["path"] for _, _, entry in read_shards(out, "train")]
    assert any("猫" in name for name in expected)
    assert list(names) == expected == [names[i] for i in range(len(names))] == list(former)
    assert names[-1] == expected[-1]
    for place in (slice(None), slice(2, 5), slice(-3, None), slice(1, 9, 3), slice(None, None, -2), slice(5, 2)):
        assert list(names[place]) == expected[place]
    assert expected[3] in names
    assert names.index(expected[3]) == 3
    with pytest.raises(IndexError):
        names[len(expected)]


def test_targets_and_names_are_those_of_the_files(store):
    data = FrequencyDataModule(str(store))
    assert data.files("train").targets.count(0) == len([p for p in data.files("train").paths if "/blue/" in p])
    assert {type(target) for target in data.files("train").targets} == {int}


def test_too_many_shards_for_the_system_are_one_line(own_store, monkeypatch):
    def full(*args, **options):
        raise OSError(24, "Too many open files")

    data = FrequencyDataModule(str(own_store), batch_size=6)
    data.setup("fit")
    monkeypatch.setattr("dctnet.data.packed.storage.mmap.mmap", full)
    message = r"the \d shards of train cannot be mapped: .*Too many open files; .*larger --shard_bytes"
    refused(own_store, message, lambda _: next(iter(data.train_dataloader())))
