"""Mixup and cutmix of channels are those of pixels, and repeat for each step."""

import numpy as np
import pytest
import torch

from dctnet.data.mixing import Mixing
from dctnet.frequency.channels import planes_to_channels
from dctnet.frequency.color import rgb_to_ycbcr

TARGET, INDICES = torch.tensor([0, 2, 1, 2]), np.array([8, 5, 0, 2])


def rgb():
    return 128 + 40 * torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def mix(x, kind, epoch=0, indices=INDICES, **options):
    mixing = Mixing(**{"mixup": 0.0, "cutmix": 0.0, "seed": 0, **options}, input=kind)
    return mixing(x, TARGET, mixing.draw(epoch, indices), 3)


@pytest.mark.parametrize("options", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.8, "cutmix": 1.0}])
@pytest.mark.parametrize("epoch", range(3))
def test_channels_and_pixels_are_mixed_alike(options, epoch):
    pixels, target = mix(rgb(), "rgb", epoch, **options)
    channels, same_target = mix(planes_to_channels(rgb_to_ycbcr(rgb())), "channels", epoch, **options)
    assert (channels - planes_to_channels(rgb_to_ycbcr(pixels))).abs().max() <= 1e-3
    assert torch.equal(target, same_target)
    assert torch.allclose(target.sum(1), torch.ones(4))
    assert target.shape == (4, 3)


def test_mixup_is_linear_and_targets_have_the_same_shares():
    mixed, target = mix(rgb(), "rgb", mixup=1.0)
    share = float(target[0, 0])
    assert 0 < share < 1
    assert torch.allclose(mixed, share * rgb() + (1 - share) * rgb().roll(1, 0), atol=1e-3)


def test_cutmix_exchanges_whole_blocks_and_targets_have_the_share_of_the_area():
    mixed, target = mix(rgb(), "rgb", epoch=1, cutmix=1.0)
    taken = (mixed == rgb().roll(1, 0)).all(1)[0]
    blocks = taken.unflatten(1, (8, 8)).unflatten(0, (8, 8)).float().mean((1, 3))
    assert set(blocks.flatten().tolist()) == {0.0, 1.0}
    assert float(target[0, 0]) == pytest.approx(1 - float(blocks.mean()))


def test_batches_repeat_for_seed_epoch_and_first_index():
    first = mix(rgb(), "rgb", mixup=1.0)[1]
    torch.rand(5)  # the state of torch's generator has no influence
    assert torch.equal(mix(rgb(), "rgb", mixup=1.0)[1], first)
    others = [{"seed": 1}, {"epoch": 1}, {"indices": INDICES + 1}]
    assert not any(torch.equal(mix(rgb(), "rgb", mixup=1.0, **other)[1], first) for other in others)


def test_the_generator_of_torch_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    mix(rgb(), "rgb", mixup=1.0, cutmix=1.0)
    assert torch.equal(torch.rand(3), expected)


def test_without_alpha_or_partner_nothing_is_mixed():
    x = rgb()
    assert mix(x, "rgb") == (x, TARGET)
    assert Mixing(1.0, 1.0, 0, "rgb").draw(0, np.array([3])) is None
    assert Mixing(1.0, 1.0, 0, "rgb").draw(0, np.array([], dtype=int)) is None


def test_three_channels_are_no_pixels():
    # The channel set dc has as many channels as RGB.
    assert mix(torch.randn(4, 3, 4, 4), "channels", cutmix=1.0)[0].shape == (4, 3, 4, 4)
