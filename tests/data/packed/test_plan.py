"""Plans: scales, grids of blocks, the order of channels, shards."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dctnet.data.images.photo import ImageError
from dctnet.data.packed import plan, sizes
from dctnet.data.packed.plan import choose_scales, fingerprint, make_plan, make_tasks
from dctnet.data.packed.shard import PlannedImage, grid
from dctnet.data.sources import PhotoSource
from dctnet.errors import UserError
from dctnet.io.files import dump_json

SCALES = {"train": (32, 40), "val": (40,), "test": (40,)}


def serial(paths):
    return sizes.read_sizes(paths, Path("out"), workers=1)


def plan_of(root, shard_bytes=10_000, dtype="int8", on_error="stop"):
    source = PhotoSource(str(root))
    return make_plan(source, [64, 0, 1], 32, 0.8, SCALES, dtype, shard_bytes, "pillow", on_error, serial)


@pytest.mark.parametrize("size", [32, 112, 224])
@pytest.mark.parametrize("min_scale", [0.08, 0.35, 1.0])
def test_default_scales_fit_the_crop_and_spread_the_share_of_the_area(size, min_scale):
    scales = choose_scales(size, 0.875, min_scale, None)
    train = scales["train"]
    assert list(train) == sorted(set(train))
    assert all(s >= size and s % 8 == 0 for s in train)
    shares = [(size / s) ** 2 for s in train]
    assert min(shares) >= min_scale * 0.9
    if size == 224 and min_scale == 0.35:
        assert len(train) == 4
        assert np.allclose(np.diff(sorted(shares)), 0.65 / 4, atol=0.05)
    assert scales["val"] == scales["test"] == (round(size / 0.875 / 8) * 8,)


def test_headers_of_many_files_are_read_by_several_processes_in_order(own_photos, monkeypatch):
    paths = sorted(map(str, own_photos.rglob("*.jpg")))
    Path(paths[3]).write_bytes(b"no image")
    expected = list(serial(paths))
    monkeypatch.setattr(sizes, "_FEW", 2)
    monkeypatch.setattr(sizes, "_AT_ONCE", 4)
    found = list(sizes.read_sizes(paths, Path("out"), workers=2))
    assert str(found[3]) == str(expected[3]) == f"{paths[3]}: UnidentifiedImageError: cannot identify image file"
    del found[3], expected[3]
    assert found == expected
    assert len(found) == len(paths) - 1


def test_given_scales_are_sorted_and_unique():
    assert choose_scales(32, 0.875, 0.35, [64, 32, 64])["train"] == (32, 64)


@pytest.mark.parametrize(
    ("scales", "named"), [([32, 36], r"\[36\]"), ([16, 24], r"\[16, 24\]"), ([0, 32], r"\[0\]"), ([], r"\[\]")]
)
def test_invalid_scales_are_named(scales, named):
    with pytest.raises(
        UserError, match=f"--scales must be multiples of 8, one of them at least the crop's 32; got {named}"
    ):
        choose_scales(32, 0.875, 0.35, scales)


@pytest.mark.parametrize("scale", [32, 128, 256])
def test_grid_keeps_the_aspect_ratio_to_the_nearest_block(scale):
    for width, height in [(500, 375), (375, 500), (64, 64), (640, 427), (1000, 10), (33, 32), (1, 1)]:
        rows, columns = grid(width, height, scale)
        assert min(rows, columns) == scale // 8
        factor = scale / min(width, height)
        assert abs(rows * 8 - height * factor) <= 4 + 1e-9
        assert abs(columns * 8 - width * factor) <= 4 + 1e-9
        assert grid(height, width, scale) == (columns, rows)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("shard_bytes", [1, 1500, 1 << 20])
def test_shards_have_all_images_in_order_and_at_most_the_given_size(photos, dtype, shard_bytes):
    tasks = make_tasks({**plan_of(photos, shard_bytes, dtype), "steps": [1.0] * 3}, photos, "pillow", "stop")
    for split in ("train", "val"):
        own = [task for task in tasks if task.name.startswith(f"{split}-")]
        files = PhotoSource(str(photos)).files(split)
        assert [str(photos / image.path) for task in own for image in task.images] == list(files.paths)
        assert [image.target for task in own for image in task.images] == list(files.targets)
        assert all(task.size <= shard_bytes or len(task.images) == 1 for task in own)
    assert (len(tasks) == 2) == (shard_bytes == 1 << 20)


def test_fingerprint_depends_on_options_and_files_but_not_on_steps(own_photos):
    planned = plan_of(own_photos)
    before = fingerprint(planned)
    assert fingerprint({**planned, "steps": [1.0], "error": {}}) == before
    assert fingerprint(plan_of(own_photos)) == before
    assert fingerprint(plan_of(own_photos, dtype="int16")) != before
    (own_photos / "val" / "red" / "0.jpg").unlink()
    assert fingerprint(plan_of(own_photos)) != before


def test_file_without_a_header_stops_the_plan_or_is_listed(own_photos):
    bad = own_photos / "train" / "green" / "1.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(ImageError, match=f"{bad}.*--data.on_error skip"):
        plan_of(own_photos)
    split = plan_of(own_photos, on_error="skip")["splits"]["train"]
    assert [path for path, _ in split["skipped"]] == ["train/green/1.jpg"]
    assert len(split["images"]) == 17


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_a_plan_is_written_in_parts_as_one_json_object(monkeypatch, count):
    monkeypatch.setattr(plan, "_AT_ONCE", 3)
    path = 'train/"images": []/\udcff ä {}.jpg'
    images = [PlannedImage(path.format(i), 1, ((4, 5), (6, 7)), 10**6) for i in range(count)]
    split = {"scales": (32, 40), "images": images, "shards": [0], "skipped": [('"images": []', "x")]}
    content = {
        "splits": {"val": split, "train": {**split, "images": images[:1]}},
        "classes": ['"images": []'],
        "a": 1.5,
    }
    assert b"".join(plan._dump(content)) == dump_json(content)
    assert fingerprint(content) == hashlib.sha256(dump_json(content)).hexdigest()
