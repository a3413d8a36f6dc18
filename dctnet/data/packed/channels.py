"""The channels that an option names in a packed store."""

import re

from dctnet.data.packed.manifest import Manifest
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.maskfile import resolve_channels


def choose_channels(store: Manifest, asked: str | list[int] | None) -> ChannelSet:
    """The channels to take of a store.

    Args:
        store: The store.
        asked: None for all that were packed; ``first-K`` for the K most important; otherwise as without a store.

    Raises:
        UserError: More than there are, or no such name.
    """
    first = re.fullmatch(r"first-(\d{1,3})", asked) if isinstance(asked, str) else None
    if asked is not None and not first:
        return resolve_channels(asked)
    count = int(first[1]) if first else len(store.channels)
    if not 1 <= count <= len(store.channels):
        raise UserError(f"--data.channels {asked}: {store.root} has 1…{len(store.channels)} channels")
    return ChannelSet(f"first-{count} of {store.root}", tuple(sorted(store.channels[:count])))
