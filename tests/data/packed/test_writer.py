"""Packing: the same bytes in every run, faithful to the photographs, resumable after any stop."""

import errno
import json
import os
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.images.photo import ImageError, Photo
from dctnet.data.packed import completion, index, plan, shard, writer
from dctnet.data.packed.manifest import read_manifest
from dctnet.data.packed.shard import grid, image_coefficients
from dctnet.data.pixels import chroma_share, compute_channels, cut, pad
from dctnet.data.sources import PhotoSource, StoreSource
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet, PlanesToChannels, zigzag_order
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import write_mask
from dctnet.frequency.selections import named_channels
from tests.conftest import paint
from tests.data.packed.conftest import contents, pack_small, stored_images


def stop_at_shard(number, photos, out, error, expected=None):
    """Packs, and raises an error between the coefficients and the index of a shard."""
    real, calls = shard.dump_json, []

    def failing(content):
        calls.append(content)
        if len(calls) == number:
            raise error
        return real(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard, "dump_json", failing)
        with pytest.raises(expected or type(error)) as caught:
            pack_small(photos, out)
    return str(caught.value)


@pytest.fixture(scope="module")
def incomplete(photos, tmp_path_factory):
    """A packing that was stopped at the fourth shard. Tests must not change it."""
    out = tmp_path_factory.mktemp("incomplete") / "out"
    stop_at_shard(4, photos, out, KeyboardInterrupt())
    return out


@pytest.fixture
def own_incomplete(incomplete, tmp_path):
    """A copy, for tests that continue it."""
    return Path(shutil.copytree(incomplete, tmp_path / "incomplete"))


def truncate(path):
    """Leaves the header intact: only decoding of the pixels fails."""
    path.write_bytes(path.read_bytes()[:-300])


def test_stopped_packing_finished_by_two_workers_is_the_same_store(photos, store, own_incomplete):
    assert contents(pack_small(photos, own_incomplete, workers=2)) == contents(store)


def test_complete_shards_are_kept_and_missing_ones_are_packed_again(photos, store, own_incomplete):
    assert sum(name.endswith(".bin") for name in contents(own_incomplete)) == 4
    assert not (own_incomplete / "manifest.json").exists()
    assert not [name for name in contents(own_incomplete) if name.startswith(".")]
    for name in ("train-00001.bin", "train-00001.json"):
        (own_incomplete / name).unlink()
    before = {name: os.stat(own_incomplete / name).st_mtime_ns for name in ("train-00000.bin", "train-00002.json")}
    assert contents(pack_small(photos, own_incomplete)) == contents(store)
    assert {name: os.stat(own_incomplete / name).st_mtime_ns for name in before} == before


@pytest.mark.parametrize("number", [1, 11])
def test_error_in_a_shard_loses_only_that_shard(photos, store, tmp_path, number):
    stop_at_shard(number, photos, tmp_path / "out", RuntimeError("stopped"))
    names = contents(tmp_path / "out")
    assert sum(name.startswith(("train-", "val-")) and name.endswith(".json") for name in names) == number - 1
    assert contents(pack_small(photos, tmp_path / "out")) == contents(store)


@pytest.mark.parametrize(("number", "advice"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "correct this")])
def test_disk_error_is_one_line_and_the_packing_can_be_resumed(photos, store, tmp_path, number, advice):
    out = tmp_path / "out"
    message = stop_at_shard(6, photos, out, OSError(number, os.strerror(number)), UserError)
    assert message.startswith(f"{out}: ")
    assert f"5 shards are complete and kept; {advice} and run the same command again" in message
    assert not [name for name in contents(out) if name.startswith(".")]
    assert contents(pack_small(photos, out)) == contents(store)


def test_full_disk_within_a_shard_leaves_no_partial_file(photos, store, tmp_path, monkeypatch):
    real = shard.shard_images

    def two_images_then_full(task):
        for number, image in enumerate(real(task)):
            if task.name == "train-00001" and number == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            yield image

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shard, "shard_images", two_images_then_full)
        with pytest.raises(UserError, match="No space left on device.*; 1 shards are complete"):
            pack_small(photos, out)
    assert sorted(contents(out)) == ["plan.json", "train-00000.bin", "train-00000.json"]
    assert contents(pack_small(photos, out)) == contents(store)


