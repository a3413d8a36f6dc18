"""Valid ranges of the ``--data`` options, for training and for packing."""

from collections.abc import Mapping
from typing import Any

from dctnet.data.packed.storage import physical_memory
from dctnet.errors import UserError
from dctnet.frequency.dct import BLOCK
from dctnet.io.config_checks import Range, check_options

_RANGES = {
    "channels": Range(nullable=True),
    "batch_size": Range(at_least=1),
    "num_workers": Range(at_least=0),
    "val_fraction": Range(at_least=0, below=1),
    "classes": Range(nullable=True),
    "per_class": Range(at_least=1, nullable=True),
    "download": Range(nullable=True),
    "min_scale": Range(above=0, at_most=1),
    "crop_fraction": Range(at_least=0.05, at_most=1),  # smaller ones enlarge the images of a store beyond the memory
    "progressive": Range(nullable=True),
    "max_bad_fraction": Range(at_least=0, at_most=1, nullable=True),
    "mixup": Range(at_least=0),
    "cutmix": Range(at_least=0),
    "norm_images": Range(at_least=1),
    "seed": Range(at_least=0),
}


def check_data_options(options: Mapping[str, Any]) -> None:
    """Checks the ranges of ``image_size`` and any other ``--data`` options, and that a batch fits into memory.

    Raises:
        UserError: Names the first option that is out of range, its value and its range.
    """
    check_options("data", options, _RANGES)
    if options.get("sampler") == options.get("class_weights") == "balanced":
        raise UserError(
            "--data.sampler balanced shows each class equally often already; --data.class_weights balanced would count "
            "small classes twice: give one of the two"
        )
    size = options["image_size"]
    if size < BLOCK or size % BLOCK:
        near = max(BLOCK, round(size / BLOCK) * BLOCK)
        raise UserError(f"--data.image_size must be a multiple of {BLOCK}, got {size}; the nearest is {near}")
    # All 192 channels take as much as RGB: three float32 values per pixel.
    batch_size = options.get("batch_size", 1)
    needed, available = batch_size * size**2 * 12, physical_memory()
    if needed > available:
        raise UserError(
            f"--data.batch_size {batch_size} crops of --data.image_size {size} take {needed / 1e9:,.0f} GB, "
            f"this machine has {available / 1e9:,.0f}"
        )
