"""A damaged, incomplete or foreign store is refused in one line, and never gives a wrong batch."""

import hashlib
import json
import random
import shutil

import pytest
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.manifest import is_store, read_manifest
from dctnet.data.packed.schema import MANIFEST, StoreError
from dctnet.data.packed.verify import verify_store
from dctnet.errors import UserError
from dctnet.io.canonical_json import dump_json


def use(root, residency="disk"):
    """All batches of both splits, as far as they come."""
    data, batches = FrequencyDataModule(str(root), batch_size=6, residency=residency), []
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batches += [data.on_after_batch_transfer(batch, 0)["input"] for batch in loader]
    return batches


def refused(root, message, what=use, **options):
    with pytest.raises(StoreError, match=message) as caught:
        what(root, **options)
    assert "\n" not in str(caught.value)
    assert str(root) in str(caught.value)


def flip_bit(path, place, bit):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)


def reseal(root, change):
    """Changes a manifest as somebody who knows of its checksum would."""
    content = json.loads((root / MANIFEST).read_text())
    del content["sha256"]
    change(content)
    (root / MANIFEST).write_bytes(dump_json({**content, "sha256": hashlib.sha256(dump_json(content)).hexdigest()}))


def test_good_store_is_verified_and_read(store, capsys):
    verify_store(str(store))
    assert "every byte of 11 shards, 51 images is as it was packed" in capsys.readouterr().out
    assert len(use(store)) == 9
    assert is_store(store)


def test_store_may_be_moved(own_store, store, tmp_path):
    moved = own_store.rename(tmp_path / "ä b")
    assert all(torch.equal(a, b) for a, b in zip(use(moved), use(store), strict=True))
    verify_store(str(moved))


@pytest.mark.parametrize("what", [use, verify_store, read_manifest])
@pytest.mark.parametrize("name", ["train-00003.bin", "val-00001.bin"])
def test_shard_cut_short_or_missing(own_store, what, name):
    path = own_store / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    refused(own_store, f"{name}: {len(whole) - 1:,} bytes, must be {len(whole):,}", what)
    path.write_bytes(b"")
    refused(own_store, f"{name}: 0 bytes, must be", what)
    path.write_bytes(whole + b"\0")
    refused(own_store, f"{name}: {len(whole) + 1:,} bytes, must be", what)
    path.unlink()
    refused(own_store, f"{name}: missing", what)
    path.mkdir()
    refused(own_store, f"{name}: missing", what)


@pytest.mark.parametrize("what", [use, verify_store, read_manifest])
def test_index_missing(own_store, what):
    (own_store / "val-00000.json").unlink()
    refused(own_store, "val-00000.json: missing", what)


@pytest.mark.parametrize("what", [use, verify_store])
@pytest.mark.parametrize("name", ["train-00000.json", "val-00001.json"])
def test_index_changed(own_store, what, name):
    path, whole = own_store / name, (own_store / name).read_bytes()
    other = own_store / ("train-00001.json" if name.startswith("train") else "val-00000.json")
    for content in (whole.replace(b'"target": ', b'"target": 1', 1), whole[:-20], b"", b"{}", other.read_bytes()):
        path.write_bytes(content)
        refused(own_store, f"{name}: its checksum is not the manifest's", what)
    draw = random.Random(0)
    for _ in range(20):
        path.write_bytes(whole)
        flip_bit(path, draw.randrange(len(whole)), draw.randrange(8))
        refused(own_store, f"{name}: its checksum is not the manifest's", what)


@pytest.mark.parametrize("place", [0, 1234, -1])
def test_flipped_bit_in_a_shard_is_found_where_all_is_read(own_store, place):
    flip_bit(own_store / "train-00004.bin", place, 3)
    refused(own_store, "train-00004.bin: changed since it was packed", verify_store)
    for residency in ("ram", "device"):
        refused(own_store, "train-00004.bin: changed since it was packed", use, residency=residency)


def test_shards_that_changed_places_are_found(own_store):
    one, other = own_store / "train-00001.bin", own_store / "train-00002.bin"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    refused(own_store, r"train-0000[12].bin: (changed since|.* bytes, must be)", verify_store)


@pytest.mark.parametrize("seed", range(4))
def test_manifest_with_a_flipped_bit_is_refused_or_means_the_same(own_store, seed):
    path, draw = own_store / MANIFEST, random.Random(seed)
    whole = path.read_bytes()
    before = read_manifest(own_store)
    for _ in range(50):
        path.write_bytes(whole)
        flip_bit(path, draw.randrange(len(whole)), draw.randrange(8))
        same_or_refused(own_store, before)


def same_or_refused(root, before):
    try:
        same = read_manifest(root) == before
    except StoreError as error:
        same = "\n" not in str(error) and str(root / MANIFEST) in str(error)
    assert same