@pytest.mark.parametrize(
    ("module", "write"), [(plan, "atomic_open"), (index, "atomic_open"), (completion, "atomic_write")]
)
def test_full_disk_at_the_plan_an_index_or_the_manifest(photos, store, tmp_path, monkeypatch, module, write):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, write, full)
        with pytest.raises(UserError, match="run the same command again"):
            pack_small(photos, tmp_path / "out")
    assert contents(pack_small(photos, tmp_path / "out")) == contents(store)


def test_temporary_files_of_a_killed_packing_are_removed(photos, store, own_incomplete, tmp_path):
    (tmp_path / "new").mkdir()
    for out in (tmp_path / "new", own_incomplete):
        names = (
            "plan.json",
            "manifest.json",
            "train-00000.bin",
            "train-00000.json",
            "train-00005",
            "val.index",
            "val.names",
        )
        for name in names:
            (out / f".{name}.77").write_bytes(b"half")
        assert contents(pack_small(photos, out)) == contents(store)


def test_plan_left_beside_the_manifest_is_removed(photos, store, incomplete, own_store):
    shutil.copy(incomplete / "plan.json", own_store)
    assert contents(pack_small(photos, own_store)) == contents(store)


def test_plan_without_steps_is_refused(photos, own_incomplete):
    content = json.loads((own_incomplete / "plan.json").read_text())
    del content["steps"]
    (own_incomplete / "plan.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"plan\.json: incomplete; delete it"):
        pack_small(photos, own_incomplete)


def test_complete_store_is_not_changed(photos, own_store, capsys):
    before = {path: os.stat(path).st_mtime_ns for path in own_store.iterdir()}
    pack_small(photos, own_store, workers=3)
    assert "already packed, nothing to do" in capsys.readouterr().out
    assert {path: os.stat(path).st_mtime_ns for path in own_store.iterdir()} == before


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"channels": "square-12"}, "channels"),
        ({"dtype": "int16"}, "dtype"),
        ({"image_size": 40}, "image_size"),
        ({"crop_fraction": 1.0}, "crop_fraction"),
        ({"scales": [32]}, "the photographs, scales or shards"),
        ({"shard_bytes": 20_000}, "the photographs, scales or shards"),
        ({"classes": ["red", "blue"]}, "classes"),
    ],
)
def test_store_of_other_options_is_refused_and_not_changed(photos, store, incomplete, options, named):
    for out in (incomplete, store):
        before = contents(out)
        with pytest.raises(UserError, match=f"packed with other options or files, {named}; choose another folder"):
            pack_small(photos, out, **options)
        assert contents(out) == before


