"""Preprocess gives what the data module feeds to the network for the same file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.preprocess import Preprocess
from dctnet.errors import UserError
from dctnet.frequency.selections import named_channels
from tests.conftest import DECODERS, needs_turbojpeg
from tests.pictures import waves


def evaluation_batches(photos, **options) -> tuple[list[str], list[torch.Tensor]]:
    """Paths and inputs of the validation images, one per batch."""
    data = FrequencyDataModule(str(photos), image_size=32, batch_size=1, num_workers=0, **options)
    batches = [
        data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in data.val_dataloader()
    ]
    return list(data.files("val").paths), [batch["input"] for batch in batches]


def check_equal(photos, decoder: str, **options) -> None:
    paths, expected = evaluation_batches(photos, decoder=decoder, crop_fraction=0.8, **options)
    channel_set = named_channels(options.pop("channels", "all"))
    preprocess = Preprocess(channel_set, 32, 0.8, decoder=decoder, **options)
    for path, batch in zip(paths, expected, strict=True):
        assert torch.equal(preprocess(path), batch)
        assert torch.equal(preprocess(Path(path).read_bytes()), batch)


@pytest.mark.parametrize("decoder", DECODERS)
def test_input_equals_the_evaluation_batch_of_the_data_module(photos, decoder):
    check_equal(photos, decoder, input="rgb")
    check_equal(photos, decoder, channels="zigzag-24")


@needs_turbojpeg
def test_coefficients_equal_the_evaluation_batch_of_the_data_module(photos):
    check_equal(photos, "turbojpeg", source="coefficients")


def test_open_image_differs_from_its_file_by_rounding_only(photos):
    path = next((photos / "val").rglob("*.jpg"))
    for input, shape, limit in (("rgb", (1, 3, 32, 32), 6), ("channels", (1, 24, 4, 4), 16)):
        preprocess = Preprocess(named_channels("zigzag-24"), 32, 0.875, input=input, decoder="pillow")
        found = preprocess(Image.open(path))
        assert found.shape == shape
        assert (found - preprocess(path)).abs().max() <= limit


def test_image_without_coefficients_is_read_by_pixels():
    picture = Image.fromarray(waves(64, 48))
    found = Preprocess(named_channels("dc"), 32, 0.875, source="coefficients", decoder="pillow")(picture)
    middle = np.array(picture.convert("YCbCr"))[8:40, 16:48].reshape(4, 8, 4, 8, 3).mean((1, 3))
    assert np.abs(found[0].permute(1, 2, 0).numpy() / 8 + 128 - middle).max() <= 0.01


def test_errors_name_the_image(tmp_path):
    preprocess = Preprocess(named_channels("dc"), 32, 0.875, decoder="pillow")
    with pytest.raises(UserError, match=r"a.jpg: no such file"):
        preprocess(tmp_path / "a.jpg")
    with pytest.raises(UserError, match=r"<bytes>: .*cannot identify"):
        preprocess(b"text")
    with pytest.raises(UserError, match=r"<image>: .*no defined white"):
        preprocess(Image.new("F", (64, 64)))


@pytest.mark.parametrize("image", [3, True, None, 3.5, [1], {}, np.zeros((8, 8, 3)), torch.zeros(3, 8, 8)], ids=type)
def test_other_objects_are_refused_by_type_before_anything_is_opened(image):
    with pytest.raises(UserError, match=f"path or the bytes of an image file.*; got {type(image).__name__}$"):
        Preprocess(named_channels("dc"), 32, 0.8)(image)
