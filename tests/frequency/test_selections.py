"""Named channel sets and the ranking of channels."""

import pytest

from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.selections import named_channels, rank_channels

SHARES = {
    "square-6": (4, 1, 1), "square-12": (8, 2, 2), "square-24": (16, 4, 4), "square-32": (22, 5, 5),
    "square-48": (32, 8, 8), "square-64": (44, 10, 10), "triangle-12": (6, 3, 3), "triangle-24": (12, 6, 6),
    "triangle-48": (28, 10, 10), "triangle-64": (34, 15, 15), "learned-24": (14, 5, 5), "all": (64, 64, 64),
    "dc": (1, 1, 1), "luma": (64, 0, 0), "zigzag-24": (14, 5, 5), "zigzag-1": (1, 0, 0), "zigzag-192": (64, 64, 64),
    "random-24": (16, 4, 4), "random-192-7": (64, 64, 64),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARES)
def test_shares_of_luma_and_chroma(name):
    kept = named_channels(name)
    assert tuple(len(f) for f in kept.frequencies()) == SHARES[name]
    assert kept.frequencies()[1] == kept.frequencies()[2] or name.startswith("random")


def test_fixed_selections_are_the_published_lists():
    assert named_channels("square-24").frequencies()[0] == [8 * v + u for v in range(4) for u in range(4)]
    luma, cb, _ = named_channels("learned-24").frequencies()
    assert luma == [0, 1, 2, 3, 4, 5, 8, 9, 10, 16, 17, 18, 24, 32]
    assert cb == [0, 1, 3, 8, 24]


def test_each_zigzag_set_contains_the_smaller_ones():
    previous: set[int] = set()
    for count in range(1, 193):
        current = set(named_channels(f"zigzag-{count}").indices)
        assert len(current) == count
        assert previous < current
        previous = current


def test_random_sets_differ_by_seed_and_repeat():
    assert named_channels("random-24-1") == named_channels("random-24-1")
    assert named_channels("random-24-1").indices != named_channels("random-24-2").indices


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("sqare-24", "square-24"), ("lerned-24", "learned-24"), ("zigzag-0", "zigzag-24"), ("al", "all")],
)
def test_error_of_an_unknown_name_has_the_nearest_one(name, nearest):
    with pytest.raises(UserError, match=f"Did you mean '{nearest}'"):
        named_channels(name)


def test_channels_are_ranked_by_keep_probability_then_by_zigzag_order():
    kept = ChannelSet("x", (0, 1, 8, 64, 130))
    assert rank_channels(kept) == [0, 64, 1, 8, 130]
    probability = [0.5] * 192
    probability[130], probability[0] = 0.9, 0.1
    assert rank_channels(kept, probability) == [130, 64, 1, 8, 0]
