"""Which options of the data can be, and which can be together."""

from collections.abc import Mapping
from typing import Any

from dctnet.data.packed.reader import physical_memory
from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK

_LEAST = {"batch_size": 1, "num_workers": 0, "norm_images": 1, "per_class": 1, "seed": 0}
# What a tensor can count. An integer of some hundred digits could not even be divided.
_MOST = (1 << 63) - 1
_MAY_BE_NULL = {"channels", "classes", "per_class", "download", "max_bad_fraction"}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuses values out of range, and batches that this machine has no memory for.

    Raises:
        UserError: The first of them. Says what would be right.
    """
    for name, value in options.items():
        # A configuration file's null comes unchecked: jsonargparse takes it for an option that is not given.
        if value is None and name not in _MAY_BE_NULL:
            raise UserError(f"--data.{name} must not be null; leave it out for the default")
        if isinstance(value, int) and abs(value) > _MOST:
            raise UserError(f"--data.{name} must be a number of at most 63 bits, got {repr(value)[:80]}")
    for name, low in _LEAST.items():
        if options[name] is not None and options[name] < low:
            raise UserError(f"--data.{name} must be at least {low}, got {options[name]}")
    if not 0 < options["min_scale"] <= 1:
        raise UserError(f"--data.min_scale must be above 0 and at most 1, got {options['min_scale']}")
    # Below, a store's images would be enlarged to take all memory.
    if not 0.05 <= options["crop_fraction"] <= 1:
        raise UserError(f"--data.crop_fraction must be 0.05…1, got {options['crop_fraction']}")
    if not 0 <= options["val_fraction"] < 1:
        raise UserError(f"--data.val_fraction must be at least 0 and below 1, got {options['val_fraction']}")
    if options["max_bad_fraction"] is not None and not 0 <= options["max_bad_fraction"] <= 1:
        raise UserError(f"--data.max_bad_fraction must be 0…1 or null, got {options['max_bad_fraction']}")
    size = options["image_size"]
    if size < BLOCK or size % BLOCK:
        near = max(BLOCK, round(size / BLOCK) * BLOCK)
        raise UserError(f"--data.image_size must be a multiple of {BLOCK}, got {size}; the nearest is {near}")
    # Channels of all frequencies take as much as RGB: three floats a pixel.
    needed, there = options["batch_size"] * size**2 * 12, physical_memory()
    if needed > there:
        raise UserError(
            f"--data.batch_size {options['batch_size']} crops of --data.image_size {size} take {needed / 1e9:,.0f} GB, "
            f"this machine has {there / 1e9:,.0f}"
        )


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
