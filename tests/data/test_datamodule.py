"""Batches, channel statistics, bad files and invalid options."""

import numpy as np
import pytest
import torch
from PIL import Image

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.images.photo import ImageError
from dctnet.errors import UserError
from dctnet.frequency.channels import PlanesToChannels
from dctnet.frequency.selections import named_channels
from tests.conftest import DECODERS, needs_turbojpeg


def module(root, **options):
    return FrequencyDataModule(str(root), **{"image_size": 32, "batch_size": 4, "num_workers": 0, **options})


def deliver(data, loader):
    """Batches as the trainer passes them to the model."""
    return [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in loader]


def test_batches_have_channels_targets_and_indices(photos):
    data = module(photos, channels="square-24")
    batch = deliver(data, data.train_dataloader())[0]
    assert batch["input"].shape == (4, 24, 4, 4)
    assert batch["input"].dtype == torch.float32
    assert batch["target"].shape == batch["index"].shape == (4,)
    assert data.class_names == ["blue", "green", "red"]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("dct", ["loader", "device"])
def test_validation_batches_are_the_dct_of_center_crops_in_order(photos, decoder, dct):
    data = module(photos, crop_fraction=1.0, decoder=decoder, dct=dct)
    batches = deliver(data, data.val_dataloader())
    assert torch.cat([b["index"] for b in batches]).tolist() == list(range(15))
    path = data.files("val").paths[3]
    width, height = Image.open(path).size
    left, top = (width - min(width, height)) / 2, (height - min(width, height)) / 2
    box = (left, top, width - left, height - top)
    image = Image.open(path).convert("YCbCr").resize((32, 32), Image.Resampling.BILINEAR, box=box)
    expected = PlanesToChannels(named_channels("all"))(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None])
    # The decoders and the conversion by RGB differ by about one level per sample.
    assert (batches[0]["input"][3] - expected[0]).abs().max() <= 8


@pytest.mark.parametrize("decoder", DECODERS)
def test_rgb_is_what_pillow_decodes(photos, decoder):
    data = module(photos, input="rgb", crop_fraction=1.0, decoder=decoder)
    batch = deliver(data, data.val_dataloader())[0]
    assert batch["input"].shape == (4, 3, 32, 32)
    image = Image.open(data.files("val").paths[2]).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    difference = np.abs(batch["input"][2].permute(1, 2, 0).numpy() - np.asarray(image))
    # The decoder scales by 1/2 before resizing; Pillow resizes at full resolution.
    assert difference.mean() <= 1.5
    assert difference.max() <= 6