def test_store_of_changed_photographs_is_refused(own_photos, tmp_path):
    stop_at_shard(2, own_photos, tmp_path / "incomplete", KeyboardInterrupt())
    pack_small(own_photos, tmp_path / "complete")
    changed = own_photos / "train" / "green" / "1.jpg"
    changed.write_bytes(changed.read_bytes() + b"\0")
    for out in ("incomplete", "complete"):
        with pytest.raises(UserError, match="other options or files, the photographs"):
            pack_small(own_photos, tmp_path / out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "--workers and --shard_bytes must be at least 1"),
        ({"shard_bytes": 0}, "--workers and --shard_bytes must be at least 1"),
        ({"image_size": 36}, "--data.image_size must be a multiple of 8, got 36; the nearest is 32"),
        ({"image_size": 0}, "--data.image_size must be a multiple of 8, got 0"),
        ({"crop_fraction": 0.0}, "--data.crop_fraction must be .*0.05.*, got 0.0"),
        ({"min_scale": 1.5}, "--data.min_scale must be .*1, got 1.5"),
        ({"val_fraction": -0.1}, "--data.val_fraction must be .*0.*, got -0.1"),
        ({"per_class": 0}, "--data.per_class must be .*1.*, got 0"),
        ({"crop_fraction": None}, "--data.crop_fraction must not be null"),
        ({"channels": "squre-24"}, "square-24"),
        ({"classes": ["read"]}, "Did you mean 'red'"),
    ],
)
def test_invalid_option_is_refused(photos, tmp_path, options, message):
    with pytest.raises(UserError, match=message) as caught:
        pack_small(photos, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_unsuitable_folders_are_refused(photos, store, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="exists and is not a folder"):
        pack_small(photos, tmp_path / "letter.txt")
    for name in (".bash_history.1", ".notes.2024"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".cache.1").mkdir()
    with pytest.raises(UserError, match="has other files and is not a packed store"):
        pack_small(photos, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(UserError, match="choose a folder outside"):
        pack_small(photos, photos / "train" / "packed")
    with pytest.raises(UserError, match="already a packed store; pack from the photographs"):
        pack_small(store, tmp_path / "out")


def test_second_packing_at_the_same_time_is_refused(photos, own_incomplete):
    with writer.lock_folder(own_incomplete), pytest.raises(UserError, match="another packing is running there"):
        pack_small(photos, own_incomplete)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"[" * 100_000,
        lambda raw: b"\xff" + raw,
        lambda raw: raw.replace(b'"size"', b'"sise"'),
        lambda raw: raw.replace(b'"images": [', b'"images": [1, '),
        lambda raw: raw.replace(b'"target": 0', b'"target": 1', 1),
        lambda raw: raw.replace(b'"path": "train', b'"path": "trajn', 1),
        lambda raw: b'{"images": [], "size": %d, "skipped": [], "sha256": "%s"}' % (json.loads(raw)["size"], b"0" * 64),
    ],
)
def test_shard_with_a_damaged_index_is_packed_again(photos, store, own_incomplete, damage):
    index = own_incomplete / "train-00000.json"
    before = index.read_bytes()
    index.write_bytes(damage(before))
    assert index.read_bytes() != before
    assert contents(pack_small(photos, own_incomplete)) == contents(store)


def test_damaged_store_is_repaired_completely(photos, store, own_store):
    index = own_store / "train-00000.json"
    index.write_text(index.read_text().replace('"target": 0', '"target": 1', 1))
    damaged = own_store / "train-00002.bin"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    (own_store / "train-00003.json").unlink()
    next(own_store.glob("val-*.bin")).unlink()
    assert contents(pack_small(photos, own_store)) == contents(store)


def test_repair_from_changed_photographs_is_refused(own_photos, tmp_path):
    out = pack_small(own_photos, tmp_path / "out")
    changed = own_photos / "train" / "blue" / "0.jpg"
    raw = bytearray(changed.read_bytes())
    raw[raw.index(b"\xff\xdb") + 5] += 1  # a quantisation step: the file's size is the same and it can be read
    changed.write_bytes(raw)
    (out / "train-00000.bin").unlink()
    with pytest.raises(UserError, match="the photographs have changed"):
        pack_small(own_photos, out)


def test_photograph_that_changed_its_size_after_the_plan_is_refused(own_photos, tmp_path, monkeypatch):
    changed = str(own_photos / "train" / "blue" / "0.jpg")
    real = shard.Photo

    def turned(path, decoder):
        photo = real(path, decoder)
        if str(path) == changed:
            photo.width, photo.height = 10 * photo.height, photo.width
        return photo

    monkeypatch.setattr(shard, "Photo", turned)
    with pytest.raises(UserError, match="not the size when it was planned"):
        pack_small(own_photos, tmp_path / "out")


def test_long_strip_of_pixels_is_refused(own_photos, tmp_path):
    Image.new("RGB", (600, 2)).save(own_photos / "train" / "blue" / "strip.png")
    with pytest.raises(UserError, match=r"strip.png: 600×2 pixels: .*at most 16:1"):
        pack_small(own_photos, tmp_path / "out")


