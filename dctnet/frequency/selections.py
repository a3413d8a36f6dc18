"""Named channel sets: the reference's fixed selections, zigzag, random; and the ranking of channels by importance."""

import random
import re
from collections.abc import Sequence

from dctnet.errors import UserError, did_you_mean
from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS, PER_COMPONENT, ChannelSet, zigzag_order
from dctnet.frequency.dct import BLOCK


def named_channels(name: str) -> ChannelSet:
    """Returns the channel set of a name.

    Args:
        name: ``all``, ``dc``, ``luma``; a selection of the reference (``square-N``, ``triangle-N``, ``learned-24``);
            ``zigzag-N`` for any N in 1…192, dealt to Y, Cb, Cr, Y, Y in turn in zigzag order, so that 24 is 14/5/5;
            ``random-N`` or ``random-N-SEED``, with the shares of luma and chroma of ``square-N``.

    Raises:
        UserError: Unknown name. Has the nearest known one and the list.
    """
    pattern = re.fullmatch(r"(zigzag|random)-(\d{1,3})(?:-(\d{1,9}))?", name)
    if pattern and 1 <= int(pattern[2]) <= NUM_CHANNELS and (pattern[1] == "random" or pattern[3] is None):
        count = int(pattern[2])
        chosen = _zigzag(count) if pattern[1] == "zigzag" else _random(count, int(pattern[3] or 0))
        return ChannelSet(name, tuple(sorted(chosen)))
    if name in _FIXED:
        luma, chroma = _FIXED[name]
        return ChannelSet(name, (*luma, *(64 + f for f in chroma), *(128 + f for f in chroma)))
    hint = did_you_mean(name, [*_FIXED, "zigzag-24", "random-24"])
    known = ", ".join([*_FIXED, "zigzag-N, random-N, random-N-SEED (N 1…192), a mask file"])
    raise UserError(f"unknown channel set {name!r}.{hint} Known: {known}.")


def rank_channels(channel_set: ChannelSet, keep_probability: Sequence[float] | None = None) -> list[int]:
    """Sorts the channels of a set by importance, the most important first.

    By the keep probabilities of the 192 channels under a gate, ties by frequency; or without them in the order of
    ``zigzag-N``, from the lowest frequency.
    """
    order = _zigzag(NUM_CHANNELS)
    if keep_probability is not None:
        order.sort(key=lambda index: -keep_probability[index])  # stable
    return sorted(channel_set.indices, key=order.index)


def _zigzag(count: int) -> list[int]:
    # The pattern Y Cb Cr Y Y makes each set contain all smaller ones; luma is exhausted at 107 channels.
    order = zigzag_order()
    queues = [[PER_COMPONENT * c + f for f in order] for c in range(len(COMPONENTS))]
    dealt: list[int] = []
    while any(queues):
        for component in (0, 1, 2, 0, 0):
            if queues[component]:
                dealt.append(queues[component].pop(0))
    return dealt[:count]


def _random(count: int, seed: int) -> list[int]:
    # A sixth each for Cb and Cr, as in the square selections; above 64 luma channels the rest goes to chroma.
    luma = min(count - 2 * (count // 6), PER_COMPONENT)
    shares = [luma, (count - luma + 1) // 2, (count - luma) // 2]
    rng = random.Random(seed)
    return [PER_COMPONENT * c + f for c, n in enumerate(shares) for f in rng.sample(range(PER_COMPONENT), n)]


def _rows(*widths: int) -> list[int]:
    """The first ``widths[v]`` frequencies of each row v."""
    return [BLOCK * v + u for v, width in enumerate(widths) for u in range(width)]


# Frequencies of luma and of each chroma component; all but the first three are the reference's selections.
_FIXED: dict[str, tuple[list[int], list[int]]] = {
    "all": (_rows(*[8] * 8), _rows(*[8] * 8)),
    "dc": (_rows(1), _rows(1)),
    "luma": (_rows(*[8] * 8), []),
    "square-6": (_rows(2, 2), _rows(1)),
    "square-12": (_rows(3, 3, 2), _rows(2)),
    "square-24": (_rows(4, 4, 4, 4), _rows(2, 2)),
    "square-32": (_rows(5, 5, 5, 4, 3), _rows(3, 2)),
    "square-48": (_rows(6, 6, 6, 6, 4, 4), _rows(3, 3, 2)),
    "square-64": (_rows(7, 7, 6, 6, 6, 6, 6), _rows(3, 3, 2, 2)),
    "triangle-12": (_rows(3, 2, 1), _rows(2, 1)),
    "triangle-24": (_rows(5, 4, 2, 1), _rows(3, 2, 1)),
    "triangle-48": (_rows(7, 6, 5, 4, 3, 2, 1), _rows(4, 3, 2, 1)),
    "triangle-64": (_rows(8, 7, 6, 5, 4, 3, 1), _rows(5, 4, 3, 2, 1)),
    "learned-24": (_rows(6, 3, 3, 1, 1), [0, 1, 3, 8, 24]),
}
