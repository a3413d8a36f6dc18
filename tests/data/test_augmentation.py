"""The option augment: what it accepts, what it draws, and the same images for every network, reader and order."""

import numpy as np
import pytest
import torch

from dctnet.data.augmentation import OPERATIONS, Augmentation, Step, parse_augment
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError
from dctnet.frequency.channels import channels_to_planes, planes_to_channels
from dctnet.frequency.color import rgb_to_ycbcr
from dctnet.frequency.selections import named_channels
from tests.conftest import needs_turbojpeg

ALL = named_channels("all")
# Those that are exact; sharpness and blur have their bound in tests/frequency/test_augment.py.
EXACT = [name for name in OPERATIONS if name not in ("sharpness", "blur")]


def module(root, **options):
    return FrequencyDataModule(str(root), **{"image_size": 32, "batch_size": 4, "num_workers": 0, **options})


def deliver(data, loader):
    """Batches as the trainer passes them to the model."""
    return [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in loader]


def by_index(batches):
    return {int(i): x for batch in batches for i, x in zip(batch["index"], batch["input"], strict=True)}


def epoch(data, number=0):
    """Training images of an epoch by index."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return by_index(deliver(data, loader))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[i], other[i]) for i in one)


def pictures(count=12, size=96):
    return 128 + 40 * torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("spec", [[name] for name in EXACT] + [EXACT])
def test_channels_and_pixels_get_the_same_operations(spec):
    rgb = pictures()
    on_pixels, on_channels = Augmentation(spec, ALL, "rgb", 3), Augmentation(spec, ALL, "channels", 3)
    indices = np.arange(40, 16, -2)
    augmented = on_pixels(rgb, on_pixels.draw(2, indices))
    found = on_channels(planes_to_channels(rgb_to_ycbcr(rgb)), on_channels.draw(2, indices))
    assert (found - planes_to_channels(rgb_to_ycbcr(augmented))).abs().max() <= 2e-3
    assert (augmented - rgb).abs().max() > 1


def test_basic_is_the_same_within_blocks():
    # Sharpness is its last operation, and differs in the outermost pixels of blocks.
    rgb, indices = pictures(), np.arange(12)
    on_pixels, on_channels = Augmentation("basic", ALL, "rgb", 0), Augmentation("basic", ALL, "channels", 0)
    expected = rgb_to_ycbcr(on_pixels(rgb, on_pixels.draw(0, indices)))
    found = on_channels(planes_to_channels(rgb_to_ycbcr(rgb)), on_channels.draw(0, indices))
    inner = (channels_to_planes(found) - expected).unflatten(3, (-1, 8)).unflatten(2, (-1, 8))[:, :, :, 1:-1, :, 1:-1]
    assert inner.abs().max() <= 1e-3


def test_randaugment_applies_two_operations_to_each_image():
    numbers = Augmentation("randaugment", ALL, "channels", 0).draw(0, np.arange(500))
    seen = []

    class Record:
        unit = 1

        def __getattr__(self, name):
            return lambda x, *args: seen.append((name, len(x))) or x + 1

    augmentation = Augmentation("randaugment", ALL, "channels", 0)
    augmentation._on = Record()
    assert torch.equal(augmentation(torch.zeros(500, 192, 1, 1), numbers), torch.full((500, 192, 1, 1), 2.0))
    assert {name for name, _ in seen} >= {"brightness", "hue", "blur", "shift", "drop_frequencies"}
    assert all(60 < count < 260 for _, count in seen)  # 500 · 2 / 9 = 111 of each; grey is a saturation, too


def test_an_operation_with_a_probability_acts_on_that_share():
    augmentation = Augmentation("vertical_flip", ALL, "channels", 0)
    x = torch.arange(2.0).expand(1000, 192, 1, 2).mT.contiguous()
    flipped = augmentation(x, augmentation.draw(0, np.arange(1000)))[:, 0, 0, 0]
    assert 0.45 < flipped.mean() < 0.55


@pytest.mark.parametrize("options", [{}, {"dct": "device"}, {"input": "rgb"}, {"num_workers": 2}])
def test_an_image_depends_on_seed_epoch_and_index_only(photos, options):
    spec = {"augment": "randaugment,turn,erasing", **options}
    data = module(photos, **spec)
    first, second = epoch(data, 0), epoch(data, 1)
    assert not any(torch.equal(first[i], second[i]) for i in first)
    other = epoch(module(photos, **spec, batch_size=6), 0)
    # The rounding of the DCT of several images depends on their number.
    assert all(torch.allclose(first[i], other[i], atol=1e-3) for i in first)
    # Resumed within the epoch: the second and third batch.
    loader = module(photos, **spec).train_dataloader()
    loader.load_state_dict({"epoch": 0, "batches": 1})
    rest = by_index(deliver(data, loader))
    assert 0 < len(rest) < len(first)
    assert all(torch.equal(first[i], x) for i, x in rest.items())


def test_off_draws_nothing_and_leaves_the_input_as_it_is(photos):
    data = module(photos)
    assert data.augmentation.draw(0, np.arange(3)) is None
    assert data.mixing.draw(0, np.arange(3)) is None
    x = torch.randn(2, 192, 4, 4)
    assert data.augmentation(x, None) is x
    batch = next(iter(data.train_dataloader()))
    assert torch.equal(deliver(data, [dict(batch)])[0]["input"], batch["payload"]["channels"])


def test_only_training_is_augmented(photos):
    plain, augmented = module(photos), module(photos, augment="basic", mixup=0.2)
    assert same(
        by_index(deliver(plain, plain.val_dataloader())), by_index(deliver(augmented, augmented.val_dataloader()))
    )
    for one, other in zip(plain.channel_statistics(), augmented.channel_statistics(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("channels", ["learned-24", "zigzag-8"])
@pytest.mark.parametrize("source", ["pixels", pytest.param("coefficients", marks=needs_turbojpeg)])
def test_photographs_give_the_channels_that_an_operation_mixes(photos, channels, source):
    options = {"augment": "hue,transpose,turn", "source": source}
    chosen = named_channels(channels)
    data = module(photos, channels=channels, **options)
    assert set(data.augmentation.read.indices) > set(chosen.indices)
    found = epoch(data)
    wider = epoch(module(photos, channels=list(data.augmentation.read.indices), **options))
    positions = [data.augmentation.read.indices.index(index) for index in chosen.indices]
    assert all(torch.equal(found[i], wider[i][positions]) for i in found)
    assert data.channel_statistics()[0].shape == (len(chosen),)
    assert next(iter(deliver(data, data.val_dataloader())))["input"].shape[1] == len(chosen)


def test_parsing_keeps_the_order():
    assert [step.name for step in parse_augment("turn, basic,erasing")][:2] == ["turn", "brightness"]
    assert parse_augment(["grey"]) == [Step("grey")]
    assert parse_augment("none") == parse_augment(["none"]) == []
    assert {step.strength for step in parse_augment("randaugment,hue") if step.name == "hue"} == {1.0, 2.0}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("posterize", "posterize needs all samples of a block, .*: brightness, contrast"),
        ("basic,solarise", "solarise needs all samples of a block"),
        ("rotate", "rotate has no meaning for blocks.*: shift, turn, transpose"),
        ("flip", "every second training crop is mirrored"),
        ("cutmix", "--data.cutmix ALPHA"),
        ("randaugmnet", "no operation 'randaugmnet'. Did you mean 'randaugment'\\? Known: none, basic"),
        ("", "no operation ''"),
        ("none,basic", "none stands alone"),
        ("basic,hue", "an operation comes twice; basic has brightness"),
        ("randaugment,randaugment", "an operation comes twice"),
    ],
)
def test_invalid_lists_are_errors_of_one_line(photos, spec, message):
    with pytest.raises(UserError, match=message) as caught:
        module(photos, augment=spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("option", ["mixup", "cutmix"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), None])
def test_invalid_shares_are_errors(photos, option, value):
    with pytest.raises(UserError, match=f"--data.{option} must"):
        module(photos, **{option: value})