@pytest.mark.parametrize("options", [{"channels": "triangle-12"}, {"input": "rgb"}])
def test_statistics_are_those_of_the_training_crops(photos, options):
    data = module(photos, norm_images=12, **options)
    mean, std = data.channel_statistics()
    # The same samples in one tensor.
    dataset = data._dataset("train")
    samples = [dataset[2**31 - 1, i * 36 // 12] for i in range(12)]
    values = dataset.to_device(dataset.collate(samples)["payload"]).double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean.double(), values.mean(1), atol=1e-3)
    expected = values.std(1, correction=0)
    varies = expected > 1e-3
    assert torch.allclose(std[varies].double(), expected[varies], rtol=1e-4)
    assert varies.sum() > 2


def test_statistics_of_constant_channels(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        Image.new("L", (32, 32), 90).save(tmp_path / "train" / name / "0.png")
    mean, std = module(tmp_path, channels="dc").channel_statistics()
    assert mean.tolist() == pytest.approx([8 * (90 - 128), 0, 0], abs=1e-3)
    assert std.tolist() == pytest.approx([0, 0, 0], abs=1e-3)


def test_training_needs_batches_of_two(photos):
    with pytest.raises(UserError, match="at least 2 to train"):
        module(photos, batch_size=1).train_dataloader()


def test_missing_split_and_unknown_class_are_errors_at_setup(own_photos):
    with pytest.raises(UserError, match="no folder test/"):
        module(own_photos).setup("test")
    (own_photos / "val" / "violet").mkdir()
    with pytest.raises(UserError, match="'violet' is not among the 3"):
        module(own_photos).setup("fit")


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_bad_file_is_an_error_of_one_line(own_photos, split, decoder):
    bad = own_photos / split / "green" / "1.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    data = module(own_photos, decoder=decoder)
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    with pytest.raises(ImageError, match=f"{bad}.*--data.on_error skip") as caught:
        deliver(data, loader)
    assert "\n" not in str(caught.value)


def test_bad_file_is_left_out_and_logged_with_on_error_skip(own_photos):
    bad = own_photos / "val" / "green" / "1.jpg"
    bad.write_bytes(b"")
    data = module(own_photos, on_error="skip", num_workers=1)
    batches = deliver(data, data.val_dataloader())
    assert sum(len(b["target"]) for b in batches) == 8
    assert sum(len(b["bad"]) for b in batches) == 1
    assert list(data.bad_files.left_out) == [str(bad)]
    assert "cannot identify" in data.bad_files.left_out[str(bad)]


@needs_turbojpeg
@pytest.mark.parametrize("num_workers", [0, 1])
def test_files_read_as_pixels_instead_of_coefficients_are_logged(own_photos, num_workers):
    folder = own_photos / "val"
    pixels = {folder / "blue" / "1.jpg": "not a JPEG file", folder / "green" / "2.jpg": "stored as RGB"}
    for (path, _), options in zip(pixels.items(), ({"format": "PNG"}, {"keep_rgb": True}), strict=True):
        Image.open(path).convert("RGB").save(path, **options)
    damaged = folder / "red" / "0.jpg"
    # libjpeg warns about such bytes, Pillow does not.
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"\0\1" * 20 + b"\xff\xd9")
    data = module(own_photos, source="coefficients", num_workers=num_workers)
    batches = deliver(data, data.val_dataloader())
    assert sum(len(b["target"]) for b in batches) == 9
    assert {str(p): reason for p, reason in pixels.items()}.items() <= data.bad_files.of_kind("by_pixels").items()
    assert data.bad_files.of_kind("by_pixels").keys() - {str(p) for p in pixels} == {str(damaged)}
    assert "extraneous bytes" in data.bad_files.of_kind("by_pixels")[str(damaged)]
    assert not data.bad_files.left_out


@needs_turbojpeg
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "rgb"}, "reads channels; --model.input rgb needs --data.source pixels"),
        ({"decoder": "pillow"}, "needs libjpeg-turbo"),
    ],
)
def test_coefficients_need_channels_and_libjpeg_turbo(photos, options, message):
    with pytest.raises(UserError, match=message):
        module(photos, source="coefficients", **options)


@needs_turbojpeg
def test_photograph_smaller_than_an_aligned_crop_is_an_error(photos):
    data = module(photos, source="coefficients", image_size=72)
    with pytest.raises(ImageError, match="hold no aligned crop of 72"):
        deliver(data, data.val_dataloader())


def test_statistics_without_a_readable_image_are_an_error(own_photos):
    for path in (own_photos / "train").rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="none of the 2 images for the normalisation can be read"):
        module(own_photos, on_error="skip", norm_images=2).channel_statistics()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 100}, "multiple of 8, got 100; the nearest is 96"),
        ({"image_size": 0}, "the nearest is 8"),
        ({"image_size": 8 * 10**400}, "--data.image_size must be a number of at most 63 bits, got 8000"),
        ({"image_size": -(8 * 10**400)}, "--data.image_size must be a number of at most 63 bits, got -8000"),
        ({"image_size": 1 << 62}, "crops of --data.image_size"),
        ({"batch_size": 10**400}, "--data.batch_size must be a number of at most 63 bits, got 1000"),
        ({"batch_size": (1 << 63) - 1}, "--data.batch_size 9223372036854775807 crops"),
        ({"num_workers": 10**400}, "--data.num_workers must be a number of at most 63 bits"),
        ({"batch_size": None}, "--data.batch_size must not be null"),
        ({"min_scale": None}, "--data.min_scale must not be null"),
        ({"min_scale": float("nan")}, "--data.min_scale must be finite, got nan"),
        ({"batch_size": 0}, "--data.batch_size must be at least 1"),
        ({"num_workers": -1}, "--data.num_workers"),
        ({"val_fraction": 1.0}, "--data.val_fraction"),
        ({"min_scale": 0.0}, "--data.min_scale"),
        ({"crop_fraction": 1.5}, "--data.crop_fraction"),
        ({"per_class": 0}, "--data.per_class"),
        ({"seed": -1}, "--data.seed"),
        ({"max_bad_fraction": 1.1}, "--data.max_bad_fraction must be at least 0 and at most 1, or null, got 1.1"),
        ({"max_bad_fraction": -0.1}, "--data.max_bad_fraction"),
        ({"residency": "ram"}, "--data.residency ram needs a packed store"),
        ({"channels": "mask.jsn"}, "mask.jsn: cannot be read"),
        ({"channels": "squre-24"}, "square-24"),
    ],
)
def test_invalid_options_are_errors(photos, options, message):
    with pytest.raises(UserError, match=message):
        module(photos, **options)
