"""Names of channel sets, the layout, and planes to channels."""

import pytest
import torch

from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet, PlanesToChannels, named_channels, zigzag_order
from dctnet.frequency.dct import block_dct

# T.81, figure A.6, as rows of the zigzag number at (v, u).
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
SHARES = {
    "square-6": (4, 1, 1), "square-12": (8, 2, 2), "square-24": (16, 4, 4), "square-32": (22, 5, 5),
    "square-48": (32, 8, 8), "square-64": (44, 10, 10), "triangle-12": (6, 3, 3), "triangle-24": (12, 6, 6),
    "triangle-48": (28, 10, 10), "triangle-64": (34, 15, 15), "learned-24": (14, 5, 5), "all": (64, 64, 64),
    "dc": (1, 1, 1), "luma": (64, 0, 0), "zigzag-24": (14, 5, 5), "zigzag-1": (1, 0, 0), "zigzag-192": (64, 64, 64),
    "random-24": (16, 4, 4), "random-192-7": (64, 64, 64),
}  # fmt: skip


def test_zigzag_order_is_that_of_t81():
    assert all(ZIGZAG[f // 8][f % 8] == place for place, f in enumerate(zigzag_order()))


@pytest.mark.parametrize("name", SHARES)
def test_shares_of_luma_and_chroma(name):
    kept = named_channels(name)
    assert tuple(len(f) for f in kept.frequencies()) == SHARES[name]
    assert kept.frequencies()[1] == kept.frequencies()[2] or name.startswith("random")


def test_square_24_is_the_low_corner():
    assert named_channels("square-24").frequencies()[0] == [8 * v + u for v in range(4) for u in range(4)]


def test_learned_24_is_the_published_list():
    luma, cb, _ = named_channels("learned-24").frequencies()
    assert luma == [0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 24, 32]
    assert cb == [0, 1, 3, 8, 24]


def test_each_zigzag_set_contains_the_smaller_ones():
    sets = [set(named_channels(f"zigzag-{n}").indices) for n in range(1, 193)]
    assert all(
        len(s) == n and small < s for n, (small, s) in enumerate(zip([set(), *sets[:-1]], sets, strict=True), start=1)
    )


def test_random_sets_differ_by_seed_and_repeat():
    assert named_channels("random-24-1") == named_channels("random-24-1")
    assert named_channels("random-24-1").indices != named_channels("random-24-2").indices


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("sqare-24", "square-24"), ("lerned-24", "learned-24"), ("zigzag-0", "zigzag-24"), ("al", "all")],
)
def test_unknown_name_gets_the_nearest(name, nearest):
    with pytest.raises(UserError, match=f"Did you mean '{nearest}'"):
        named_channels(name)


@pytest.mark.parametrize("indices", [(), (3, 3), (5, 2), (192,), (-1, 4)])
def test_impossible_sets_are_refused(indices):
    with pytest.raises(UserError, match="channel set 'x'"):
        ChannelSet("x", indices)


def test_channels_are_level_shifted_dct_by_component():
    planes = torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8)
    kept = ChannelSet("x", (0, 9, 64, 191))
    channels = PlanesToChannels(kept)(planes)
    full = block_dct(planes.double() - 128).flatten(1, 2)
    assert channels.shape == (2, 4, 2, 3)
    assert torch.allclose(channels.double(), full[:, list(kept.indices)], atol=1e-3)


def test_component_left_out_is_left_out():
    assert PlanesToChannels(named_channels("luma"))(torch.zeros(1, 3, 8, 8)).shape == (1, 64, 1, 1)


def test_planes_of_another_shape_are_named():
    with pytest.raises(UserError, match=r"\(3, 8, 8\)"):
        PlanesToChannels(named_channels("dc"))(torch.zeros(3, 8, 8))
