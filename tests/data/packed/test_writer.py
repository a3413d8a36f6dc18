"""Packing: the same bytes however it goes about, faithful to the photographs, and able to go on after any stop."""

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
from dctnet.data.packed import shard, writer
from dctnet.data.packed.index import read_index
from dctnet.data.packed.manifest import read_manifest, shard_file
from dctnet.data.packed.shard import image_coefficients
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet, PlanesToChannels
from tests.conftest import paint


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def interrupt(monkeypatch, at, error=KeyboardInterrupt):
    """Makes the writing of one shard fail half-way."""
    real, calls = shard.dump_json, []

    def failing(content):
        calls.append(content)
        if len(calls) == at:
            raise error
        return real(content)

    monkeypatch.setattr(shard, "dump_json", failing)


def stop_half_way(monkeypatch, pack_small, photos, out, **options):
    with monkeypatch.context() as patch:
        interrupt(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            pack_small(photos, out, **options)


@pytest.fixture(scope="module")
def begun(photos, tmp_path_factory, pack_small):
    """A packing that was stopped half-way. Not to be changed."""
    out = tmp_path_factory.mktemp("begun") / "out"
    with pytest.MonkeyPatch.context() as patch:
        stop_half_way(patch, pack_small, photos, out)
    return out


def truncate(path):
    """Leaves the header sound: the fault shows only when the pixels are decoded."""
    path.write_bytes(path.read_bytes()[:-300])


def stored_images(root):
    """Path, scale and integers of each image of a store, the slow way."""
    manifest = read_manifest(root)
    for split in manifest.splits.values():
        for one in split.shards:
            raw, place = shard_file(root, one).read_bytes(), 0
            for image in read_index(manifest, one):
                for rows, columns in image["blocks"]:
                    shape = (len(manifest.channels), rows, columns)
                    count = np.prod(shape) * manifest.dtype.itemsize
                    values = np.frombuffer(raw[place : place + count], manifest.dtype.newbyteorder("<"))
                    yield image["path"], values.reshape(shape)
                    place += count
            assert place == len(raw)


def test_stopped_half_way_and_finished_by_two_workers_is_the_same_store(
    photos, store, tmp_path, pack_small, monkeypatch
):
    stop_half_way(monkeypatch, pack_small, photos, tmp_path / "out")
    (tmp_path / "out" / ".train-00005.12345").write_bytes(b"half a shard")
    (tmp_path / "out" / ".train-00006.json.12345").write_bytes(b"half an index")
    assert contents(pack_small(photos, tmp_path / "out", workers=2)) == contents(store)


def test_finished_shards_are_kept_and_missing_ones_made_again(photos, store, tmp_path, pack_small, monkeypatch):
    out = tmp_path / "out"
    stop_half_way(monkeypatch, pack_small, photos, out)
    assert sum(name.endswith(".bin") for name in contents(out)) == 4
    assert not (out / "manifest.json").exists()
    assert not [name for name in contents(out) if name.startswith(".")]
    for name in ("train-00001.bin", "train-00001.json"):
        (out / name).unlink()
    before = {name: os.stat(out / name).st_mtime_ns for name in ("train-00000.bin", "train-00002.json")}
    pack_small(photos, out)
    assert contents(out) == contents(store)
    assert {name: os.stat(out / name).st_mtime_ns for name in before} == before


@pytest.mark.parametrize("at", [1, 11])
def test_error_at_any_shard_loses_only_that_one(photos, store, tmp_path, pack_small, monkeypatch, at):
    with monkeypatch.context() as patch:
        interrupt(patch, at, RuntimeError("stopped"))
        with pytest.raises(RuntimeError, match="stopped"):
            pack_small(photos, tmp_path / "out")
    assert sum(name.endswith(".json") for name in contents(tmp_path / "out")) == at - 1 + 1  # and plan.json
    assert contents(pack_small(photos, tmp_path / "out")) == contents(store)


def test_finished_store_is_left_alone(photos, own_store, pack_small, capsys):
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
def test_other_options_in_a_begun_or_finished_store_are_refused(photos, store, begun, pack_small, options, named):
    for out in (begun, store):
        before = contents(out)
        with pytest.raises(UserError, match=f"packed with other options or files, {named}; choose another folder"):
            pack_small(photos, out, **options)
        assert contents(out) == before


def test_changed_source_file_is_refused(own_photos, tmp_path, pack_small, monkeypatch):
    stop_half_way(monkeypatch, pack_small, own_photos, tmp_path / "begun")
    pack_small(own_photos, tmp_path / "done")
    changed = own_photos / "train" / "green" / "1.jpg"
    changed.write_bytes(changed.read_bytes() + b"\0")
    for out in ("begun", "done"):
        with pytest.raises(UserError, match="other options or files, the photographs"):
            pack_small(own_photos, tmp_path / out)


def test_folder_of_something_else_is_refused(photos, tmp_path, pack_small):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="holds other files and no packed store"):
        pack_small(photos, tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        pack_small(photos, tmp_path / "letter.txt")


def test_store_is_not_packed_again(store, tmp_path, pack_small):
    with pytest.raises(UserError, match="already a packed store; pack from the photographs"):
        pack_small(store, tmp_path / "out")


@pytest.mark.parametrize("options", [{"workers": 0}, {"shard_bytes": 0}])
def test_counts_below_one_are_refused(photos, tmp_path, pack_small, options):
    with pytest.raises(UserError, match="must be at least 1"):
        pack_small(photos, tmp_path / "out", **options)


def test_bad_file_stops_the_packing_which_goes_on_with_skip(own_photos, tmp_path, pack_small, capsys):
    bad = own_photos / "train" / "green" / "1.jpg"
    truncate(bad)
    with pytest.raises(ImageError, match=f"{bad}: .*--data.on_error skip") as caught:
        pack_small(own_photos, tmp_path / "out")
    assert "\n" not in str(caught.value)
    pack_small(own_photos, tmp_path / "out", on_error="skip")
    assert "left out of train: train/green/1.jpg: " in capsys.readouterr().out
    assert contents(tmp_path / "out") == contents(pack_small(own_photos, tmp_path / "new", on_error="skip"))


def test_fault_of_a_file_arrives_whole_from_a_worker(own_photos):
    error = ImageError(own_photos / "1.jpg", "no image").with_advice()
    arrived = pickle.loads(pickle.dumps(error))
    assert (str(arrived), arrived.reason) == (str(error), error.reason)


def test_skipped_files_are_listed_and_counted(own_photos, tmp_path, pack_small):
    truncate(own_photos / "train" / "green" / "1.jpg")
    (own_photos / "train" / "blue" / "2.jpg").write_bytes(b"")
    (own_photos / "val" / "red" / "0.jpg").write_bytes(b"no image")
    out = pack_small(own_photos, tmp_path / "out", on_error="skip")
    splits = read_manifest(out).splits
    assert [path for path, _ in splits["train"].skipped] == ["train/blue/2.jpg", "train/green/1.jpg"]
    assert [path for path, _ in splits["val"].skipped] == ["val/red/0.jpg"]
    assert all(reason for split in splits.values() for _, reason in split.skipped)
    assert sum(one.images for one in splits["train"].shards) == 16
    assert sum(one.images for one in splits["val"].shards) == 8
    data = FrequencyDataModule(str(out))
    with pytest.warns(UserWarning, match="2 files of train were left out"):
        assert len(data.files("train")) == 16
    assert "train/green/1.jpg" in dict(data.source.left_out("train"))
    assert not {"train/blue/2.jpg", "train/green/1.jpg"} & set(data.files("train").paths)


def test_split_without_a_readable_image_is_told(own_photos, tmp_path, pack_small):
    for path in (own_photos / "val").rglob("*.jpg"):
        truncate(path)
    with pytest.raises(UserError, match="no image of val can be read; 9 were left out"):
        pack_small(own_photos, tmp_path / "out", on_error="skip")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_disk_that_fills_up_is_told_and_the_packing_goes_on(photos, store, tmp_path, pack_small, monkeypatch, number):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupt(patch, 6, OSError(number, os.strerror(number)))
        with pytest.raises(UserError, match=f"{out}: .*5 shards are whole and stay; .*run the same command again"):
            pack_small(photos, out)
    assert not [name for name in contents(out) if name.startswith(".")]
    assert contents(pack_small(photos, out)) == contents(store)


def test_full_disk_in_the_middle_of_a_shard_leaves_no_half(photos, store, tmp_path, pack_small, monkeypatch):
    class Full:
        """A file on a disk with room for some writes."""

        left = 7

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            Full.left -= 1
            if Full.left < 0:
                self.file.write(content[: len(content) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.file.write(content)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shard, "open", lambda *given: Full(open(*given)), raising=False)
        with pytest.raises(UserError, match="No space left on device; 1 shards are whole"):
            pack_small(photos, out)
    assert sorted(contents(out)) == ["plan.json", "train-00000.bin", "train-00000.json"]
    assert contents(pack_small(photos, out)) == contents(store)


@pytest.mark.parametrize("name", ["plan.json", "manifest.json"])
def test_disk_that_is_full_at_the_plan_or_the_manifest(photos, store, tmp_path, pack_small, monkeypatch, name):
    real = writer.atomic_write

    def full(path, content):
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "atomic_write", full)
        with pytest.raises(UserError, match="run the same command again"):
            pack_small(photos, tmp_path / "out")
    assert contents(pack_small(photos, tmp_path / "out")) == contents(store)


@pytest.mark.parametrize("left", [".plan.json.77", ".manifest.json.77", ".train-00000.77", ".train-00000.json.77"])
def test_what_a_kill_leaves_half_written_is_cleared_away(photos, store, begun, tmp_path, pack_small, left):
    fresh, half = tmp_path / "fresh", tmp_path / "half"
    fresh.mkdir()
    shutil.copytree(begun, half)
    for out in (fresh, half):
        (out / left).write_bytes(b"half")
        assert contents(pack_small(photos, out)) == contents(store)


def test_kill_between_manifest_and_the_end_leaves_nothing(photos, store, begun, own_store, pack_small):
    shutil.copy(begun / "plan.json", own_store)
    assert contents(pack_small(photos, own_store)) == contents(store)


@pytest.mark.parametrize("ending", ["bin", "json"])
def test_shard_that_a_finished_store_lost_is_made_again(photos, store, own_store, pack_small, ending):
    lost = next(own_store.glob(f"train-*.{ending}"))
    lost.unlink()
    with pytest.raises(UserError, match="missing"):
        read_manifest(own_store)
    assert contents(pack_small(photos, own_store)) == contents(store)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"[]",
        lambda raw: b"[" * 100_000,
        lambda raw: b"\xff" + raw,
        lambda raw: raw.replace(b'"size"', b'"sise"'),
        lambda raw: raw.replace(b'"skipped"', b'"skiped"'),
        lambda raw: raw.replace(b'"images": [', b'"images": [1, '),
        lambda raw: raw.replace(b'"target": 0', b'"target": 1', 1),
        lambda raw: raw.replace(b'"path": "train', b'"path": "trajn', 1),
        lambda raw: b'{"images": [], "size": %d, "skipped": [], "sha256": ""}' % json.loads(raw)["size"],
    ],
)
def test_packing_goes_on_over_a_damaged_index(photos, store, begun, tmp_path, pack_small, damage):
    out = Path(shutil.copytree(begun, tmp_path / "out"))
    index = out / "train-00000.json"
    before = index.read_bytes()
    index.write_bytes(damage(before))
    assert index.read_bytes() != before
    assert contents(pack_small(photos, out)) == contents(store)


