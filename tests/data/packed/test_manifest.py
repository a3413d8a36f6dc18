"""Damaged, incomplete and malicious stores are refused in one line that names the file."""

import hashlib
import json
import random
import re
import shutil

import pytest
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.manifest import MANIFEST, PLAN, StoreError, is_store, read_manifest
from dctnet.data.packed.verify import verify
from dctnet.errors import UserError
from dctnet.io.files import dump_json
from tests.data.packed.conftest import make_version_1, reseal

_FILE = {"size": 0, "sha256": "0" * 64}
OTHER_SPLIT = {"scales": [8], "shards": [], "skipped": [], "index": _FILE, "names": _FILE}


def read_batches(root, residency="disk"):
    """All batches of both splits."""
    data, batches = FrequencyDataModule(str(root), batch_size=6, residency=residency), []
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batches += [data.on_after_batch_transfer(batch, 0)["input"] for batch in loader]
    return batches


def refused(root, message, read=verify, **options):
    with pytest.raises(UserError, match=message) as caught:
        read(root, **options)
    assert "\n" not in str(caught.value)
    assert str(root) in str(caught.value)


def flip_bit(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)


def reseal_index(root, change):
    """Changes the first index and writes its new checksum into the manifest."""
    path = root / "train-00000.json"
    index = json.loads(path.read_text())
    raw = change(index)
    path.write_bytes(raw if isinstance(raw, bytes) else dump_json(index))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    reseal(root, lambda content: first_shard(content).update(index_sha256=digest))


def first_shard(content):
    return content["splits"]["train"]["shards"][0]


def test_intact_store_is_verified_and_read(store, capsys):
    verify(str(store))
    assert "11 shards, 51 images: every byte matches its checksum" in capsys.readouterr().out
    assert len(read_batches(store)) == 9


def test_store_can_be_moved(own_store, store, tmp_path):
    moved = own_store.rename(tmp_path / "ä b")
    assert all(torch.equal(a, b) for a, b in zip(read_batches(moved), read_batches(store), strict=True))
    verify(str(moved))


def test_is_store_looks_for_a_manifest_and_refuses_an_incomplete_store(photos, store, tmp_path):
    assert is_store(store)
    assert not is_store(photos)
    assert not is_store(photos / "none")
    (tmp_path / PLAN).write_text("{}")
    assert not is_store(tmp_path)
    (tmp_path / PLAN).write_text('{"made_with": {"dctnet": "0.1.0"}}')
    refused(tmp_path, "a packed store that is incomplete; run the same dctnet pack again", is_store)


def test_verify_of_other_folders_names_what_to_use(photos, tmp_path):
    refused(photos, "not a packed store, manifest.json is missing; photographs are verified by sha256sum --check")
    refused(tmp_path / "none", "no such folder")


def test_store_without_its_manifest_is_refused(own_store):
    (own_store / MANIFEST).unlink()
    refused(own_store, f"{MANIFEST}: missing; not a packed store, or an incomplete one", read_manifest)
    refused(own_store, str(own_store), read_batches)


@pytest.mark.parametrize("read", [read_batches, verify, read_manifest])
def test_missing_or_truncated_file_is_refused(own_store, read):
    path = own_store / "train-00003.bin"
    whole = path.read_bytes()
    for content in (whole[:-1], b"", whole + b"\0"):
        path.write_bytes(content)
        refused(own_store, f"train-00003.bin: {len(content):,} bytes, must be {len(whole):,}", read)
    path.unlink()
    refused(own_store, "train-00003.bin: missing", read)
    path.mkdir()
    refused(own_store, "train-00003.bin: missing", read)
    path.rmdir()
    path.write_bytes(whole)
    (own_store / "val-00000.json").unlink()
    refused(own_store, "val-00000.json: missing", read)


@pytest.mark.parametrize("read", [read_batches, verify])
def test_changed_index_of_a_shard_is_refused(own_store, read):
    if read is read_batches:  # later versions do not read it
        make_version_1(own_store)
    path, other = own_store / "train-00000.json", own_store / "train-00001.json"
    whole, rng = path.read_bytes(), random.Random(0)
    for content in (whole.replace(b'"target": ', b'"target": 1', 1), whole[:-20], b"", b"{}", other.read_bytes()):
        path.write_bytes(content)
        refused(own_store, "train-00000.json: the checksum is not the one in the manifest", read)
    for _ in range(20):
        path.write_bytes(whole)
        flip_bit(path, rng.randrange(len(whole)), rng.randrange(8))
        refused(own_store, "train-00000.json: the checksum is not the one in the manifest", read)


@pytest.mark.parametrize("version", [1, 2])
def test_index_changed_after_the_manifest_was_read_is_refused(own_store, version):
    data = FrequencyDataModule(str(make_version_1(own_store) if version == 1 else own_store))
    flip_bit(own_store / ("val-00000.json" if version == 1 else "val.index"), 20, 0)
    refused(own_store, "the checksum is not the one in the manifest", lambda _: data.setup("validate"))