def test_bad_files_stop_the_packing_or_are_skipped_and_listed(own_photos, tmp_path, capsys):
    bad = own_photos / "train" / "green" / "1.jpg"
    truncate(bad)
    with pytest.raises(ImageError, match=f"{bad}: .*--data.on_error skip") as caught:
        pack_small(own_photos, tmp_path / "out")
    assert "\n" not in str(caught.value)
    resumed = pack_small(own_photos, tmp_path / "out", on_error="skip")
    assert "skipped in train: train/green/1.jpg: " in capsys.readouterr().out
    assert contents(resumed) == contents(pack_small(own_photos, tmp_path / "new", on_error="skip"))

    (own_photos / "train" / "blue" / "2.jpg").write_bytes(b"")
    (own_photos / "val" / "red" / "0.jpg").write_bytes(b"no image")
    more = pack_small(own_photos, tmp_path / "more", on_error="skip")
    splits = read_manifest(more).splits
    assert [path for path, _ in splits["train"].skipped] == ["train/blue/2.jpg", "train/green/1.jpg"]
    assert [path for path, _ in splits["val"].skipped] == ["val/red/0.jpg"]
    assert all(reason for split in splits.values() for _, reason in split.skipped)
    assert sum(one.images for one in splits["train"].shards) == 16
    assert sum(one.images for one in splits["val"].shards) == 8
    with pytest.warns(UserWarning, match="2 files of train were left out"):
        files = StoreSource(more).files("train")
    assert len(files) == 16
    assert not {"train/blue/2.jpg", "train/green/1.jpg"} & {*files.paths}


def test_image_error_of_a_worker_process_is_complete(own_photos):
    error = ImageError(own_photos / "1.jpg", "no image").with_advice()
    arrived = pickle.loads(pickle.dumps(error))
    assert (str(arrived), arrived.reason) == (str(error), error.reason)


def test_split_without_a_readable_image_is_an_error(own_photos, tmp_path):
    for path in (own_photos / "val").rglob("*.jpg"):
        truncate(path)
    with pytest.raises(UserError, match="no image of val can be read; 9 were skipped"):
        pack_small(own_photos, tmp_path / "out", on_error="skip")
    for path in own_photos.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the files can be read"):
        pack_small(own_photos, tmp_path / "none", on_error="skip")
    assert not (tmp_path / "none").exists()


def test_file_name_that_is_not_utf8(own_photos, tmp_path):
    source = own_photos / "train" / "blue" / "0.jpg"
    os.rename(source, os.fsencode(source.parent) + b"/\xff\xfe.jpg")
    out = pack_small(own_photos, tmp_path / "out")
    pack_small(own_photos, out)
    assert len(StoreSource(out).files("train")) == 18


def test_free_space_is_checked_for_the_missing_shards(photos, store, own_incomplete, tmp_path, monkeypatch):
    total = sum(path.stat().st_size for path in store.glob("*.bin"))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=total - 1))
        with pytest.raises(UserError, match="0 MB are needed, 0 MB are free on that disk"):
            pack_small(photos, tmp_path / "out")
        assert list(contents(tmp_path / "out")) == ["plan.json"]
        assert contents(pack_small(photos, own_incomplete)) == contents(store)
    assert contents(pack_small(photos, tmp_path / "out")) == contents(store)