def test_second_packing_at_the_same_time_is_refused(photos, begun, tmp_path, pack_small):
    out = Path(shutil.copytree(begun, tmp_path / "out"))
    with writer._alone(out), pytest.raises(UserError, match="another packing"):
        pack_small(photos, out)


def test_files_of_others_are_left_alone(photos, tmp_path, pack_small):
    for name in (".bash_history.1", ".notes.2024", "thesis.tex"):
        (tmp_path / name).write_text("mine")
    (tmp_path / ".cache.1").mkdir()
    with pytest.raises(UserError, match="holds other files"):
        pack_small(photos, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_repair_does_not_vouch_for_what_was_changed(photos, store, own_store, pack_small):
    index = own_store / "train-00000.json"
    index.write_text(index.read_text().replace('"target": 0', '"target": 1', 1))
    damaged = own_store / "train-00002.bin"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    next(own_store.glob("val-*.bin")).unlink()
    assert contents(pack_small(photos, own_store)) == contents(store)


def test_repair_from_changed_photographs_is_refused(own_photos, tmp_path, pack_small):
    out = pack_small(own_photos, tmp_path / "out")
    changed = own_photos / "train" / "blue" / "0.jpg"
    raw = bytearray(changed.read_bytes())
    raw[raw.index(b"\xff\xdb") + 5] += 1  # a quantisation step: the size stays, and nothing shows that it is changed
    changed.write_bytes(raw)
    (out / "train-00000.bin").unlink()
    with pytest.raises(UserError, match="the photographs have changed"):
        pack_small(own_photos, out)


def test_photograph_that_changed_its_sides_after_the_plan_is_refused(own_photos, tmp_path, pack_small, monkeypatch):
    changed = str(own_photos / "train" / "blue" / "0.jpg")
    real = shard.Photo

    def turned(path, decoder):
        photo = real(path, decoder)
        if path == changed:
            photo.width, photo.height = 10 * photo.height, photo.width
        return photo

    monkeypatch.setattr(shard, "Photo", turned)
    with pytest.raises(UserError, match="other than when it was planned"):
        pack_small(own_photos, tmp_path / "out")


def test_strip_of_pixels_is_refused_by_name(own_photos, tmp_path, pack_small):
    strip = own_photos / "train" / "blue" / "strip.png"
    Image.new("RGB", (600, 2)).save(strip)
    with pytest.raises(UserError, match=r"strip.png: 600×2 pixels: .*16 to one"):
        pack_small(own_photos, tmp_path / "out")


def test_store_within_its_source_is_refused(photos, pack_small):
    with pytest.raises(UserError, match="choose a folder outside"):
        pack_small(photos, photos / "train" / "packed")


def test_name_that_is_no_utf8(own_photos, tmp_path, pack_small):
    source = own_photos / "train" / "blue" / "0.jpg"
    os.rename(source, os.fsencode(source.parent) + b"/\xff\xfe.jpg")
    out = pack_small(own_photos, tmp_path / "out")
    pack_small(own_photos, out)
    assert len(FrequencyDataModule(str(out)).files("train")) == 18


def test_nothing_readable_at_all_is_told(own_photos, tmp_path, pack_small):
    for path in own_photos.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="not one of the files"):
        pack_small(own_photos, tmp_path / "out", on_error="skip")
    assert not (tmp_path / "out").exists()


