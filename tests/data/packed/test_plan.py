"""What is to be packed: scales, grids of blocks, the order of channels, shards."""

import numpy as np
import pytest

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.images.photo import ImageError
from dctnet.data.packed.plan import PackData, choose_scales, fingerprint, grid, make_plan, make_tasks
from dctnet.data.packed.shard import shard_size
from dctnet.errors import UserError
from dctnet.frequency.channels import zigzag_order
from dctnet.frequency.maskfile import write_mask
from dctnet.frequency.selections import named_channels


def plan_of(root, shard_bytes=10_000, dtype="int8", **options):
    data = PackData(**{"channels": "square-24", "image_size": 32, **options})
    source = FrequencyDataModule(str(root), data.channels, image_size=data.image_size)
    return make_plan(source, data, choose_scales(data, None), dtype, shard_bytes), source


@pytest.mark.parametrize("size", [32, 64, 112, 160, 224])
@pytest.mark.parametrize("min_scale", [0.08, 0.35, 1.0])
def test_chosen_scales_fit_the_crop_and_spread_the_share_of_the_area(size, min_scale):
    scales = choose_scales(PackData(image_size=size, min_scale=min_scale), None)
    train = scales["train"]
    assert list(train) == sorted(set(train))
    assert all(s >= size and s % 8 == 0 for s in train)
    shares = [(size / s) ** 2 for s in train]
    assert min(shares) >= min_scale * 0.9
    if size == 224 and min_scale == 0.35:
        assert len(train) == 4
        assert np.allclose(np.diff(sorted(shares)), 0.65 / 4, atol=0.05)
    assert scales["val"] == scales["test"] == (round(size / 0.875 / 8) * 8,)


def test_scales_asked_for_are_taken_in_order_and_once():
    assert choose_scales(PackData(image_size=32), [64, 32, 64])["train"] == (32, 64)


@pytest.mark.parametrize(("asked", "named"), [([32, 36], "36"), ([24, 32], "24"), ([], "none")])
def test_scales_that_cannot_be_are_named(asked, named):
    with pytest.raises(UserError, match=rf"--scales must be multiples of 8, at least the crop's 32; got \[?{named}"):
        choose_scales(PackData(image_size=32), asked)


@pytest.mark.parametrize("scale", [32, 128, 256])
def test_grid_keeps_the_aspect_to_the_nearest_block(scale):
    for width, height in [(500, 375), (375, 500), (64, 64), (640, 427), (1000, 10), (33, 32), (1, 1)]:
        rows, columns = grid(width, height, scale)
        assert min(rows, columns) == scale // 8
        factor = scale / min(width, height)
        assert abs(rows * 8 - height * factor) <= 4 + 1e-9
        assert abs(columns * 8 - width * factor) <= 4 + 1e-9
        assert grid(height, width, scale) == (columns, rows)


def test_lowest_frequencies_come_first_without_keep_probabilities(photos):
    channels = plan_of(photos, channels="all")[0]["channels"]
    assert sorted(channels) == list(range(192))
    assert [c for c in channels if c < 64] == zigzag_order()
    for count in (3, 24, 100):
        assert set(channels[:count]) == set(named_channels(f"zigzag-{count}").indices)
    assert set(plan_of(photos)[0]["channels"]) == set(named_channels("square-24").indices)


def test_channels_of_a_mask_come_likeliest_first(photos, tmp_path):
    mask = tmp_path / "mask.json"
    chosen = named_channels("square-12")
    likely = np.random.default_rng(0).permutation(192) / 192
    write_mask(mask, chosen, likely.tolist())
    channels = plan_of(photos, channels=str(mask))[0]["channels"]
    assert channels == sorted(chosen.indices, key=lambda c: -likely[c])


def test_mask_without_probabilities_is_ordered_like_a_name(photos, tmp_path):
    write_mask(tmp_path / "mask.json", named_channels("square-12"))
    masked = plan_of(photos, channels=str(tmp_path / "mask.json"))[0]
    assert masked["channels"] == plan_of(photos, channels="square-12")[0]["channels"]


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("shard_bytes", [1, 10_000, 1 << 20])
def test_shards_hold_all_images_in_order_and_no_more_than_allowed(photos, dtype, shard_bytes):
    plan, source = plan_of(photos, shard_bytes, dtype)
    tasks = make_tasks({**plan, "steps": [1.0] * 24}, source)
    for split in ("train", "val"):
        own = [task for task in tasks if task.name.startswith(f"{split}-")]
        assert [s.path for task in own for s in task.sources] == list(source.files(split).paths)
        assert [s.target for task in own for s in task.sources] == list(source.files(split).targets)
        assert all(shard_size(task) <= shard_bytes or len(task.sources) == 1 for task in own)
    assert (len(tasks) == 2) == (shard_bytes == 1 << 20)


def test_fingerprint_depends_on_options_and_files_but_not_on_steps(own_photos):
    plan = plan_of(own_photos)[0]
    before = fingerprint(plan)
    assert fingerprint({**plan, "steps": [1.0], "error": {}}) == before
    assert fingerprint(plan_of(own_photos)[0]) == before
    assert fingerprint(plan_of(own_photos, dtype="int16")[0]) != before
    (own_photos / "val" / "red" / "0.jpg").unlink()
    assert fingerprint(plan_of(own_photos)[0]) != before


def test_file_without_a_header_stops_the_plan_or_is_listed(own_photos):
    bad = own_photos / "train" / "green" / "1.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(ImageError, match=f"{bad}.*--data.on_error skip"):
        plan_of(own_photos)
    split = plan_of(own_photos, on_error="skip")[0]["splits"]["train"]
    assert [path for path, _ in split["skipped"]] == ["train/green/1.jpg"]
    assert len(split["images"]) == 17