def test_store_has_no_path_outside_the_source(store, photos):
    assert str(photos.parent).encode() not in b"".join(contents(store).values())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Photographs of 40 px, full chroma and quality 100: at scale 40 nothing is resized."""
    root = tmp_path_factory.mktemp("plain")
    for split in ("train", "val"):
        for name, colour in (("blue", (60, 90, 200)), ("red", (200, 70, 60))):
            (root / split / name).mkdir(parents=True)
            for number, size in enumerate([(40, 40), (64, 40), (40, 56)]):
                image = paint(colour, size, number).convert("YCbCr")
                image.save(root / split / name / f"{number}.jpg", quality=100, subsampling=0)
    return root


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("channels", ["square-24", [0, 9, 63, 64, 130]])
def test_store_is_the_dct_of_the_photographs_to_half_a_step(plain, tmp_path, dtype, channels):
    manifest = read_manifest(pack_small(plain, tmp_path / "out", dtype=dtype, channels=channels, scales=[40]))
    steps, levels = torch.tensor(manifest.steps)[:, None, None], np.iinfo(manifest.dtype).max
    transform = PlanesToChannels(ChannelSet("kept", tuple(sorted(manifest.channels))))
    order = [sorted(manifest.channels).index(c) for c in manifest.channels]
    images = stored_images(tmp_path / "out", "train") + stored_images(tmp_path / "out", "val")
    assert len(images) == 12
    for path, (stored,) in images:
        image = Image.open(plain / path)
        image.draft("YCbCr", None)  # no conversion to RGB
        exact = transform(torch.from_numpy(np.array(image)).movedim(-1, 0)[None])[0, order]
        stored = torch.from_numpy(stored.astype(np.int64))
        assert stored.shape == exact.shape
        clipped = exact.abs() / steps > levels + 0.5
        assert clipped.float().mean() < 0.05
        assert ((stored * steps - exact).abs() <= steps / 2 + 2e-3)[~clipped].all()
        assert (stored == exact.sign() * levels)[clipped].all()


def test_resized_photographs_are_stored_to_half_a_step(photos, store):
    manifest = read_manifest(store)
    steps = torch.tensor(manifest.steps)[:, None, None]
    for path, scales in stored_images(store, "train")[::7]:
        for stored in scales:
            exact = image_coefficients(Photo(photos / path, "pillow"), stored.shape[1:], manifest.channels)
            clipped = exact.abs() / steps > 127.5
            assert ((torch.from_numpy(stored) * steps - exact).abs() <= steps / 2 + 1e-3)[~clipped].all()


def test_evaluation_crops_of_a_store_equal_those_of_the_photographs(photos, tmp_path):
    out = pack_small(photos, tmp_path / "out", dtype="int16", crop_fraction=1.0)
    packed = FrequencyDataModule(str(out), batch_size=15)
    direct = FrequencyDataModule(
        str(photos), "square-24", image_size=32, crop_fraction=1.0, batch_size=15, num_workers=0, decoder="pillow"
    )
    (a,), (b,) = (
        [data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()] for data in (packed, direct)
    )
    assert torch.equal(a["target"], b["target"])
    # Whole images are packed with both sides rounded to blocks, so only square images are resized alike.
    square = [i for i, path in enumerate(direct.files("val").paths) if len(set(Image.open(path).size)) == 1]
    assert len(square) == 3
    assert torch.allclose(a["input"][square], b["input"][square], atol=0.05)


def test_splits_and_class_limits_are_those_of_the_photographs(photos, tmp_path):
    options = {"val_fraction": 0.25, "per_class": 4, "classes": ["red", "blue"]}
    packed = StoreSource(pack_small(photos / "train", tmp_path / "out", **options))
    direct = PhotoSource(photos / "train", **options)
    assert packed.class_names == ["red", "blue"]
    assert [packed.files("train").targets.count(target) for target in range(2)] == [4, 4]
    for split in ("train", "val"):
        assert [str(photos / "train" / path) for path in packed.files(split).paths] == list(direct.files(split).paths)
        assert tuple(packed.files(split).targets) == direct.files(split).targets


def test_channels_are_ordered_by_keep_probability_or_frequency(own_photos, tmp_path):
    def order(name, channels):
        return list(read_manifest(pack_small(own_photos, tmp_path / name, channels=channels)).channels)

    everything = order("all", "all")
    assert sorted(everything) == list(range(192))
    assert [c for c in everything if c < 64] == zigzag_order()
    for count in (3, 24, 100):
        assert set(everything[:count]) == set(named_channels(f"zigzag-{count}").indices)

    chosen = named_channels("square-12")
    likely = np.random.default_rng(0).permutation(192) / 192
    write_mask(tmp_path / "likely.json", chosen, likely.tolist())
    assert order("likely", str(tmp_path / "likely.json")) == sorted(chosen.indices, key=lambda c: -likely[c])
    write_mask(tmp_path / "plain.json", chosen)
    assert order("plain", str(tmp_path / "plain.json")) == order("named", "square-12")


def test_coefficients_of_a_second_image_of_a_size_are_the_same_bits_as_of_a_batch(photos):
    """Packing keeps the matrices of a size; the readers of photographs compute them for each batch."""
    files, channel_set = sorted((photos / "train/red").iterdir()), named_channels("square-24")
    for file in files[:6]:  # three sizes, twice
        photo = Photo(file, "pillow")
        for scale in (64, 72):
            rows, columns = grid(photo.width, photo.height, scale)
            box = (0.0, 0.0, float(photo.width), float(photo.height))
            padded = pad([cut(photo, box, columns * BLOCK, rows * BLOCK, chroma_share(channel_set))])
            expected = compute_channels(padded, (rows, columns), channel_set)[0]
            assert torch.equal(image_coefficients(photo, (rows, columns), channel_set.indices), expected)