@pytest.mark.parametrize("place", [0, 1234, -1])
def test_flipped_bit_in_a_shard_is_found_by_every_complete_read(own_store, place):
    flip_bit(own_store / "train-00004.bin", place, 3)
    refused(own_store, "train-00004.bin: changed since it was packed", verify)
    for residency in ("ram", "device"):
        refused(own_store, "train-00004.bin: changed since it was packed", read_batches, residency=residency)


def test_exchanged_shards_are_found(own_store):
    one, other = own_store / "train-00001.bin", own_store / "train-00002.bin"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    refused(own_store, r"train-0000[12].bin: (changed since|.* bytes, must be)")


@pytest.mark.parametrize("kind", [b"0-9", b"a-zA-Z", b'"', rb"{}\[\]", b" \n", rb":,.*+/\\-"])
def test_manifest_with_a_flipped_bit_is_refused_or_has_the_same_meaning(own_store, kind):
    path, rng = own_store / MANIFEST, random.Random(kind)
    whole, before = path.read_bytes(), read_manifest(own_store)
    places = [match.start() for match in re.finditer(b"[" + kind + b"]", whole)]
    for place in rng.sample(places, 5):
        for bit in range(8):
            path.write_bytes(whole)
            flip_bit(path, place, bit)
            try:
                accepted = read_manifest(own_store) == before
            except StoreError as error:
                accepted = "\n" not in str(error) and str(path) in str(error)
            assert accepted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "format is None, must be 'dctnet-store'"),
        (b"[]", r"is \[\], must be an object"),
        (b'"dctnet-store"', "is 'dctnet-store', must be an object"),
        (b'{"name": "app", "icons": []}', "format is None"),
        (b'{"format": "dctnet-mask", "version": 1}', "format is 'dctnet-mask'"),
        (b'{"format": "dctnet-store"}', "version is None, must be 1 or 2"),
        (b'{"format": "dctnet-store", "version": 3}', "version is 3, must be 1 or 2; pack again"),
        (b'{"format": "dctnet-store", "version": true}', "version is True"),
        (b'{"format": "dctnet-store", "version": 1}', "the checksum does not match the content"),
        (b'{"format": "dctnet-store", "version": 1, "x": "\\ud800"}', "the checksum does not match the content"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"version": ' + b"1" * 10_000 + b"}", "not JSON"),
        (b'{"format": "dctnet-st', "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_file_that_is_not_a_manifest_is_refused(own_store, content, message):
    (own_store / MANIFEST).write_bytes(content)
    refused(own_store, f"{MANIFEST}: {message}")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("block_size", 16, "block_size is 16, must be 8"),
        ("components", ["R", "G", "B"], "components is"),
        ("index", "8*v + u", "index is"),
        ("channels", [], "channels is .*distinct channel indices 0…191"),
        ("channels", [0, 0], "distinct channel indices"),
        ("channels", [0, 192], "channel indices 0…191"),
        ("channels", [0, -1], "channel indices 0…191"),
        ("channels", [0, 1.0], "channel indices 0…191"),
        ("channels", [0, True], "channel indices 0…191"),
        ("channels", [0, []], "channel indices 0…191"),
        ("channels", "all", "channels is 'all', must be a list"),
        ("steps", [1.0], "1 steps, must be one for each of the channels"),
        ("steps", [0.0] * 24, "steps is .*must be a list of positive numbers"),
        ("steps", [float("nan")] * 24, "a list of positive numbers"),
        ("steps", [float("inf")] * 24, "a list of positive numbers"),
        ("steps", [10**400] * 24, "a list of positive numbers"),
        ("steps", ["1"] * 24, "a list of positive numbers"),
        ("image_size", 8 * 10**400, "image_size is 8000.*, must be pixels, a multiple of 8"),
        ("image_size", 20, "image_size is 20, must be pixels, a multiple of 8"),
        ("image_size", "32", "image_size is '32'"),
        ("crop_fraction", 10**400, "crop_fraction is 1000.*, must be a number above 0 and at most 1"),
        ("crop_fraction", float("nan"), "crop_fraction is nan, must be a number above 0 and at most 1"),
        ("crop_fraction", None, "crop_fraction is None"),
        ("dtype", "float32", "dtype is 'float32', must be int8 or int16"),
        ("dtype", "int16", "do not fill the .* bytes of the shard"),
        ("error", 1, "error is 1, must be an object"),
        ("decoder", None, "decoder is None, must be a string"),
        ("splits", {"train": {}}, "splits.train: missing key 'scales'"),
        ("splits", {"train": None}, "splits.train is None, must be an object"),
        ("splits", {"../x": OTHER_SPLIT}, "splits.'../x' must be one of train, val, test"),
        ("splits", [], r"splits is \[\], must be an object"),
        ("classes", None, "classes is None, must be a list"),
        ("classes", ["a", "b", 3], r"classes\[2\] is 3, must be a string"),
        ("more", 1, "unknown key 'more'"),
    ],
)
def test_manifest_with_an_invalid_value_is_refused(own_store, key, value, message):
    reseal(own_store, lambda content: content.update({key: value}))
    refused(own_store, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda split: split.update(scales=[]), "splits.train.scales is .*a list of multiples of 8"),
        (lambda split: split.update(scales=[10**400]), "train.scales is .*a list of multiples of 8"),
        (lambda split: split.update(scales=["32"]), "train.scales is .*a list of multiples of 8"),
        (lambda split: split.update(skipped=[["a", 1]]), r"train.skipped\[0\] is .*a pair of path and reason"),
        (lambda split: split["shards"][0].update(size=-1), r"splits.train.shards\[0\].size is -1, must be"),
        (lambda split: split["shards"][0].update(size=1.0), "size is 1.0"),
        (lambda split: split["shards"][0].update(size=10**30), "size is 10"),
        (lambda split: split["shards"][0].update(size=10**12), "train-00000.bin: .* must be 1,000,000,000,000"),
        (lambda split: split["shards"][0].update(images=True), "images is True"),
        (lambda split: split["shards"][0].update(sha256=None), "sha256 is None"),
        (lambda split: split["shards"][0].update(name=7), "name is 7, must be a name such as train-00000"),
        (lambda split: split["shards"][0].update(more=1), r"shards\[0\]: unknown key 'more'"),
        (lambda split: split["shards"][0].pop("size"), r"shards\[0\]: missing key 'size'"),
    ],
)
def test_split_with_an_invalid_value_is_refused(own_store, change, message):
    reseal(own_store, lambda content: change(content["splits"]["train"]) and None)
    refused(own_store, message)


