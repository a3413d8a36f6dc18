"""What the options of a training mean when its data are a packed store."""

import re
from collections.abc import Mapping
from typing import Any

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


def check_photograph_options(options: Mapping[str, Any]) -> None:
    """Refuses options that mean nothing without a store, or not together.

    Raises:
        UserError: The first of them.
    """
    if options["residency"] != "disk":
        raise UserError(f"--data.residency {options['residency']} is for packed stores; {options['root']} is none")
    if isinstance(options["channels"], str) and options["channels"].startswith("first-"):
        raise UserError(f"--data.channels {options['channels']} is for packed stores; {options['root']} is none")
    if options["source"] == "coefficients" and options["input"] == "rgb":
        raise UserError("--data.source coefficients gives channels; --model.input rgb needs --data.source pixels")
    if options["source"] == "coefficients" and options["dct"] == "device":
        raise UserError("--data.source coefficients has no DCT to leave to the device; leave --data.dct out")


def check_store_options(options: Mapping[str, Any]) -> None:
    """Refuses options that were settled when the store was packed.

    Raises:
        UserError: The first of them.
    """
    root = options["root"]
    settled = [name for name in ("classes", "per_class", "download", "val_fraction") if options[name]]
    if settled:
        raise UserError(f"{root}: a packed store; --data.{settled[0]} is chosen when packing")
    if options["input"] == "rgb":
        raise UserError(f"{root}: a packed store has no RGB; --model.input rgb needs the photographs")
    if options["source"] == "coefficients":
        raise UserError(f"{root}: a packed store; --data.source coefficients reads JPEG files")