def test_too_little_room_is_told_before_anything_is_packed(photos, store, tmp_path, pack_small, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(UserError, match="0 MB are still to be written, 0 MB are free on that disk"):
            pack_small(photos, tmp_path / "out")
    assert list(contents(tmp_path / "out")) == ["plan.json"]
    assert contents(pack_small(photos, tmp_path / "out")) == contents(store)


def test_room_is_needed_only_for_what_is_missing(photos, store, tmp_path, pack_small, monkeypatch):
    stop_half_way(monkeypatch, pack_small, photos, tmp_path / "out")
    total = sum(path.stat().st_size for path in store.glob("*.bin"))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=total - 1))
        pack_small(photos, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(store)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Photographs of 40 px, full chroma and no loss by JPEG: at scale 40 nothing is resized or converted twice."""
    root = tmp_path_factory.mktemp("plain")
    for split in ("train", "val"):
        for name, colour in (("blue", (60, 90, 200)), ("red", (200, 70, 60))):
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                image = paint(colour, ((40, 40), (64, 40), (40, 56))[number], number)
                image.convert("YCbCr").save(root / split / name / f"{number}.jpg", quality=100, subsampling=0)
    return root


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("channels", ["square-24", [0, 9, 63, 64, 130]])
def test_store_is_the_dct_of_the_photographs_to_half_a_step(plain, tmp_path, pack_small, dtype, channels):
    out = pack_small(plain, tmp_path / "out", dtype=dtype, channels=channels, decoder="pillow", scales=[40])
    manifest = read_manifest(out)
    steps, levels = torch.tensor(manifest.steps)[:, None, None], np.iinfo(manifest.dtype).max
    transform = PlanesToChannels(ChannelSet("kept", tuple(sorted(manifest.channels))))
    order = [sorted(manifest.channels).index(c) for c in manifest.channels]
    seen = 0
    for path, whole in stored_images(out):
        image = Image.open(plain / path)
        image.draft("YCbCr", None)  # no detour over RGB
        exact = transform(torch.from_numpy(np.array(image)).movedim(-1, 0)[None])[0, order]
        whole = torch.from_numpy(whole.astype(np.int64))
        assert whole.shape == exact.shape
        clipped = exact.abs() / steps > levels + 0.5
        assert clipped.float().mean() < 0.05
        assert ((whole * steps - exact).abs() <= steps / 2 + 2e-3)[~clipped].all()
        assert (whole == exact.sign() * levels)[clipped].all()
        seen += 1
    assert seen == 12


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_resized_photographs_are_stored_to_half_a_step(photos, tmp_path, pack_small, dtype):
    out = pack_small(photos, tmp_path / "out", dtype=dtype)
    manifest = read_manifest(out)
    steps, levels = torch.tensor(manifest.steps)[:, None, None], np.iinfo(manifest.dtype).max
    decoder = FrequencyDataModule(str(photos)).decoder
    for path, whole in list(stored_images(out))[::7]:
        exact = image_coefficients(Photo(photos / path, decoder), whole.shape[1:], manifest.channels)
        whole = torch.from_numpy(whole.astype(np.int64))
        clipped = exact.abs() / steps > levels + 0.5
        assert ((whole * steps - exact).abs() <= steps / 2 + 1e-3)[~clipped].all()


def test_packed_square_photographs_are_evaluated_as_the_photographs_are(photos, tmp_path, pack_small):
    out = pack_small(photos, tmp_path / "out", dtype="int16", crop_fraction=1.0)
    packed = FrequencyDataModule(str(out), batch_size=15)
    direct = FrequencyDataModule(
        str(photos), "square-24", image_size=32, crop_fraction=1.0, batch_size=15, num_workers=0
    )
    (a,), (b,) = (
        [data.on_after_batch_transfer(batch, 0) for batch in data.val_dataloader()] for data in (packed, direct)
    )
    assert torch.equal(a["target"], b["target"])
    square = [i for i, path in enumerate(direct.files("val").paths) if len(set(Image.open(path).size)) == 1]
    assert len(square) == 3
    assert torch.allclose(a["input"][square], b["input"][square], atol=0.05)


def test_one_folder_of_classes_is_packed_with_a_part_held_out(photos, tmp_path, pack_small):
    out = pack_small(photos / "train", tmp_path / "out", val_fraction=0.25)
    direct = FrequencyDataModule(str(photos / "train"), image_size=32, val_fraction=0.25)
    packed = FrequencyDataModule(str(out))
    for split in ("train", "val"):
        assert [str(photos / "train" / path) for path in packed.files(split).paths] == list(direct.files(split).paths)
        assert packed.files(split).targets == direct.files(split).targets


def test_cap_on_images_a_class_holds(photos, tmp_path, pack_small):
    data = FrequencyDataModule(str(pack_small(photos, tmp_path / "out", per_class=4)))
    assert [data.files("train").targets.count(target) for target in range(3)] == [4, 4, 4]
    assert len(data.files("val")) == 15


def test_manifest_names_no_path_outside_the_source(store, photos):
    assert str(photos.parent).encode() not in b"".join(contents(store).values())
    assert writer.MANIFEST in contents(store)