@pytest.mark.parametrize("kind", ["digit", "letter", "quote", "bracket", "space", "mark"])
def test_manifest_with_a_flipped_bit_in_any_kind_of_byte(own_store, kind):
    path, draw = own_store / MANIFEST, random.Random(kind)
    whole = path.read_bytes()
    before = read_manifest(own_store)
    kinds = {"digit": b"0123456789", "quote": b'"', "bracket": b"{}[]", "space": b" \n", "mark": b":,.-*+/\\"}
    wanted = kinds.get(kind, bytes(range(65, 91)) + bytes(range(97, 123)))
    places = [place for place, byte in enumerate(whole) if byte in wanted]
    for place in draw.sample(places, 5):
        for bit in range(8):
            path.write_bytes(whole)
            flip_bit(path, place, bit)
            same_or_refused(own_store, before)


@pytest.mark.parametrize("keep", [0, 1, 100, -2])
def test_manifest_cut_short(own_store, keep):
    path = own_store / MANIFEST
    path.write_bytes(path.read_bytes()[:keep])
    refused(own_store, f"{MANIFEST}: cannot be read: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "'format' is None, must be 'dctnet-store'"),
        (b"[]", r"'format' is \[\], must be"),
        (b"null", "'format' is None"),
        (b'"dctnet-store"', "'format' is 'dctnet-store', must be"),
        (b'{"name": "app", "icons": []}', "'format' is None"),
        (b'{"format": "dctnet-mask", "version": 1}', "'format' is 'dctnet-mask'"),
        (b'{"format": "dctnet-store"}', "'version' is None, must be 1"),
        (b'{"format": "dctnet-store", "version": 2}', "'version' is 2, must be 1; pack again"),
        (b'{"format": "dctnet-store", "version": "1"}', "'version' is '1'"),
        (b'{"format": "dctnet-store", "version": 1}', "its checksum does not fit"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"version": ' + b"1" * 10_000 + b"}", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
@pytest.mark.parametrize("what", [use, verify_store])
def test_foreign_manifest(own_store, content, message, what):
    (own_store / MANIFEST).write_bytes(content)
    refused(own_store, message, what)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("block_size", 16, "'block_size' is 16, must be 8"),
        ("components", ["R", "G", "B"], "'components'"),
        ("index", "8*v + u", "'index'"),
        ("channels", [], "distinct channel indices"),
        ("channels", [0, 0], "distinct channel indices"),
        ("channels", [0, 192], "channel indices 0…191"),
        ("channels", [0, -1], "channel indices 0…191"),
        ("channels", [0, 1.0], "channel indices 0…191"),
        ("channels", [0, True], "channel indices 0…191"),
        ("channels", "all", "'channels' is 'all', must be of type list"),
        ("steps", [1.0], "'steps' is .*one positive number a channel"),
        ("steps", [0.0] * 24, "one positive number a channel"),
        ("steps", [float("nan")] * 24, "one positive number a channel"),
        ("steps", [float("inf")] * 24, "one positive number a channel"),
        ("steps", [10**400] * 24, "one positive number a channel"),
        ("image_size", 8 * 10**400, "'image_size' is 8000.*, must be pixels, a multiple of 8"),
        ("image_size", 20, "'image_size' is 20, must be pixels, a multiple of 8"),
        ("crop_fraction", 10**400, "'crop_fraction' is 1000.*, must be above 0 and at most 1"),
        ("crop_fraction", float("nan"), "'crop_fraction' is nan, must be above 0 and at most 1"),
        ("steps", ["1"] * 24, "one positive number a channel"),
        ("dtype", "float32", "'dtype' is 'float32', must be int8 or int16"),
        ("image_size", "32", "'image_size' is '32', must be of type int"),
        ("crop_fraction", None, "'crop_fraction' is None, must be of type number"),
        ("splits", {"train": {}}, "'splits' is .*must be scales, shards and skipped"),
        ("splits", {"train": None}, "'splits' is"),
        ("splits", [], "'splits' is .*of type dict"),
        ("classes", None, "'classes' is None"),
        ("classes", [1, 2, 3], "'classes' is .*must be names"),
    ],
)
def test_manifest_that_says_what_cannot_be(own_store, key, value, message):
    reseal(own_store, lambda content: content.update({key: value}))
    refused(own_store, message)


def test_resealed_without_a_change_it_is_accepted(own_store):
    before = read_manifest(own_store)
    reseal(own_store, lambda content: None)
    assert read_manifest(own_store) == before


@pytest.mark.parametrize("name", ["../x", "../../etc/passwd", "/etc/passwd", "a/b", "train/../../x", "./train-00000"])
def test_shard_outside_the_folder_is_refused(own_store, name):
    (own_store.parent / "x.bin").write_bytes((own_store / "train-00000.bin").read_bytes())
    shutil.copy(own_store / "train-00000.json", own_store.parent / "x.json")
    reseal(own_store, lambda content: content["splits"]["train"]["shards"][0].update(name=name))
    refused(own_store, f"the name of a shard is '{name}', must be a name without folders")


def test_other_number_of_channels_than_the_shards_hold_is_found(own_store):
    def drop(content):
        content["channels"].pop()
        content["steps"].pop()

    reseal(own_store, drop)
    refused(own_store, "train-00000.json: its 4 images do not fill the .* bytes of the shard")