def test_manifest_with_a_new_checksum_but_no_change_is_accepted(own_store):
    before = read_manifest(own_store)
    reseal(own_store, lambda content: None)
    assert read_manifest(own_store) == before


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "a/b", "train/../../x", "./train-00000", "train-00000\n"])
def test_shard_outside_the_folder_is_refused(own_store, name):
    (own_store.parent / "x.bin").write_bytes((own_store / "train-00000.bin").read_bytes())
    shutil.copy(own_store / "train-00000.json", own_store.parent / "x.json")
    reseal(own_store, lambda content: first_shard(content).update(name=name))
    refused(own_store, r"shards\[0\].name is .*must be a name such as train-00000")


@pytest.mark.parametrize("ending", ["bin", "json"])
def test_symbolic_link_is_refused(own_store, tmp_path, ending):
    path = own_store / f"train-00000.{ending}"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(own_store, f"{path.name}: a symbolic link")


def test_channels_that_do_not_match_the_shards_are_refused(own_store):
    reseal(own_store, lambda content: (content["channels"].pop(), content["steps"].pop()))
    refused(own_store, "train.index: train-00000: its 4 images do not fill the .* bytes of the shard")


def test_image_size_beyond_the_memory_is_refused(own_store):
    reseal(own_store, lambda content: content.update({"image_size": 10**9}))
    with pytest.raises(UserError, match="take .* GB, this machine has"):
        read_batches(own_store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: b"[" * 100_000, "not JSON: RecursionError"),
        (lambda index: b'{"images": ' + b"1" * 10_000 + b"}", "not JSON: ValueError"),
        (lambda index: b"[]", "must be an object"),
        (lambda index: b"{}", "missing key 'images'"),
        (lambda index: index.update(images=1), "images is 1, must be a list"),
        (lambda index: index.update(images=[None]), r"images\[0\] is None, must be an object"),
        (lambda index: index["images"][0].update(path=1), r"images\[0\].path is 1"),
        (
            lambda index: index["images"][1].update(target=-1),
            r"images\[1\].target is -1, must be a class index below 3",
        ),
        (lambda index: index["images"][0].update(target=3), "target is 3"),
        (lambda index: index["images"][0].update(blocks=[]), r"blocks is \[\]"),
        (lambda index: index["images"][0].update(blocks=[[-4, -4]] * 3), "blocks is"),
        (lambda index: index["images"][0].update(blocks=[[4, 10**400]] * 3), "blocks is"),
        (lambda index: index["images"][0].update(more=1), r"images\[0\]: unknown key 'more'"),
        (lambda index: index["images"][0]["blocks"][0].__setitem__(1, 10**9), "blocks is"),
        (lambda index: index["images"][0]["blocks"][0].__setitem__(1, 60_000), "do not fill"),
        (lambda index: index["images"].pop() and None, "do not fill"),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_index_of_a_shard_with_an_invalid_value_is_refused(own_store, change, message, version):
    if version == 1:
        make_version_1(own_store)
    reseal_index(own_store, change)
    refused(own_store, f"train-00000.json: .*{message}")


def test_oversized_files_are_not_read(own_store):
    for name in ("train-00000.json", MANIFEST):
        with open(own_store / name, "r+b") as file:
            file.truncate(1 << 34)
        refused(own_store, f"{name}: .* bytes; at most 268,435,456 are read")
