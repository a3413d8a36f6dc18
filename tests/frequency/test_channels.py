"""The channel layout, channel sets, and planes to channels."""

import pytest
import torch

from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet, PlanesToChannels, channels_to_planes, planes_to_channels, zigzag_order
from tests.slow_dct import slow_dct

# T.81, figure A.6: the zigzag number of each (v, u).
ZIGZAG = [
    [0, 1, 5, 6, 14, 15, 27, 28],
    [2, 4, 7, 13, 16, 26, 29, 42],
    [3, 8, 12, 17, 25, 30, 41, 43],
    [9, 11, 18, 24, 31, 40, 44, 53],
    [10, 19, 23, 32, 39, 45, 52, 54],
    [20, 22, 33, 38, 46, 51, 55, 60],
    [21, 34, 37, 47, 50, 56, 59, 61],
    [35, 36, 48, 49, 57, 58, 62, 63],
]


def test_zigzag_order_is_that_of_t81():
    assert all(ZIGZAG[f // 8][f % 8] == number for number, f in enumerate(zigzag_order()))


def test_set_knows_its_frequencies_by_component_and_prints_their_counts():
    kept = ChannelSet("x", (0, 9, 64, 191))
    assert len(kept) == 4
    assert kept.frequencies() == [[0, 9], [0], [63]]
    assert str(kept) == "x: 4 of 192 channels (Y/Cb/Cr 2/1/1)"


@pytest.mark.parametrize(
    ("indices", "message"),
    [((), "is empty"), ((3, 3), "repeated"), ((5, 2), "out of order"), ((192,), "outside"), ((-1, 4), "outside")],
)
def test_invalid_sets_are_rejected(indices, message):
    with pytest.raises(UserError, match=f"channel set 'x'.*{message}"):
        ChannelSet("x", indices)


def test_channels_are_the_dct_of_level_shifted_planes_by_component():
    planes = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    kept = ChannelSet("x", (0, 9, 64, 191))
    channels = PlanesToChannels(kept)(planes)
    expected = slow_dct(planes.double() - 128).flatten(1, 2)[:, list(kept.indices)]
    assert channels.shape == (2, 4, 2, 3)
    assert torch.allclose(channels.double(), expected, atol=1e-3)


def test_component_without_channels_is_skipped():
    luma = ChannelSet("luma", tuple(range(64)))
    assert PlanesToChannels(luma)(torch.zeros(1, 3, 8, 8)).shape == (1, 64, 1, 1)


def test_planes_of_another_shape_are_rejected():
    with pytest.raises(UserError, match=r"\(3, 8, 8\)"):
        PlanesToChannels(ChannelSet("dc", (0,)))(torch.zeros(3, 8, 8))


def test_all_channels_and_back():
    planes = 255 * torch.rand(2, 3, 16, 24, dtype=torch.float64)
    channels = planes_to_channels(planes)
    every = PlanesToChannels(ChannelSet("all", tuple(range(192))))
    assert torch.equal(channels, every(planes))
    torch.testing.assert_close(channels_to_planes(channels), planes)
    with pytest.raises(UserError, match="all 192 channels, got 24"):
        channels_to_planes(channels[:, :24])