def test_other_dtype_than_the_shards_have_is_found(own_store):
    reseal(own_store, lambda content: content.update(dtype="int16"))
    refused(own_store, "do not fill the .* bytes of the shard")


def test_store_without_its_manifest(own_store):
    (own_store / MANIFEST).unlink()
    refused(own_store, f"{MANIFEST}: missing; not a packed store, or one whose packing did not end", verify_store)
    with pytest.raises(UserError, match=f"{own_store}: ") as caught:
        use(own_store)
    assert "\n" not in str(caught.value)


def test_folder_that_is_not_there(tmp_path):
    refused(tmp_path / "none", f"{MANIFEST}: missing", verify_store)


def test_a_store_is_known_by_its_manifest(photos, store):
    assert is_store(store)
    assert not is_store(photos)
    assert not is_store(photos / "none")


def test_half_a_surrogate_pair_is_refused(own_store):
    (own_store / "manifest.json").write_text('{"format": "dctnet-store", "version": 1, "x": "\\ud800"}')
    with pytest.raises(StoreError, match="checksum"):
        read_manifest(own_store)


def spoil_split(content, **changes):
    content["splits"]["train"] |= changes


def spoil_shard(content, **changes):
    content["splits"]["train"]["shards"][0] |= changes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: spoil_split(content, scales=[]), "train: scales must be multiples of 8"),
        (lambda content: spoil_split(content, scales=[10**400]), "train: scales must be multiples of 8"),
        (lambda content: spoil_split(content, scales=["32"]), "train: scales must be multiples of 8"),
        (lambda content: spoil_split(content, skipped=[["a", 1]]), "skipped must be pairs of path and reason"),
        (lambda content: spoil_shard(content, size=-1), "shard 0: size is -1"),
        (lambda content: spoil_shard(content, size=1.0), "shard 0: size is 1.0"),
        (lambda content: spoil_shard(content, size=10**30), "shard 0: size is 10"),
        (lambda content: spoil_shard(content, size=10**12), "train-00000.bin: .* bytes, must be 1,000,000,000,000"),
        (lambda content: spoil_shard(content, images=True), "shard 0: images is True"),
        (lambda content: spoil_shard(content, sha256=None), "shard 0: sha256 is None"),
        (lambda content: spoil_shard(content, name=""), "shard 0: name is ''"),
        (lambda content: spoil_shard(content, name=7), "shard 0: name is 7"),
        (lambda content: spoil_shard(content, more=1), "shard 0: must have name, size"),
    ],
)
def test_splits_and_shards_that_cannot_be(own_store, change, message):
    reseal(own_store, change)
    refused(own_store, message)


def test_size_that_no_machine_has(own_store):
    reseal(own_store, lambda content: content.update({"image_size": 10**9}))
    with pytest.raises(UserError, match="take .* GB, this machine has"):
        use(own_store)


def reseal_index(root, change):
    """Changes the first index, and the manifest so that it vouches for it."""
    path = root / "train-00000.json"
    index = json.loads(path.read_text())
    raw = change(index)
    path.write_bytes(raw if isinstance(raw, bytes) else dump_json(index))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    reseal(root, lambda content: spoil_shard(content, index_sha256=digest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: b"[" * 100_000, "no index: RecursionError"),
        (lambda index: b'{"images": ' + b"1" * 10_000 + b"}", "no index: ValueError"),
        (lambda index: b"[]", "no index: TypeError"),
        (lambda index: b"{}", "no index: KeyError"),
        (lambda index: index.update(images=1), "images must be a list"),
        (lambda index: index.update(images=[None]), "image 0: must have path"),
        (lambda index: index["images"][0].update(path=1), "image 0: path is 1"),
        (lambda index: index["images"][1].update(target=-1), "image 1: target is -1"),
        (lambda index: index["images"][0].update(target=3), "image 0: target is 3"),
        (lambda index: index["images"][0].update(blocks=[]), r"image 0: blocks is \[\]"),
        (lambda index: index["images"][0].update(blocks=[[-4, -4]] * 4), "image 0: blocks is"),
        (lambda index: index["images"][0].update(blocks=[[4, 10**400]] * 4), "image 0: blocks is"),
        (lambda index: index["images"][0]["blocks"][0].__setitem__(1, 10**9), "do not fill"),
        (lambda index: index["images"].pop(), "do not fill"),
    ],
)
def test_index_that_says_what_cannot_be(own_store, change, message):
    reseal_index(own_store, change)
    refused(own_store, f"train-00000.json: .*{message}")


def test_files_of_gigabytes_are_not_read(own_store):
    for name in ("train-00000.json", MANIFEST):
        with open(own_store / name, "r+b") as file:
            file.truncate(1 << 34)
        refused(own_store, f"{name}: .* bytes; such a file has at most")


@pytest.mark.parametrize("ending", ["bin", "json"])
def test_links_out_of_a_store_are_refused(own_store, tmp_path, ending):
    path = own_store / f"train-00000.{ending}"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused(own_store, f"{path.name}: a link, which may lead to anything")
