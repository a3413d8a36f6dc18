"""Augmentation of a packed store; operations for which it lacks channels are refused by name."""

import pytest
import torch

from dctnet.data.augmentation import Augmentation
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError
from tests.data.packed.conftest import pack_small


def module(root, **options):
    return FrequencyDataModule(str(root), **{"batch_size": 4, "num_workers": 0, **options})


def deliver(data, loader):
    return [data.on_after_batch_transfer(data.on_before_batch_transfer(batch, 0), 0) for batch in loader]


@pytest.fixture(scope="module")
def uneven(photos, tmp_path_factory):
    """A store of channels that are not closed under transposition; those of hue are."""
    return pack_small(photos, tmp_path_factory.mktemp("uneven") / "store", channels="learned-24")


@pytest.mark.parametrize("residency", ["disk", "ram", "device"])
def test_channels_of_a_store_are_augmented_on_the_device(store, residency):
    spec = "randaugment,turn,erasing"
    plain, data = module(store, residency=residency), module(store, residency=residency, augment=spec)
    augmentation = Augmentation(spec, data.channel_set, "channels", 0)
    batches = zip(deliver(plain, plain.train_dataloader()), deliver(data, data.train_dataloader()), strict=True)
    for before, after in batches:
        expected = augmentation(before["input"], augmentation.draw(0, before["index"].numpy()))
        assert torch.equal(after["input"], expected)
        assert not torch.equal(after["input"], before["input"])


@pytest.mark.parametrize("operation", ["turn", "transpose"])
def test_an_operation_that_needs_other_channels_is_refused_by_name(uneven, operation):
    data = module(uneven, augment=f"basic,{operation}")
    with pytest.raises(
        UserError, match=rf"{operation} mixes .* with 1 that .* such as 40; leave {operation} out"
    ) as caught:
        data.setup("fit")
    assert "\n" not in str(caught.value)
    data.setup("validate")  # which augments nothing


def test_a_store_with_the_other_channels_is_read_with_them(photos, store):
    data = module(store, channels=[0, 3, 64, 128], augment="transpose,hue")
    assert data.augmentation.read.indices == (0, 3, 24, 64, 128)
    batch = deliver(data, data.train_dataloader())[0]
    assert batch["input"].shape == (4, 4, 4, 4)
    with pytest.raises(UserError, match="hue mixes the channels with 1 that"):
        module(pack_small(photos, store.parent / "red", channels=[0, 64, 65, 128]), augment="hue").setup("fit")
